"""The way that tol= alone takes: a Fourier sum, low rank or the exact weights."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import gspnl
from gspnl.affinity.approximation import choice, forecast
from gspnl.errors import EffortError, InputError, ToleranceError


def cloud(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


@pytest.mark.parametrize(
    ("n", "d", "sigma", "tol", "storage", "method"),
    [
        (400, 2, 0.05, 1e-6, "dense", "exact"),
        (20_000, 2, 0.05, 1e-6, "fourier", "fourier"),
        (3_000, 2, 2.0, 1e-3, "lowrank", "cholesky"),
        (12_000, 8, 0.1, 1e-2, "tiled", "exact"),
        (3_000, 8, 4.0, 1e-2, "lowrank", "cholesky"),
    ],
)
def test_the_cheapest_way_is_taken(n, d, sigma, tol, storage, method):
    graph = gspnl.feature_graph(cloud(n, d), "rbf", sigma=sigma, tol=tol)
    assert (graph.storage, graph.approximation.method) == (storage, method)
    assert graph.approximation.bound <= tol
    assert "operations a filter" in graph.storage_reason
    assert "exact" in graph.storage_reason


def test_without_finufft_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "finufft", None)
    graph = gspnl.feature_graph(cloud(20_000, 2), "rbf", sigma=0.05, tol=1e-6)
    assert graph.approximation.method != "fourier"
    assert "pip install 'gspnl[fourier]'" in graph.storage_reason


def test_low_rank_that_is_given_up_becomes_exact(monkeypatch):
    monkeypatch.setattr(forecast, "FIRST", 0.0)
    monkeypatch.setattr(choice.Way, "seconds", property(lambda self: 1e-9))
    X = np.random.default_rng(1).standard_normal((3000, 6))
    graph = gspnl.feature_graph(X, "rbf", sigma=6.0, tol=1e-5)
    assert graph.approximation.method == "exact"
    assert "given up: tol=1e-05" in graph.storage_reason
    monkeypatch.setattr(choice, "seconds_allowed", lambda: 1e-12)
    with pytest.raises(EffortError):
        gspnl.feature_graph(X, "rbf", sigma=6.0, tol=1e-5)


def test_a_fourier_sum_that_misses_its_bound_gives_way_to_exact_weights():
    """Two lone outliers, whose degrees no sample shows, at a tolerance below rounding for them."""
    X = np.concatenate([cloud(60_000, 2), [[3.0, 3.0], [-3.0, -3.0]]])
    graph = gspnl.feature_graph(X, "rbf", sigma=0.05, tol=3e-9)
    assert graph.approximation.method == "exact"
    assert "given up: tol=3e-09" in graph.storage_reason


def test_the_exact_way_carries_gradients():
    torch = pytest.importorskip("torch")
    X = torch.tensor(cloud(50, 2), requires_grad=True)
    graph = gspnl.feature_graph(X, "rbf", sigma=0.3, tol=1e-3)
    graph.apply(torch.ones((50, 1), dtype=torch.float64)).sum().backward()
    assert torch.isfinite(X.grad).all()


def test_batches_take_one_way():
    X = np.stack([cloud(300, 2, seed) for seed in range(3)])
    graph = gspnl.feature_graph(X, "rbf", sigma=0.05, tol=1e-6)
    assert graph.approximation.method == "exact"
    assert graph.approximation.bound.shape == (3,)
    assert 0 < float(graph.approximation.item((1,)).bound) < 1e-10


def test_exact_weights_of_float32_are_not_taken_beyond_their_rounding():
    X = cloud(3000, 2).astype(np.float32)
    with pytest.raises(ToleranceError, match=r"tol=1e-06 .* rounding in float32"):
        gspnl.feature_graph(X, "rbf", sigma=0.05, tol=1e-6)
    graph = gspnl.feature_graph(cloud(500, 6).astype(np.float32), "rbf", sigma=0.2, tol=1e-2)
    assert graph.approximation.method == "exact"
    assert graph.approximation.bound <= 1e-2
    with pytest.raises(ToleranceError, match=r"tol=1e-07 .* certified to .* in float32"):
        gspnl.feature_graph(cloud(500, 6).astype(np.float32), "rbf", sigma=0.2, tol=1e-7)


def test_the_rounding_of_a_batch_is_that_of_its_worst_graph():
    X = np.stack([cloud(150, 6), 1e3 * cloud(150, 6)])
    both = gspnl.feature_graph(X, "rbf", sigma=0.05, tol=1e-6).approximation
    alone = gspnl.feature_graph(X[1], "rbf", sigma=0.05, tol=1e-6).approximation
    assert both.method == alone.method == "exact"
    assert (both.bound >= alone.bound).all()


@pytest.mark.filterwarnings("error")
def test_far_features_are_no_obstacle_to_the_choice():
    X = cloud(150, 2)
    graph = gspnl.feature_graph(np.concatenate([X, X + 1e7]), "rbf", sigma=0.3, tol=1e-5)
    assert graph.approximation.bound <= 1e-5


def test_kernels_without_a_root_are_refused_as_before():
    with pytest.raises(InputError, match="low rank by itself"):
        gspnl.feature_graph(cloud(100, 2), "dot", tol=1e-3)
    with pytest.raises(InputError, match="one sigma for each node"):
        gspnl.feature_graph(cloud(100, 2), "rbf", sigma="local", tol=1e-3)
