"""Bad input of neighbour graphs: the graph is right, or the message says what to do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse.csgraph

import gspnl
from gspnl.errors import (
    ConvergenceError,
    DegreeError,
    DisconnectedWarning,
    DuplicatesWarning,
    InputError,
)
from gspnl.graph import neighbors


def points(n=60, columns=2):
    return np.random.default_rng(0).standard_normal((n, columns))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 60}, "k=60 must be a whole number from 1 to 59, the other nodes"),
        ({"k": 0}, "k=0 must be a whole number from 1 to 59"),
        ({"k": 3.0}, "k=3.0 must be a whole number"),
        ({"k": True}, "k=True must be a whole number"),
        ({"sigma": 0.0}, "sigma=0.0 must be a finite number > 0"),
        ({"sigma": "close"}, "sigma='close' must be a number > 0, 'local' or 'median'"),
        ({"symmetrize": "min"}, "symmetrize='min' must be one of 'max', 'mean', 'mutual'"),
        ({"self_loops": 1}, "self_loops=1 must be True or False"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"normalization": "row"}, "row"),
        ({"kernel": "dot", "sigma": 1.0}, "kernel='dot' has no option 'sigma'"),
        ({"anchors": 3}, "kernel='rbf' has no option 'anchors'"),
        ({"kernel": "concatenation"}, "needs embed="),
        ({"embed": (np.eye(2), np.eye(2))}, "leave embed=None"),
        ({"kernel": "dot", "feature_map": None, "normalization": "bistochastic"}, "feature_map="),
    ],
)
def test_wrong_options_are_errors(options, message):
    with pytest.raises(InputError) as caught:
        gspnl.neighbor_graph(points(), **{"k": 5, **options})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(7), "X[:, None]"),
        (np.ones((1, 3)), "N ≥ 2"),
        (np.ones((5, 0)), "C ≥ 1"),
        (np.ones((2, 5, 3)), "[gspnl.neighbor_graph(x) for x in X]"),
        ([[1.0], [np.nan], [2.0]], "not finite"),
        ([[1.0], [np.inf], [2.0]], "not finite"),
        ("points", "not an array"),
        (np.ones((5, 2), dtype=complex), "dtype"),
    ],
)
def test_wrong_features_are_errors(X, message):
    with pytest.raises(InputError) as caught:
        gspnl.neighbor_graph(X, k=1)
    assert message in str(caught.value)


def test_torch_features_are_refused_with_the_conversion():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match=r"X\.detach\(\)\.cpu\(\)\.numpy\(\)"):
        gspnl.neighbor_graph(torch.ones(5, 2), k=1)


def test_integers_become_float64():
    graph = gspnl.neighbor_graph(np.arange(20)[:, None], k=2)
    assert graph.weights.sparse.dtype == np.float64


@pytest.mark.parametrize("sigma", ["local", "median"])
def test_equal_points_have_no_sigma(sigma):
    with pytest.raises(InputError, match="8 neighbours at distance 0, so there is no sigma"):
        gspnl.neighbor_graph(np.ones((30, 2)), k=8, sigma=sigma)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DisconnectedWarning)
        graph = gspnl.neighbor_graph(np.ones((30, 2)), k=8, sigma=1.0)
    assert (graph.weights.sparse.data == 1).all()


@pytest.mark.filterwarnings("ignore::gspnl.errors.DisconnectedWarning")
@pytest.mark.parametrize("sort", [2, 10**9])
def test_more_copies_than_neighbours_are_named(monkeypatch, sort):
    monkeypatch.setattr(neighbors, "SORTED", sort)
    X = points(100)
    X[40:55] = X[40]
    with pytest.warns(DuplicatesWarning) as caught:
        graph = gspnl.neighbor_graph(X, k=8)
    text = str(caught[0].message)
    assert "15 of 100 nodes (40, 41, 42, 43, 44, ...) have 8 or more copies" in text
    assert "numpy.unique(X, axis=0)" in text
    others = np.delete(graph.kernel.kernel.sigmas, np.arange(40, 55))
    assert np.allclose(graph.kernel.kernel.sigmas[40:55], np.median(others))
    assert np.isfinite(graph.dense()).all()


def test_copies_within_the_neighbours_take_the_nearest_distinct_one():
    X = points(100)
    X[:9] = X[0]  # 8 copies of each: the 7th neighbour is one, the 9th is none
    graph = gspnl.neighbor_graph(X, k=12)
    distances = np.sort(np.sqrt(((X[0] - X) ** 2).sum(-1)))
    assert np.allclose(graph.kernel.kernel.sigmas[:9], distances[9] / 2)


@pytest.mark.filterwarnings("ignore::gspnl.errors.DisconnectedWarning")
def test_a_median_of_copies_is_taken_of_distinct_neighbours():
    X = np.repeat(points(20), 5, axis=0)  # 4 copies of each
    with pytest.warns(DuplicatesWarning, match="sigma='median' is 0"):
        graph = gspnl.neighbor_graph(X, k=6, sigma="median")
    D = np.sort(np.sqrt(((X[:, None] - X) ** 2).sum(-1)), axis=1)[:, 1:7]
    assert np.isclose(graph.kernel.kernel.sigma, np.median(D[D > 0]))


@pytest.mark.parametrize("sort", [2, 10**9])
def test_components_are_named_with_a_remedy_that_runs(monkeypatch, sort):
    monkeypatch.setattr(neighbors, "SORTED", sort)
    X = points(100)
    X[[3, 30, 31, 32]] += 50
    X[90:] -= 70
    with pytest.warns(DisconnectedWarning) as caught:
        graph = gspnl.neighbor_graph(X, k=3)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "100 nodes has 3 components, of 86, 10, 4 nodes; nodes of the smallest: 3, 90" in text
    assert "larger k than 3" in text
    lines = text[text.index("part = ") :]
    scope = {"graph": graph, "X": X, "scipy": scipy, "numpy": np}
    exec(lines, scope)
    assert len(scope["X"]) == 86
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gspnl.neighbor_graph(scope["X"], k=5)


def test_nodes_without_mutual_neighbours_are_isolated_and_said():
    X = np.concatenate([points(50), [[9.0, 9.0]]])
    with pytest.warns(DisconnectedWarning, match="single nodes without an edge") as caught:
        graph = gspnl.neighbor_graph(X, k=4, symmetrize="mutual")
    assert "symmetrize='max'" in str(caught[0].message)
    assert graph.degrees[50] == 0
    assert graph.dense()[50, 50] == 1


def test_an_outlier_of_a_dense_cluster_is_single_with_a_remedy():
    X = np.concatenate([1e-6 * points(50), [[1.0, 1.0]]])
    with pytest.warns(DisconnectedWarning, match=r"weights of 1 underflow.*a number as sigma="):
        gspnl.neighbor_graph(X, k=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gspnl.neighbor_graph(X, k=8, sigma=0.1)


def test_a_sigma_that_leaves_no_weights_is_an_error():
    with pytest.raises(DegreeError, match=r"underflow.*sigma='local'"):
        gspnl.neighbor_graph(points() * 1e3, k=5, sigma=1e-3)


def test_weights_of_products_that_underflow_are_an_error():
    X = points()
    X[:5] *= 100
    with pytest.raises(DegreeError, match="underflow"):
        gspnl.neighbor_graph(X, k=5, kernel="gaussian")


def test_a_pattern_without_bistochastic_scaling_names_self_loops():
    star = np.concatenate([np.zeros((1, 8)), np.eye(8)])
    with pytest.raises(ConvergenceError, match="self_loops=True"):
        gspnl.neighbor_graph(star, k=1, normalization="bistochastic")
    gspnl.neighbor_graph(star, k=1, normalization="bistochastic", self_loops=True)
