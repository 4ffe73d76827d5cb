"""Odd arrays at every door: the right result, or an error that names what was given."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import torch

import gspnl
from gspnl.errors import InputError

N = 24
RNG = np.random.default_rng(3)
X = RNG.standard_normal((N, 3))
LAM = np.linspace(0, 2, 50)
HEAT = gspnl.responses.heat(1.0)


def walk(x):
    W = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2)
    return W / W.sum(1, keepdims=True)


def read_only(x):
    out = x.copy()
    out.flags.writeable = False
    return out


class Table:
    """A table of columns, as pandas has it: np.asarray gives objects where kinds differ."""

    def __init__(self, **columns):
        self.columns = {name: np.asarray(values) for name, values in columns.items()}
        self.dtypes = {name: values.dtype for name, values in self.columns.items()}

    def __array__(self, dtype=None, copy=None):
        kinds = {str(d) for d in self.dtypes.values()}
        values = list(self.columns.values())
        return np.stack([v.astype(object) if len(kinds) > 1 else v for v in values], axis=-1)


class Foreign:
    """An array of a library without the array API, but with ``__array__``."""

    def __array__(self, dtype=None, copy=None):
        return X


RIGHT = {
    "big-endian": X.astype(">f8"),
    "big-endian float32": X.astype(">f4"),
    "big-endian integers": (X * 10).astype(">i4"),
    "uint8": (abs(X) * 100).astype(np.uint8),
    "int8": (X * 30).astype(np.int8),
    "bool": X > 0,
    "list": X.tolist(),
    "tuple": tuple(map(tuple, X)),
    "list of arrays": list(X),
    "reversed": X[::-1, ::-1],
    "strided": np.repeat(X, 2, axis=0)[::2],
    "fortran": np.asfortranarray(X),
    "read-only": read_only(X),
    "matrix": X.view(np.matrix),
    "table of one kind": Table(a=X[:, 0], b=X[:, 1]),
    "foreign": Foreign(),
    "negated tensor": torch._neg_view(torch.tensor(-X)),
    "parameter": torch.nn.Parameter(torch.tensor(X)),
    "transposed tensor": torch.tensor(X.T.copy()).T,
}


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.detach().resolve_neg().numpy()
    return np.asarray(value, dtype=np.float64) if not isinstance(value, Table) else X[:, :2]


@pytest.mark.parametrize("name", RIGHT)
def test_numbers_in_any_form_are_right_as_features_and_as_signals(name):
    value = RIGHT[name]
    tensor = isinstance(value, torch.Tensor)
    tolerance = 1e-5 if "float32" in name else 1e-12
    Z = RNG.standard_normal((N, 2))
    out = gspnl.feature_graph(value, "rbf").apply(torch.tensor(Z) if tensor else Z)
    assert np.abs(plain(out) - walk(plain(value)) @ Z).max() < tolerance
    graph = gspnl.feature_graph(torch.tensor(X) if tensor else X, "rbf")
    A = walk(X)
    assert np.abs(plain(graph.apply(value)) - A @ plain(value)).max() < tolerance * 100
    heat = scipy.linalg.expm(A - np.eye(N)) @ plain(value)
    assert np.abs(plain(graph.filter(value, HEAT)) - heat).max() < tolerance * 100


def test_a_memory_map_is_right(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    out = gspnl.feature_graph(mapped, "rbf").apply(mapped)
    assert type(out) is np.ndarray
    assert np.abs(out - walk(X) @ X).max() < 1e-12


RECORDS = np.zeros(N, dtype=[("a", float), ("b", float)])
REFUSED = {
    "structured": (RECORDS, r"structured, with fields 'a', 'b'; pass np.stack\(\["),
    "record array": (RECORDS.view(np.recarray), "structured, with fields 'a', 'b'"),
    "objects": (X.astype(object), "holds Python objects, float .*dtype=float"),
    "decimals": ([[Decimal("1.5")] * 3] * N, "Python objects, such as Decimal"),
    "text": (np.full((N, 3), "1"), "holds text"),
    "bytes": (np.full((N, 3), b"1"), "holds text"),
    "mixed": ([["a", None], [1, 2]], "Python objects, such as str 'a'"),
    "dates": (X.astype("M8[s]"), "dates or durations"),
    "durations": (X.astype("m8[s]"), "dates or durations"),
    "masked": (np.ma.masked_array(X, X > 1), "masked array"),
    "ragged": ([[1, 2], [3]], "not an array of numbers: ValueError"),
    "None": (None, "not an array of numbers but NoneType"),
    "word": ("abc", "not an array of numbers but str 'abc'"),
    "dict": ({"a": X}, "not an array of numbers but dict"),
    "set": ({1, 2}, "not an array of numbers but set"),
    "generator": ((row for row in X), "not an array of numbers but generator"),
    "table": (Table(a=X[:, 0], b=["x"] * N), "table of columns 'a': float64, 'b': <U1"),
    "sparse": (scipy.sparse.csr_array(X), r"sparse csr_array; pass \w+.toarray\(\)"),
    "sparse matrix": (scipy.sparse.coo_matrix(X), "sparse coo_matrix"),
    "sparse tensor": (torch.tensor(X).to_sparse(), r"layout torch.sparse_coo; pass \w+.to_dense"),
    "meta tensor": (torch.empty(N, 3, device="meta"), "meta device"),
    "half": (X.astype(np.float16), "pass real float32 or float64"),
    "long": (X.astype(np.longdouble), "pass real float32 or float64"),
    "complex": (X + 0j, "pass real float32 or float64"),
    "bfloat16": (torch.tensor(X).bfloat16(), "pass real float32 or float64"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_array_of_numbers_is_named(name):
    value, message = REFUSED[name]
    graph = gspnl.feature_graph(X, "rbf")
    doors = [lambda v: gspnl.feature_graph(v, "rbf"), graph.apply, lambda v: graph.filter(v, HEAT)]
    doors += [graph.norm, lambda v: gspnl.dirichlet_energy(graph, v)]
    if name not in ("sparse", "sparse matrix"):
        doors.append(lambda v: gspnl.graph_from_weights(v))
    if name == "generator":
        doors = doors[:1]
    for door in doors:
        with pytest.raises(InputError, match=message if door is not doors[-1] else None):
            door(value)
    for door in (
        lambda v: gspnl.propagate_labels(graph, v),
        lambda v: gspnl.inpaint(graph, X, v),
        graph.rows,
        lambda v: graph.chebyshev(v, order=3),
    ):
        with pytest.raises(InputError):
            door(value)


@pytest.mark.parametrize("dtype", [">i4", np.uint8, np.int8, ">u2", np.int64])
def test_labels_nodes_and_masks_of_other_integers_are_right(dtype):
    graph = gspnl.feature_graph(X, "rbf")
    index = np.array([3, 0, 7], dtype=dtype)
    assert np.abs(graph.rows(index) - walk(X)[[3, 0, 7]]).max() < 1e-12
    if np.dtype(dtype).kind == "i":
        labels = np.full(N, -1, dtype=dtype)
        labels[:4] = [0, 1, 0, 1]
        truth = gspnl.propagate_labels(graph, labels.astype(int)).labels
        assert (gspnl.propagate_labels(graph, labels).labels == truth).all()


def test_weights_in_another_byte_order_are_right():
    W = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1))
    A = W / W.sum(1, keepdims=True)
    sparse = scipy.sparse.csr_array(W)
    sparse.data = sparse.data.astype(">f8")
    for other in (W.astype(">f8"), sparse, W.view(np.matrix)):
        assert np.abs(gspnl.graph_from_weights(other).apply(X) - A @ X).max() < 1e-12
    for kind in (">i4", "u1", "?"):
        counts = np.rint(W * 10).astype(kind)
        assert np.abs(
            gspnl.graph_from_weights(counts).apply(X)
            - counts.astype(float) / counts.astype(float).sum(1, keepdims=True) @ X
        ).max() < 1e-12  # fmt: skip


def test_signals_without_columns_keep_their_shape():
    graph = gspnl.feature_graph(X, "rbf")
    empty = np.zeros((N, 0))
    assert graph.apply(empty).shape == graph.filter(empty, HEAT).shape == (N, 0)
    assert graph.norm(empty) == 0.0


# --- responses of a user --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (lambda lam: (1 + lam) / (1 + lam.max()), "does not work elementwise"),
        (lambda lam: np.cumsum(lam), "does not work elementwise"),
        (lambda lam: np.exp(-lam) * np.random.default_rng().uniform(0.9, 1), "elementwise"),
        (lambda lam: np.exp(-lam)[:-1], "returned shape"),
        (lambda lam: np.exp(-lam) + 0j, "complex"),
        (lambda lam: np.ma.masked_array(lam, lam > 1), "masked"),
        (lambda lam: None, "is no response"),
        (lambda lam: np.full(lam.shape, "a"), "is no response"),
        (lambda lam: lam.astype(object), "is no response"),
        (lambda lam: 1 / (lam - lam), "is not finite on the spectrum"),
        (lambda lam: math.exp(-lam), "raised TypeError.*np.exp for math.exp"),
        (lambda lam: 1.0 if lam < 1 else 0.0, "raised ValueError.*np.where"),
        (lambda lam: {}["gain"], "raised KeyError"),
        (gspnl.responses.heat, r"is the class heat; pass an instance, such as heat\("),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_users_response_that_is_no_function_of_lambda_raises(response, message):
    graph = gspnl.feature_graph(X, "rbf")
    for call in (
        lambda: graph.filter(X, response),
        lambda: graph.filter(X, response, order=5),
        lambda: gspnl.chebyshev.fit(response, 5),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_a_users_response_may_overwrite_its_argument():
    def heat(lam):
        lam *= -1
        return np.exp(lam, out=lam)

    graph = gspnl.feature_graph(X, "rbf")
    truth = scipy.linalg.expm(walk(X) - np.eye(N)) @ X
    assert np.abs(graph.filter(X, heat) - truth).max() < 1e-12
    assert np.abs(graph.filter(X, heat, order=20) - truth).max() < 1e-12
    lists = lambda lam: np.exp(-lam).tolist()  # noqa: E731
    assert np.abs(graph.filter(X, lists) - truth).max() < 1e-12
    big = lambda lam: np.exp(-lam).astype(">f8")  # noqa: E731
    assert np.abs(graph.filter(X, big) - truth).max() < 1e-12
    series = gspnl.chebyshev.fit(heat, 20)
    assert np.abs(series(LAM) - np.exp(-LAM)).max() < 1e-12
