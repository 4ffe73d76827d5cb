"""Filters of sparse graphs in blocks of rows, against SciPy's exponentials of matrices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import expm_multiply

import gspnl
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import sparse
from gspnl.chebyshev.series import Family
from gspnl.filters.deflation import sparse_recurrence
from gspnl.graph import neighbors

N, T = 1500, 2.5
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}
SYMMETRIC = sorted(set(NORMALIZATIONS) - {"softmax"})


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    """Take the way of large graphs."""
    monkeypatch.setattr(neighbors, "SORTED", 2)
    monkeypatch.setattr(sparse, "SHARED", 0)
    monkeypatch.setattr(sparse_recurrence, "LEAST", 0)


def graph_of(normalization, dtype, isolated=()):
    """Return a graph with an order of its own, or one that has nodes without edges."""
    X = np.random.default_rng(0).standard_normal((N, 2)).astype(dtype)
    if normalization == "chung":  # near a grid, every node is a neighbour of others: π > 0
        X = (0.1 * X + np.argwhere(np.ones((30, N // 30)))).astype(dtype)
    options = {"normalization": normalization, "self_loops": normalization == "bistochastic"}
    graph = gspnl.neighbor_graph(X, 12, **options)
    assert graph.weights.order is not None
    if not len(isolated):
        return graph
    W = graph.weights.sparse.tolil()
    W[isolated] = 0
    W[:, isolated] = 0
    return gspnl.graph_from_weights(W.tocsr(), normalization)


def laplacian(graph):
    """Compute L by SciPy from the weights of a graph, in float64."""
    W = graph.weights.sparse.astype(np.float64)
    d = W.sum(1)
    if graph.normalization == "combinatorial":
        return scipy.sparse.diags_array(d).tocsr() - W
    inverse = np.where(d > 0, 1 / np.where(d > 0, d, 1), 0)
    left, right = {
        "random_walk": (inverse, 0 * d + 1),
        "chung": (inverse, 0 * d + 1),
        "symmetric": (np.sqrt(inverse), np.sqrt(inverse)),
    }.get(graph.normalization, (graph.affinity.left, graph.affinity.right))
    A = scipy.sparse.diags_array(left) @ W @ scipy.sparse.diags_array(right)
    return scipy.sparse.diags_array(1.0 * (d > 0)).tocsr() - A


@pytest.mark.parametrize("columns", [None, 1, 2, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("normalization", SYMMETRIC)
def test_heat_equals_the_exponential_of_the_laplacian(normalization, dtype, columns):
    graph = graph_of(normalization, dtype)
    shape = (N,) if columns is None else (N, columns)
    Z = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    before = Z.copy()
    t = T / (graph.degrees.max() if normalization == "combinatorial" else 1)
    out = graph.filter(Z, gspnl.responses.heat(t))
    assert (before == Z).all()
    assert out.dtype == dtype
    truth = expm_multiply(-t * laplacian(graph), Z.astype(np.float64))
    assert np.abs(out - truth).max() < TOLERANCE[dtype] * np.abs(truth).max()
    for deflate in (False, 1):
        series = graph.filter(Z, gspnl.responses.heat(t), order=40, deflate=deflate)
        assert np.abs(series - truth).max() < 10 * TOLERANCE[dtype] * np.abs(truth).max()


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "combinatorial"])
def test_nodes_without_edges_keep_their_gain(normalization):
    graph = graph_of(normalization, np.float64, isolated=[0, 7, 1499])
    Z = np.random.default_rng(1).standard_normal((N, 4))
    t = T / (graph.degrees.max() if normalization == "combinatorial" else 1)
    out = graph.filter(Z, gspnl.responses.heat(t))
    assert (out[[0, 7, 1499]] == Z[[0, 7, 1499]]).all()
    truth = expm_multiply(-t * laplacian(graph), Z)
    assert np.abs(out - truth).max() < 1e-12 * np.abs(truth).max()


@pytest.mark.parametrize("interval", [(0.0, 2.0), (0.0, 1.9), (-0.5, 2.5)])
def test_series_on_any_interval_equal_products_with_the_laplacian(interval):
    graph = graph_of("random_walk", np.float64)
    Z = np.random.default_rng(1).standard_normal((N, 4))
    out = graph.filter(
        Z, lambda lam: 1 - 0.4 * lam + 0.3 * lam**3, order=3, deflate=False, interval=interval
    )
    L = laplacian(graph)
    truth = Z - 0.4 * (L @ Z) + 0.3 * (L @ (L @ (L @ Z)))
    assert np.abs(out - truth).max() < 1e-12 * np.abs(truth).max()


def test_families_share_one_recurrence():
    graph = graph_of("symmetric", np.float64)
    core = sparse_recurrence.SparseCore.of(graph.affinity, np.zeros((N, 0)))
    theta = np.array([[0.5, 0.2, 0.1], [0.0, 1.0, -0.3]])
    family = Family(theta, (0.0, 2.0))
    Z = np.random.default_rng(1).standard_normal((N, 3))
    shown = SimpleNamespace(done=0)
    out = core.combine(family, Z, shown)
    assert shown.done == 2
    x = laplacian(graph) - scipy.sparse.eye_array(N)  # λ − 1, in [−1, 1]
    terms = [Z, x @ Z, 2 * (x @ (x @ Z)) - Z]
    truth = [sum(t * term for t, term in zip(row, terms, strict=True)) for row in theta]
    assert np.abs(out - np.stack(truth)).max() < 1e-12


def test_rounding_does_not_grow_outside_the_band_of_a_deflated_graph():
    X = np.random.default_rng(0).standard_normal((400, 8))
    graph = gspnl.neighbor_graph(X, 300, sigma=10.0)
    low, high = graph.spectral_interval()
    assert low > 0.6
    assert high < 1.3  # λ = 0 lies far outside: T_60 is 10^50 there
    Z = np.random.default_rng(1).standard_normal((400, 2))
    plan = graph.chebyshev(gspnl.responses.heat(3.0), order=60)
    truth = expm_multiply(-3.0 * laplacian(graph), Z)
    assert np.abs(plan(Z) - truth).max() < 1e-12
