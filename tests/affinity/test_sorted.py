"""The concatenation kernel by sorting, against the dense formula."""

from __future__ import annotations

import numpy as np
import pytest
from support.formulas import affinity, dense_filter, normalized, relative, weights

import gspnl

RNG = np.random.default_rng(0)


def case(n, c=4, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, c))
    return X + shift, tuple(rng.standard_normal((2, c))), rng.standard_normal((n, 3))


@pytest.mark.parametrize("n", [2, 3, 200, 2000])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "softmax"])
@pytest.mark.parametrize("self_loops", [True, False])
def test_products_equal_the_dense_ones(n, normalization, self_loops):
    X, pair, Z = case(n, seed=n + 7)
    W = weights(affinity("concatenation", X, pair), normalization, self_loops)
    graph = gspnl.feature_graph(
        X, "concatenation", pair, normalization, storage="sorted", self_loops=self_loops
    )
    A, change = normalized(W, normalization)
    assert relative(graph.degrees, W.sum(1)) < 1e-12
    # A small degree amplifies the rounding of larger sums: relative to 1 / smallest degree.
    live = W.sum(1)[W.sum(1) > 0]
    tolerance = 1e-13 * live.max() / live.min()
    assert relative(graph.apply(Z), A @ Z) < max(1e-12, tolerance)
    assert relative(graph.dense(), A) < 1e-12
    if normalization != "softmax" and n <= 200:
        g = gspnl.responses.heat(2.0)
        assert relative(graph.filter(Z, g), dense_filter(A, change, g, Z)) < 1e-9


def test_2000_nodes_agree_with_the_dense_formula_to_1e_10():
    X, pair, Z = case(2000, c=8, seed=3)
    W = weights(affinity("concatenation", X, pair), "random_walk")
    graph = gspnl.feature_graph(X, "concatenation", pair, storage="sorted")
    assert relative(graph.apply(Z), normalized(W, "random_walk")[0] @ Z) < 1e-10


def test_no_digits_cancel_where_a_plus_b_is_small():
    """A degree is 1e-9 of the scalars, so that t Σv − Σbv would lose all but 7 digits."""
    b = np.append(np.linspace(-1000.0, 999.0, 400), 1000.0)
    a = np.append(np.linspace(-990.0, 500.0, 400), -1000.0 + 1e-6)
    X = np.stack([a, b], axis=1)
    pair = (np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    graph = gspnl.feature_graph(X, "concatenation", pair, "softmax", storage="sorted")
    degree = np.maximum(a[-1] + b, 0).sum()
    assert degree < 2e-6
    assert abs(graph.degrees[-1] / degree - 1) < 1e-12


def test_tied_scalars_and_equal_nodes_agree_with_the_dense_formula():
    """b_j = −a_i exactly, many times over."""
    X = RNG.integers(-2, 3, (300, 2)).astype(float)
    pair = (np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    Z = RNG.standard_normal((300, 2))
    W = weights(affinity("concatenation", X, pair), "random_walk")
    graph = gspnl.feature_graph(X, "concatenation", pair, storage="sorted")
    A = normalized(W, "random_walk")[0]
    assert np.array_equal(graph.degrees > 0, W.sum(1) > 0)
    assert relative(graph.apply(Z), A @ Z) < 1e-12


def test_every_node_of_a_graph_without_edges_is_isolated():
    X = -np.ones((5, 1))
    graph = gspnl.feature_graph(X, "concatenation", (np.ones(1), np.ones(1)), storage="sorted")
    Z = RNG.standard_normal((5, 2))
    assert np.array_equal(graph.apply(Z), Z)
    assert graph.spectrum().eigenvalues.tolist() == [0.0]


def test_float32_batches_and_leading_dimensions_equal_the_dense_formula():
    X = RNG.standard_normal((2, 50, 3)).astype(np.float32)
    pair = tuple(RNG.standard_normal((2, 3)).astype(np.float32))
    Z = RNG.standard_normal((2, 50, 2)).astype(np.float32)
    graph = gspnl.feature_graph(X, "concatenation", pair, storage="sorted")
    wide = tuple(w.astype(np.float64) for w in pair)
    for i in range(2):
        W = weights(affinity("concatenation", X[i], wide), "random_walk")
        A = normalized(W, "random_walk")[0]
        live = W.sum(1)[W.sum(1) > 0]
        tolerance = 1e-6 * max(1.0, live.max() / live.min() / 100)
        assert relative(graph.apply(Z)[i], A @ Z[i]) < tolerance
        assert graph.apply(Z).dtype == np.float32
        both = graph[i].apply(Z)
        assert relative(both[1 - i], A @ Z[1 - i]) < tolerance


def test_only_the_concatenation_kernel_is_sorted():
    with pytest.raises(gspnl.errors.InputError, match="cannot hold the RBF kernel"):
        gspnl.feature_graph(RNG.random((4, 2)), "rbf", storage="sorted")


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("normalization", ["random_walk", "softmax"])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_float32_sums_over_100_000_nodes_are_those_of_float64(library, normalization, offset):
    """Running sums in float32 lose three digits, and more where scalars share an offset."""
    n = 100_000
    rng = np.random.default_rng(14)
    X = rng.standard_normal((n, 2)).astype("f4")
    X[:, 1] += np.float32(offset)
    X[:, 0] -= np.float32(offset)
    Z = (1 + rng.standard_normal((n, 2))).astype("f4")
    pair = tuple(np.eye(2, dtype="f4"))
    given = [X, *pair, Z]
    if library == "torch":
        torch = pytest.importorskip("torch")
        given = [torch.tensor(part) for part in given]
    graph = gspnl.feature_graph(
        given[0], "concatenation", tuple(given[1:3]), normalization, storage="sorted"
    )
    rows = np.argsort(X[:, 0])[:: n // 40]
    a, b, z = (part.astype("f8") for part in (X[:, 0], X[:, 1], Z))
    W = np.maximum(a[rows, None] + b, 0)
    if normalization != "softmax":
        W = (W + np.maximum(b[rows, None] + a, 0)) / 2
    degrees = W.sum(1)
    live = degrees > 0
    assert np.allclose(np.asarray(graph.degrees)[rows][live], degrees[live], rtol=2e-7)
    right = (W @ z)[live] / degrees[live, None]
    size = (W @ np.abs(z))[live] / degrees[live, None]
    assert (np.abs(np.asarray(graph.apply(given[3]))[rows][live] - right) / size).max() < 3e-7
