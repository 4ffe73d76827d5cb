"""Features whose products leave the range of their dtype: rescaled by powers of 2, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from support.formulas import relative

import gspnl
from gspnl.errors import DegreeError

SCALES = [("f4", s) for s in (1e-42, 1e-30, 1e-23, 1e-19, 1e19, 1e25, 1e37)] + [
    ("f8", s) for s in (1e-310, 1e-200, 1e-160, 1e155, 1e170, 1e300)
]
MAPS = {"relu": lambda v: np.maximum(v, 0), "square": np.square}


def library(x, name):
    return x if name == "numpy" else pytest.importorskip("torch").tensor(x)


def unit(x):
    """Scale to a largest entry of 1, in float64."""
    wide = np.asarray(x).astype(np.float64)
    return wide / np.abs(wide).max()


def dot(X, pair=None, feature_map="relu", normalization="random_walk", self_loops=True):
    """A of the dot-product kernel, of features in their own units."""
    phi, psi = (unit(X), unit(X)) if pair is None else (unit(X) @ unit(w) for w in pair)
    M = MAPS[feature_map](phi) @ MAPS[feature_map](psi).T
    W = M if normalization == "softmax" else (M + M.T) / 2
    if not self_loops:
        np.fill_diagonal(W, 0.0)
    d = W.sum(1)
    if normalization == "symmetric":
        return W / np.sqrt(d[:, None] * d)
    return W / d[:, None]


def tolerance(dtype):
    return 3e-6 if dtype == "f4" else 1e-13


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("feature_map", ["relu", "square"])
@pytest.mark.parametrize(("dtype", "scale"), SCALES)
@pytest.mark.parametrize("storage", ["lowrank", "dense", "tiled"])
def test_dot_does_not_depend_on_the_scale_of_its_features(name, feature_map, dtype, scale, storage):
    X = (np.abs(np.random.default_rng(0).standard_normal((9, 3))) * scale).astype(dtype)
    Z = np.random.default_rng(1).standard_normal((9, 2)).astype(dtype)
    for normalization in ("random_walk", "symmetric", "softmax"):
        options = {"normalization": normalization, "storage": storage, "feature_map": feature_map}
        graph = gspnl.feature_graph(library(X, name), "dot", **options)
        A = dot(X, None, feature_map, normalization)
        assert relative(np.asarray(graph.dense()), A) < tolerance(dtype)
        assert relative(np.asarray(graph.apply(library(Z, name))), A @ Z) < tolerance(dtype)


@pytest.mark.parametrize("storage", ["lowrank", "dense"])
@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize(("dtype", "scale"), SCALES)
def test_spectra_and_filters_do_not_depend_on_the_scale(storage, self_loops, dtype, scale):
    X = (np.abs(np.random.default_rng(2).standard_normal((8, 3))) * scale).astype(dtype)
    A = dot(X, self_loops=self_loops)
    lam, U = np.linalg.eig(np.eye(8) - A)
    Z = np.random.default_rng(3).standard_normal((8, 2)).astype(dtype)
    right = (U * np.exp(-3 * lam)) @ np.linalg.solve(U, Z)
    graph = gspnl.feature_graph(X, "dot", storage=storage, self_loops=self_loops)
    spectrum = graph.spectrum()
    got = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    assert np.abs(np.sort(got) - np.sort(lam.real)).max() < 100 * tolerance(dtype)
    assert relative(graph.filter(Z, gspnl.responses.heat(3.0)), right.real) < 30 * tolerance(dtype)


@pytest.mark.parametrize("kernel", ["dot", "concatenation"])
@pytest.mark.parametrize(
    ("dtype", "scales"),
    [
        ("f4", (1e-20, 1e-25, 1e-25)),
        ("f4", (1e25, 1e20, 1e20)),
        ("f4", (1.0, 1e-30, 1e30)),
        ("f4", (1e-30, 1.0, 1.0)),
        ("f8", (1e-100, 1e-250, 1e-250)),
        ("f8", (1e200, 1e150, 1e150)),
    ],
)
def test_embeddings_of_any_scale(kernel, dtype, scales):
    rng = np.random.default_rng(4)
    x, a, b = scales
    shape = (3, 2) if kernel == "dot" else (3,)
    X = (np.abs(rng.standard_normal((7, 3))) * x).astype(dtype)
    pair = tuple((np.abs(rng.standard_normal(shape)) * w).astype(dtype) for w in (a, b))
    graph = gspnl.feature_graph(X, kernel, pair)
    if kernel == "dot":
        A = dot(X, pair)
    else:
        top = max(np.abs(w).max() for w in pair)
        p, q = (unit(X) @ (w.astype("f8") / float(top)) for w in pair)
        M = np.maximum(p[:, None] + q, 0)
        A = (M + M.T) / (M + M.T).sum(1, keepdims=True)
    assert relative(graph.dense(), A) < tolerance(dtype)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("storage", ["lowrank", "dense", "tiled"])
def test_a_batch_with_a_tiny_and_a_huge_item(name, storage):
    X = np.abs(np.random.default_rng(5).standard_normal((3, 6, 2))).astype("f4")
    X *= np.array([1e-25, 1.0, 1e25], "f4")[:, None, None]
    graph = gspnl.feature_graph(library(X, name), "dot", storage=storage)
    for i in range(3):
        assert relative(np.asarray(graph.dense())[i], dot(X[i])) < 3e-6
        assert relative(np.asarray(graph[i].dense()), dot(X[i])) < 3e-6
        wide = X[i].astype("f8")
        right = np.log((wide @ wide.T).sum(1))
        assert np.abs(np.asarray(graph[i].log_degrees) - right).max() < 1e-4
        assert np.abs(np.asarray(graph.log_degrees)[i] - right).max() < 1e-4


def test_degrees_keep_the_scale_or_are_refused():
    X = np.abs(np.random.default_rng(6).standard_normal((6, 2)))
    wide = (X * 1e-20).astype("f4").astype("f8")
    graph = gspnl.feature_graph((X * 1e-20).astype("f4"), "dot", self_loops=False)
    W = wide @ wide.T
    np.fill_diagonal(W, 0)
    assert relative(np.exp(graph.log_degrees.astype("f8")), W.sum(1)) < 1e-4
    tiny = gspnl.feature_graph((X * 1e-30).astype("f4"), "dot")
    with pytest.raises(DegreeError, match="take log_degrees"):
        _ = tiny.degrees


@pytest.mark.parametrize("storage", ["lowrank", "dense", "tiled"])
@pytest.mark.parametrize(("dtype", "scale"), [("f4", 1e-30), ("f8", 1e-220)])
def test_parts_of_too_different_scales_are_refused(storage, dtype, scale):
    """Two groups of disjoint supports: the weights of the second one underflow to 0."""
    X = np.zeros((8, 4), dtype)
    X[:4, :2] = np.random.default_rng(7).random((4, 2)) + 0.1
    X[4:, 2:] = scale * (np.random.default_rng(8).random((4, 2)) + 0.1)
    with pytest.raises(DegreeError, match=r"degrees of 4 nodes underflow float\d\d \(node 4 first"):
        gspnl.feature_graph(X, "dot", storage=storage)
    X[4:] = 0
    graph = gspnl.feature_graph(X, "dot", storage=storage)  # nodes of zeros are isolated
    assert relative(graph.dense()[4:], np.eye(8)[4:]) == 0
    alone = np.eye(3, dtype=dtype)  # joined to no other node
    graph = gspnl.feature_graph(alone, "dot", storage=storage, self_loops=False)
    assert relative(graph.dense(), np.eye(3)) == 0


@pytest.mark.parametrize("feature_map", ["exp", "softplus", "elu1"])
def test_positive_maps_that_underflow_are_refused(feature_map):
    X = np.full((5, 2), -300.0, "f4")
    with pytest.raises(DegreeError, match="5 of 5 degrees underflow float32, though every weight"):
        gspnl.feature_graph(X, "dot", feature_map=feature_map)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e30, 3e38])
def test_cosines_of_huge_and_tiny_features(scale):
    X = (np.random.default_rng(9).uniform(-1, 1, (9, 3)) * scale).astype("f4")
    U = unit(X) / np.linalg.norm(unit(X), axis=1, keepdims=True)
    W = (1 + U @ U.T) / 2
    graph = gspnl.feature_graph(X, "cosine")
    assert relative(graph.dense(), W / W.sum(1, keepdims=True)) < 3e-6


def test_gradients_of_rescaled_features():
    torch = pytest.importorskip("torch")
    X = np.abs(np.random.default_rng(10).standard_normal((6, 2)))
    Z = np.random.default_rng(11).standard_normal((6, 2))
    unit_leaf = torch.tensor(X, requires_grad=True)
    W = unit_leaf @ unit_leaf.mT
    loss = (W / W.sum(1, keepdim=True) @ torch.tensor(Z)).square().sum()
    (right,) = torch.autograd.grad(loss, unit_leaf)
    for scale in (1e-25, 1e25):
        leaf = torch.tensor((X * scale).astype("f4"), requires_grad=True)
        out = gspnl.feature_graph(leaf, "dot").apply(torch.tensor(Z.astype("f4")))
        (got,) = torch.autograd.grad(out.square().sum(), leaf)
        assert relative(got.numpy().astype("f8") * scale, right.numpy()) < 1e-5
