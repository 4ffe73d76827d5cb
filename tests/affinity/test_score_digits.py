"""Digits of exponential kernels whose scores cancel: right, warned of, or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from support.formulas import relative

import gspnl
from gspnl.affinity.kernels import Exponential
from gspnl.errors import DegreeError, PrecisionWarning

SIGMA = 0.7
EXACT = {"f4": 3e-6, "f8": 1e-9}  # float32 has 6e-8 a term, and weights of 1e-3 are the least


def groups(shift, dtype, n=60, columns=3, seed=0):
    """Three groups of features on a grid of ¼, ``shift`` apart: exact in the dtype."""
    Y = np.random.default_rng(seed).integers(0, 8, (n, columns)) / 4.0
    Y[n // 3 : 2 * n // 3] += shift
    Y[2 * n // 3 :] -= shift
    return Y.astype(dtype)


def shifts(*exponents):
    """Pair dtypes with exponents; above 20, the grid is exact in float64 only."""
    return [(dtype, e) for dtype in ("f4", "f8") for e in exponents if dtype == "f8" or e <= 20]


def walk(X, sigma=SIGMA, self_loops=True):
    """A of the rbf kernel by differences in float64."""
    wide = np.asarray(X).astype(np.float64)
    W = np.exp(-((wide[:, None] - wide[None]) ** 2).sum(-1) / (2 * sigma**2))
    if not self_loops:
        np.fill_diagonal(W, 0.0)
    return W / W.sum(1, keepdims=True)


def error(got, A):
    large = A > 1e-3
    return (np.abs(np.asarray(got) - A)[large] / A[large]).max()


def library(X, name):
    if name == "numpy":
        return X
    return pytest.importorskip("torch").tensor(X)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("storage", ["dense", "tiled"])
@pytest.mark.parametrize(("dtype", "exponent"), shifts(0, 2, 3, 5, 9, 14, 20, 33, 50))
def test_rbf_of_far_groups_is_right(name, storage, dtype, exponent):
    X = groups(2.0**exponent, dtype)
    A = walk(X)
    Z = np.random.default_rng(1).standard_normal((60, 2)).astype(dtype)
    for options in ({}, {"normalization": "softmax"}):
        graph = gspnl.feature_graph(
            library(X, name), "rbf", sigma=SIGMA, storage=storage, **options
        )
        assert error(graph.dense(), A) < EXACT[dtype]
        assert error(graph.rows([3, 40]), A[[3, 40]]) < EXACT[dtype]
        assert np.abs(np.asarray(graph.apply(library(Z, name))) - A @ Z).max() < EXACT[dtype]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("storage", ["dense", "tiled"])
def test_filters_and_spectra_of_far_groups_agree_with_the_formula(dtype, storage):
    X = groups(2.0**18, dtype)
    A = walk(X)
    lam, U = np.linalg.eig(np.eye(60) - A)
    right = (U * np.exp(-2 * lam)) @ np.linalg.inv(U)
    graph = gspnl.feature_graph(X, "rbf", sigma=SIGMA, storage=storage)
    Z = np.random.default_rng(2).standard_normal((60, 2)).astype(dtype)
    tolerance = 1e-5 if dtype == "f4" else 1e-9
    assert np.allclose(graph.spectrum().eigenvalues, np.sort(lam.real), atol=tolerance)
    heat = gspnl.responses.heat(2.0)
    assert relative(graph.filter(Z, heat), (right @ Z).real) < 10 * tolerance
    assert relative(graph.filter(Z, heat, order=25), (right @ Z).real) < 10 * tolerance
    assert np.allclose(graph.laplacian(Z), Z - A @ Z, atol=tolerance)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_far_groups_without_self_loops(name, dtype):
    """Degrees are computed by logarithms, on top of differences."""
    X = groups(2.0**19, dtype)
    A = walk(X, self_loops=False)
    for storage in ("dense", "tiled"):
        graph = gspnl.feature_graph(
            library(X, name), "rbf", sigma=SIGMA, storage=storage, self_loops=False
        )
        assert error(graph.dense(), A) < 3 * EXACT[dtype]


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_far_groups_in_extreme_units(scale, dtype):
    X = (groups(2.0**18, "f8") * scale).astype(dtype)
    graph = gspnl.feature_graph(X, "rbf", sigma=SIGMA * scale)
    assert error(graph.dense(), walk(groups(2.0**18, "f8"))) < EXACT[dtype]


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_batch_with_one_far_item(name):
    X = np.stack([groups(e, "f4") for e in (0.0, 2.0**6, 2.0**20)])
    graph = gspnl.feature_graph(library(X, name), "rbf", sigma=SIGMA)
    for i in range(3):
        assert error(graph.dense()[i], walk(X[i])) < EXACT["f4"]
        assert error(graph[i].dense(), walk(X[i])) < EXACT["f4"]


@pytest.mark.parametrize("exponent", [0, 4, 8, 20])
@pytest.mark.parametrize("storage", ["dense", "tiled"])
def test_float32_gradients_of_far_groups(exponent, storage):
    torch = pytest.importorskip("torch")
    X = groups(2.0**exponent, "f4")
    rng = np.random.default_rng(3)
    Z, R = (torch.tensor(rng.standard_normal((60, 2))) for _ in range(2))
    wide = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    W = torch.exp(-((wide[:, None] - wide[None]) ** 2).sum(-1) / (2 * SIGMA**2))
    (right,) = torch.autograd.grad((W / W.sum(1, keepdim=True) @ Z * R).sum(), wide)
    leaf = torch.tensor(X, requires_grad=True)
    graph = gspnl.feature_graph(leaf, "rbf", sigma=SIGMA, storage=storage)
    (got,) = torch.autograd.grad((graph.apply(Z.float()) * R.float()).sum(), leaf)
    assert got.dtype == torch.float32
    assert relative(got.numpy(), right.numpy()) < 1e-5


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["gaussian", "embedded_gaussian"])
@pytest.mark.parametrize("size", [20.0, 300.0, 3e4, 1e7])
def test_float32_inner_products_are_lifted_from_the_features_on(name, kernel, size):
    rng = np.random.default_rng(4)
    X = (np.sqrt(size / 4) * (1 + 0.01 * rng.standard_normal((50, 4)))).astype("f4")
    pair = None
    S = X.astype("f8") @ X.astype("f8").T
    if kernel == "embedded_gaussian":
        pair = tuple((np.eye(4) + 0.1 * rng.standard_normal((2, 4, 4))).astype("f4"))
        S = (X.astype("f8") @ pair[0].astype("f8")) @ (X.astype("f8") @ pair[1].astype("f8")).T
    A = softmax(S, axis=1)
    given = None if pair is None else tuple(library(w, name) for w in pair)
    options = {"normalization": "softmax", "storage": "tiled"}
    graph = gspnl.feature_graph(library(X, name), kernel, given, **options)
    assert error(graph.apply(library(np.eye(50, dtype="f4"), name)), A) < 1e-5
    if size < 1e3:  # beyond, degrees span more than float32 does
        assert error(graph.dense(), A) < 1e-5


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_products_with_few_digits_warn_and_with_none_are_refused(name, dtype):
    """A user's kernel has no formula by differences; a Gaussian's scores are inner products."""

    class Mine(Exponential):
        def scores(self, phi, psi):
            return phi, psi

    X = np.random.default_rng(5).standard_normal((30, 2))
    for kernel in ("gaussian", Mine()):
        few, none = (library((size * X).astype(dtype), name) for size in (1e6, 1e9))
        with pytest.warns(PrecisionWarning, match=r"relative errors up to \d.*e-0[345]; scale the"):
            gspnl.feature_graph(few, kernel, storage="tiled")
        with pytest.raises(DegreeError, match="leaves them no digits; scale the features down"):
            gspnl.feature_graph(none, kernel, storage="tiled")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gspnl.feature_graph(library((1e3 * X).astype(dtype), name), kernel, storage="tiled")


@pytest.mark.parametrize("method", ["cholesky", "nystrom"])
@pytest.mark.parametrize(("dtype", "exponent"), shifts(3, 9, 16, 20, 40))
def test_approximations_of_far_groups(dtype, method, exponent):
    X = groups(2.0**exponent, dtype)
    graph = gspnl.feature_graph(X, "rbf", sigma=SIGMA, rank=60, approximation=method)
    A = walk(X)
    assert np.abs(graph.dense() - A).max() < (2e-6 if dtype == "f4" else 1e-8)
    d = np.exp(-((X[:, None].astype("f8") - X[None]) ** 2).sum(-1) / (2 * SIGMA**2)).sum(1)
    S = np.sqrt(d)[:, None] * A / np.sqrt(d)
    core = np.sqrt(d)[:, None] * np.asarray(graph.dense(), "f8") / np.sqrt(d)
    assert np.linalg.norm(S - core) <= graph.approximation.bound


def test_random_features_of_far_groups_are_refused():
    """Each is exp(⟨ω, x⟩ − ‖x‖²), which underflows: no degree may be 0 in silence."""
    with pytest.raises(DegreeError):
        gspnl.feature_graph(
            groups(2.0**5, "f4"), "rbf", sigma=SIGMA, rank=20, approximation="random_features"
        )


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize(("dtype", "exponent"), shifts(2, 6, 20, 45))
def test_anchors_of_far_groups(name, dtype, exponent):
    X = groups(2.0**exponent, dtype)
    graph = gspnl.feature_graph(library(X, name), "anchors", anchors=12, sigma=SIGMA)
    points = np.asarray(graph.kernel._points).astype("f8")
    Z = softmax(-((X[:, None].astype("f8") - points) ** 2).sum(-1) / (2 * SIGMA**2), axis=1)
    assert error(graph.dense(), (Z / Z.sum(0)) @ Z.T) < 10 * EXACT[dtype]
