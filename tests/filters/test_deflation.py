"""Deflation: reference errors, comparison with the plain interval, outer bounds of the band."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from support.formulas import affinity, normalized, weights

import gspnl
from gspnl import responses
from gspnl._base.lanczos import lanczos
from gspnl.chebyshev.families import apply_series


@pytest.fixture(scope="module")
def gaussian():
    """1024 nodes in 32 dimensions, embedded and scaled so that the band is about [0.96, 1.003]."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1024, 32))
    first = rng.standard_normal((32, 32)) * 0.016
    embed = (first, first + rng.standard_normal((32, 32)) * 0.016)
    A, _ = normalized(weights(affinity("embedded_gaussian", X, embed), ""), "random_walk")
    Z = np.random.default_rng(1).standard_normal((1024, 4)) + 1  # a mean, as a feature map has
    return gspnl.feature_graph(X, "embedded_gaussian", embed), A, Z


def test_errors_and_bounds_match_the_reference_table(gaussian):
    """g = 1/(1 + 50λ): errors on [0, 2], on [0, λmax], and with deflation."""
    graph, A, Z = gaussian
    lam = graph.spectrum().eigenvalues
    assert lam[0] < 1e-14
    assert 0.95 < lam[1] < 0.97
    assert 1.002 < lam[-1] < 1.01
    g = responses.tikhonov(50.0)
    truth = np.linalg.solve(51 * np.eye(1024) - 50 * A, Z)
    size = np.linalg.norm(truth)

    def error(order, **options):
        return np.linalg.norm(graph.filter(Z, g, order=order, **options) - truth) / size

    plain = {k: error(k, deflate=False) for k in (2, 5, 30)}
    whole = {k: error(k, deflate=False, interval=(0.0, lam[-1] + 1e-9)) for k in (2, 5, 30)}
    ours = {k: error(k) for k in (2, 5, 30)}
    assert plain[2] > 0.5
    assert plain[5] > 0.3
    assert 1e-4 < plain[30] < 1e-2
    assert whole[2] < plain[2]
    assert whole[30] < plain[30]
    assert ours[2] < 1e-5
    assert ours[5] < 1e-10
    assert ours[30] < 1e-13


def test_deflation_errs_no_more_than_the_plain_interval_on_random_graphs():
    rng = np.random.default_rng(5)
    for _ in range(200):
        n, c = int(rng.integers(20, 200)), int(rng.integers(2, 9))
        X = rng.standard_normal((n, c))
        if rng.random() < 0.5:
            k = int(rng.integers(2, 6))
            X = 0.3 * X + 4 * rng.standard_normal((k, c))[rng.integers(0, k, n)]
        kernel, options = [
            ("dot", {}),
            ("rbf", {"sigma": float(rng.uniform(0.5, 4))}),
            ("anchors", {"anchors": int(rng.integers(2, 15))}),
            ("cosine", {}),
            ("dot", {"storage": "dense", "feature_map": "exp"}),
        ][rng.integers(5)]
        graph = gspnl.feature_graph(X, kernel, **options)
        Z = rng.standard_normal((n, 3))
        g = [
            responses.heat(float(rng.uniform(0.1, 20))),
            responses.tikhonov(float(rng.uniform(0.1, 200))),
            responses.smooth_low_pass(float(rng.uniform(0, 1)), float(rng.uniform(0.05, 0.5))),
        ][rng.integers(3)]
        order = int(rng.integers(0, 30))
        ours = gspnl.compare(graph, Z, g, [order]).errors[0]
        plain = gspnl.compare(graph, Z, g, [order], deflate=False).errors[0]
        assert ours <= plain + 1e-12, (graph, g, order, ours, plain)


@pytest.mark.parametrize("storage", ["lowrank", "dense"])
def test_several_modes_can_be_deflated(storage):
    rng = np.random.default_rng(2)
    X = np.abs(np.repeat(np.eye(4), 50, axis=0) + 0.1 * rng.standard_normal((200, 4)))
    graph = gspnl.feature_graph(X, kernel="dot", storage=storage)
    Z = rng.standard_normal((200, 2))
    g = responses.tikhonov(100.0)
    errors = [gspnl.compare(graph, Z, g, [2], deflate=m).errors[0] for m in (0, 1, 4)]
    assert errors[2] < 1e-3 * errors[1]
    lam = graph.spectrum().eigenvalues
    assert np.abs(graph.chebyshev(g, order=2, deflate=4).deflated - lam[:4]).max() < 1e-12


def test_all_copies_of_a_repeated_zero_are_deflated():
    """Three components: λ = 0 has multiplicity 3, of which Lanczos from one vector finds one."""
    X = np.repeat(np.eye(3), 30, axis=0)
    graph = gspnl.feature_graph(X, kernel="dot", storage="dense")
    plan = graph.chebyshev(responses.heat(4.0), order=3, deflate=3)
    assert np.abs(plan.deflated).max() < 1e-12
    Z = np.random.default_rng(0).standard_normal((90, 2))
    groups = np.kron(np.eye(3), np.ones((30, 30)) / 30)
    truth = scipy.linalg.expm(-4 * (np.eye(90) - groups)) @ Z
    assert np.abs(plan(Z) - truth).max() < 1e-12


def test_band_ends_bound_all_other_eigenvalues():
    rng = np.random.default_rng(9)
    for _ in range(60):
        n = int(rng.integers(30, 300))
        X = rng.standard_normal((n, 3)) * rng.uniform(0.5, 3)
        graph = gspnl.feature_graph(X, "rbf", sigma=float(rng.uniform(0.3, 3)))
        lo, hi = graph.chebyshev(responses.heat(1.0), order=3).series.interval
        lam = graph.spectrum().eigenvalues
        assert lo <= lam[1]
        assert lam[-1] <= hi
        assert hi - lo <= 1.2 * (lam[-1] - lam[1]) + 1e-3


# Degrees span many decades; λ and the norm of T⁻¹ keep their digits.
@pytest.mark.filterwarnings("ignore:degrees of this graph span")
def test_band_ends_bound_the_eigenvalues_of_outliers():
    """Distant nodes give eigenvalues between the bulk and 0, which a single start can miss."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, c, scale = int(rng.integers(50, 300)), int(rng.integers(2, 12)), rng.uniform(0.2, 0.6)
        X = rng.standard_normal((n, c)) * scale
        X[: int(rng.integers(1, 6))] += 3 * scale * rng.standard_normal(c)
        graph = gspnl.feature_graph(X, "gaussian")
        for count in (1, 2):
            lo, hi = graph.caches.single().deflation(count).interval
            lam = graph.spectrum().eigenvalues[count:]
            assert lo <= lam[0], seed
            assert lam[-1] <= hi, seed


def test_a_plan_does_not_depend_on_cached_results():
    X = np.random.default_rng(8).standard_normal((1100, 3))
    fresh, used = (gspnl.feature_graph(X, "rbf") for _ in range(2))
    used.spectrum()
    g = responses.low_pass(0.5)
    before, after = (graph.chebyshev(g, order=9) for graph in (fresh, used))
    assert before.error_bound == after.error_bound == np.inf
    assert np.array_equal(before.series.coefficients, after.series.coefficients)


def test_lanczos_finds_the_ends_of_a_known_operator():
    d = np.concatenate([[-3.0], np.linspace(-1, 1, 300), [4.0]])
    ritz = lanczos(
        lambda q: d[:, None] * q,
        np.random.default_rng(0).standard_normal((302, 2)),
        np.zeros((302, 0)),
        done=lambda v, r: max(r[0], r[-1]) < 1e-10,
        steps=60,
    )
    assert abs(ritz.values[0] + 3) < 1e-9
    assert abs(ritz.values[-1] - 4) < 1e-9
    assert abs(ritz.weights.sum() - 1) < 1e-12
    assert abs(abs(ritz.top[-1, 0]) - 1) < 1e-9


def test_the_recurrence_equals_the_matrix_polynomial():
    rng = np.random.default_rng(4)
    A = rng.standard_normal((20, 20)) / 10
    Z = rng.standard_normal((20, 2))
    for order in (0, 1, 2, 9):
        series = gspnl.chebyshev.fit(responses.heat(1.0), order, (0.0, 2.0))
        power = np.polynomial.chebyshev.cheb2poly(series.coefficients)
        x = -A
        truth = sum(c * np.linalg.matrix_power(x, k) @ Z for k, c in enumerate(power))
        assert np.abs(apply_series(lambda v: -(A @ v), series, Z) - truth).max() < 1e-12


def test_least_squares_excludes_deflated_modes():
    """The fit excludes the constant mode and the modes of isolated nodes."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((80, 3))
    X[:7] = -1  # isolated
    for storage in ("lowrank", "dense"):
        graph = gspnl.feature_graph(X, kernel="dot", storage=storage)
        isolated = int((graph.degrees == 0).sum())
        lam = np.repeat(graph.spectrum().eigenvalues, graph.spectrum().multiplicities)
        rest = lam[isolated + 1 :]
        g = responses.tikhonov(20.0)
        series = graph.chebyshev(g, order=2, method="least_squares").series
        truth = np.polyval(np.polyfit(rest, g(rest), 2), rest)
        assert np.abs(series(rest) - truth).max() < 1e-8


def test_a_mode_that_lanczos_does_not_separate_raises(monkeypatch):
    monkeypatch.setattr("gspnl.filters.deflation.recurrence.MODE_STEPS", 2)
    X = np.random.default_rng(4).standard_normal((200, 3))
    graph = gspnl.feature_graph(X, "rbf")
    with pytest.raises(gspnl.errors.ConvergenceError, match=r"deflate=2: the mode .* fewer modes"):
        graph.filter(X, responses.heat(1.0), order=2, deflate=2)
