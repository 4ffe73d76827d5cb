"""Sparse graphs: filters that are exact to rounding, or cheap, on [0, 2] find no band first."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from support.formulas import dense_filter, eigen, normalized, relative

import gspnl
from gspnl.filters.deflation import recurrence


def ring(n=60):
    W = scipy.sparse.diags_array([1.0, 0.5, 1.0, 0.5, 1.0], offsets=[1, 7, 0, -7, -1], shape=(n, n))
    return scipy.sparse.csr_array(W)


@pytest.fixture
def no_band(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a Lanczos run over the band")

    monkeypatch.setattr(recurrence, "_run", refuse)


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
@pytest.mark.parametrize("options", [{"order": 30}, {"order": 80}, {"tol": 1e-3}, {"tol": 1e-8}])
def test_a_heat_filter_needs_no_band(options, normalization, no_band):
    rng = np.random.default_rng(0)
    W, Z = ring(), rng.standard_normal((60, 2))
    graph = gspnl.graph_from_weights(W, normalization)
    g = gspnl.responses.heat(3.0)
    truth = dense_filter(*normalized(W.toarray(), normalization), lambda lam: np.exp(-3 * lam), Z)
    planned = graph.chebyshev(g, **options)
    assert planned.series.interval == (0.0, 2.0)
    assert planned.error_bound <= options.get("tol", 1e-11)
    change = np.asarray(graph.affinity.change)[:, None]
    error = np.linalg.norm((planned(Z) - truth) / change) / np.linalg.norm(Z / change)
    assert error <= planned.error_bound
    assert relative(graph.filter(Z, g, **options), truth) <= max(10 * options.get("tol", 0), 1e-12)


def test_a_low_order_is_fitted_to_the_band():
    graph = gspnl.graph_from_weights(ring())
    planned = graph.chebyshev(gspnl.responses.heat(3.0), order=4)
    assert planned.series.interval != (0.0, 2.0)
    full = graph.chebyshev(gspnl.responses.heat(3.0), order=4, interval=(0.0, 2.0))
    assert planned.error_bound < full.error_bound


def test_a_low_order_on_a_large_graph_needs_no_band(no_band):
    n = 12_000
    graph = gspnl.graph_from_weights(ring(n))
    g = gspnl.responses.heat(3.0)
    planned = graph.chebyshev(g, order=4)
    assert planned.series.interval == (0.0, 2.0)
    W, Z = ring(n), np.random.default_rng(1).standard_normal(n)
    degrees = W.sum(1)
    L = scipy.sparse.eye_array(n) - scipy.sparse.diags_array(1 / degrees) @ W
    truth = scipy.sparse.linalg.expm_multiply(-3 * L, Z)
    error = np.linalg.norm((planned(Z) - truth) * np.sqrt(degrees))
    error /= np.linalg.norm(Z * np.sqrt(degrees))
    assert 1e-4 < error <= planned.error_bound < 0.02


def test_a_band_that_is_known_is_used():
    graph = gspnl.graph_from_weights(ring())
    graph.spectral_interval()
    assert graph.chebyshev(gspnl.responses.heat(3.0), order=30).series.interval != (0.0, 2.0)


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "combinatorial"])
@pytest.mark.parametrize("options", [{"order": 12}, {"order": 30}, {"tol": 1e-3}, {"tol": 1e-8}])
def test_filters_of_a_bank_share_one_interval(options, normalization):
    """Smooth members alone would need no band, and sharp ones do."""
    W, Z = ring(), np.random.default_rng(0).standard_normal((60, 2))
    bank = gspnl.banks.heat([0.1, 1.0, 50.0])
    graph = gspnl.graph_from_weights(W, normalization)
    plans = gspnl.plan_bank(graph, bank, **options).plans
    assert len({plan.series.interval for plan in plans}) == 1
    if normalization == "combinatorial":
        lam, U = np.linalg.eigh(np.diag(W.sum(1)) - W.toarray())
        inverse, change = U.T, np.ones((60, 1))
    else:
        A, T = normalized(W.toarray(), normalization)
        (lam, U, inverse), change = eigen(A, T), T[:, None]
    for found, g, plan in zip(gspnl.analyze(graph, Z, bank, **options), bank, plans, strict=True):
        truth = U @ (g(lam)[:, None] * (inverse @ Z))
        error = np.linalg.norm((found - truth) / change) / np.linalg.norm(Z / change)
        assert error <= plan.error_bound
