"""Chebyshev fits against NumPy and brute force, certificates against measured errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import chebyshev as npcheb
from scipy import special

import gspnl
from gspnl import responses
from gspnl.chebyshev import FITS
from gspnl.chebyshev.certificate import sup_bound

GRID = np.linspace(0, 2, 20_001)


def on_unit(g, lo=0.0, hi=2.0):
    return lambda x: g((lo + hi) / 2 + (hi - lo) / 2 * x)


@pytest.mark.parametrize("interval", [(0.0, 2.0), (0.3, 1.1)])
@pytest.mark.parametrize("order", [0, 1, 2, 7, 30])
def test_interpolation_agrees_with_numpy(order, interval):
    g = responses.tikhonov(10.0)
    series = gspnl.chebyshev.fit(g, order, interval)
    truth = npcheb.chebinterpolate(on_unit(g, *interval), order)
    assert np.abs(series.coefficients - truth).max() < 1e-14
    assert series.order == order
    lam = np.linspace(*interval, 100)
    truth = npcheb.Chebyshev(truth, domain=interval)(lam)
    assert np.abs(series(lam) - truth).max() < 1e-13


def test_heat_has_bessel_coefficients():
    # exp(−t(1 + x)) = e^{−t} (I₀(t) + 2 Σ (−1)^k I_k(t) T_k(x))
    t = 3.0
    k = np.arange(25)
    truth = np.exp(-t) * (-1.0) ** k * special.iv(k, t) * np.where(k == 0, 1, 2)
    assert np.abs(gspnl.chebyshev.fit(responses.heat(t), 24).coefficients - truth).max() < 1e-15


def test_minimax_error_equioscillates_and_is_below_interpolation():
    for g in (responses.heat(5.0), responses.tikhonov(20.0), responses.smooth_low_pass(0.7, 0.1)):
        for order in (0, 1, 4, 9):
            best = gspnl.chebyshev.fit(g, order, method="minimax")
            error = best(GRID) - g(GRID)
            extremes = error[np.abs(error) > 0.99 * np.abs(error).max()]
            alternations = (np.diff(np.sign(extremes)) != 0).sum() + 1
            assert alternations >= order + 2  # the minimax polynomial, by Chebyshev's theorem
            plain = gspnl.chebyshev.fit(g, order)
            assert np.abs(error).max() <= np.abs(plain(GRID) - g(GRID)).max() * (1 + 1e-3)


def test_minimax_of_one_over_one_plus_lambda_is_the_closed_form():
    # The best linear fit of 1/(1 + λ) on [0, 2] has error (1 − √(1/3))²/2.
    series = gspnl.chebyshev.fit(responses.tikhonov(1.0), 1, method="minimax")
    error = np.abs(series(GRID) - 1 / (1 + GRID)).max()
    assert abs(error - (1 - np.sqrt(1 / 3)) ** 2 / 2) < 1e-4 * error


def test_least_squares_is_the_weighted_solution():
    rng = np.random.default_rng(0)
    lam, omega = np.sort(rng.uniform(0, 2, 30)), rng.standard_normal(30)
    series = gspnl.chebyshev.fit(omega, 5, method="least_squares", spectrum=lam)
    truth = np.polyfit(lam, omega, 5)
    assert np.abs(series(lam) - np.polyval(truth, lam)).max() < 1e-9
    assert np.isclose(series.error_bound, np.abs(series(lam) - omega).max(), rtol=1e-9)
    # Multiplicities are weights: an eigenvalue of multiplicity 50 counts as 50.
    graph = gspnl.feature_graph(rng.standard_normal((60, 3)), kernel="anchors", anchors=6)
    spectrum = graph.spectrum()
    values = rng.standard_normal(len(spectrum.eigenvalues))
    series = gspnl.chebyshev.fit(values, 2, method="least_squares", spectrum=spectrum)
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    truth = np.polyfit(every, np.repeat(values, spectrum.multiplicities), 2)
    assert np.abs(series(every) - np.polyval(truth, every)).max() < 1e-8


def test_jackson_does_not_ring():
    g = responses.low_pass(1.0)
    damped, plain = gspnl.chebyshev.fit(g, 40, method="jackson"), gspnl.chebyshev.fit(g, 40)
    assert damped(GRID).max() <= 1 + 1e-3
    assert damped(GRID).min() >= -1e-3
    assert plain(GRID).max() > 1.05  # Gibbs


def test_jackson_damping_equals_the_published_formula():
    # Weiße et al., Rev. Mod. Phys. 78 (2006), eq. 71, with N = K + 1 moments.
    order, n = 12, 13
    k = np.arange(n)
    q = np.pi / (n + 1)
    damping = ((n - k + 1) * np.cos(q * k) + np.sin(q * k) / np.tan(q)) / (n + 1)
    g = responses.heat(2.0)
    projection = npcheb.chebinterpolate(on_unit(g), 60)[:n]
    series = gspnl.chebyshev.fit(g, order, method="jackson")
    assert np.abs(series.coefficients - damping * projection).max() < 1e-14


def random_response(rng):
    pick = rng.integers(5)
    if pick == 0:
        return responses.heat(float(rng.uniform(0.1, 30)))
    if pick == 1:
        return responses.tikhonov(float(rng.uniform(0.1, 500)))
    if pick == 2:
        return responses.smooth_low_pass(float(rng.uniform(0, 2)), float(rng.uniform(0.02, 0.5)))
    if pick == 3:
        return responses.smooth_band_pass(float(rng.uniform(0, 2)), float(rng.uniform(0.03, 0.5)))
    return responses.gsnl(*(float(v) for v in rng.standard_normal(3)))


def test_the_certificate_of_a_series_holds_and_is_tight():
    rng = np.random.default_rng(7)
    methods = [m for m in FITS if m != "least_squares"]
    ratios = []
    for _ in range(300):
        g, order = random_response(rng), int(rng.integers(0, 60))
        lo, hi = sorted(rng.uniform(0, 2, 2))
        series = gspnl.chebyshev.fit(g, order, (lo, hi + 0.01), str(rng.choice(methods)))
        lam = np.linspace(lo, hi + 0.01, 4001)
        error = np.abs(series(lam) - g(lam)).max()
        assert error <= series.error_bound, (g, order)
        if error > 1e-10:
            ratios.append(series.error_bound / error)
    assert np.median(ratios) < 1.05


def test_no_certificate_where_the_series_does_not_converge():
    assert gspnl.chebyshev.fit(responses.low_pass(0.5), 50).error_bound == np.inf
    # Jumps near the end, or narrow features, between all nodes of a low order.
    assert gspnl.chebyshev.fit(responses.low_pass(1e-5), 50).error_bound == np.inf
    assert gspnl.chebyshev.fit(lambda lam: (lam < 1e-7) * 1.0, 5).error_bound == np.inf
    thin = gspnl.chebyshev.fit(responses.smooth_band_pass(0.5, 0.002), 5)
    assert (
        thin.error_bound
        >= 0.99 * np.abs(thin(GRID) - responses.smooth_band_pass(0.5, 0.002)(GRID)).max()
    )
    # Outside the jump the response is a constant.
    assert gspnl.chebyshev.fit(responses.low_pass(0.5), 2, (0.6, 2.0)).error_bound < 1e-14


def test_the_sup_bound_is_above_a_fine_grid_and_near_it():
    rng = np.random.default_rng(1)
    for degree in (0, 1, 5, 80):
        c = rng.standard_normal(degree + 1)
        true = np.abs(npcheb.chebval(np.cos(np.linspace(0, np.pi, 50_001)), c)).max()
        assert true * (1 - 1e-6) <= sup_bound(c) <= 1.02 * true + 1e-15


def test_certificates_of_filters_hold_over_random_graphs():
    """Draw 200 graphs, responses and orders; the error is below every certificate and tol=."""
    rng = np.random.default_rng(11)
    for _ in range(200):
        n, c = int(rng.integers(20, 200)), int(rng.integers(2, 9))
        X = rng.standard_normal((n, c))
        if rng.random() < 0.4:  # clusters
            k = int(rng.integers(2, 5))
            X = 0.3 * X + 4 * rng.standard_normal((k, c))[rng.integers(0, k, n)]
        kernel, options = [
            ("dot", {"embed": tuple(rng.standard_normal((2, c, 3)))}),
            ("dot", {"storage": "dense", "feature_map": "softplus"}),
            ("rbf", {"sigma": float(rng.uniform(0.5, 4))}),
            ("anchors", {"anchors": int(rng.integers(2, 15))}),
            ("cosine", {}),
        ][rng.integers(5)]
        dtype = np.float32 if rng.random() < 0.3 else np.float64
        normalization = ["random_walk", "symmetric", "bistochastic"][rng.integers(3)]
        if kernel == "dot":
            normalization = "random_walk"
        graph = gspnl.feature_graph(X.astype(dtype), kernel, normalization=normalization, **options)
        Z = rng.standard_normal((n, 2)).astype(dtype)
        g = (
            responses.low_pass(float(rng.uniform(0, 2)))
            if rng.random() < 0.15
            else random_response(rng)
        )
        deflate = [None, False, 1][rng.integers(3)]
        table = gspnl.compare(graph, Z, g, [int(rng.integers(0, 40))], deflate=deflate)
        assert table.errors[0] <= table.bounds[0], (graph, g, table)
        if not g.jumps and dtype == np.float64:
            tol = 10.0 ** -rng.uniform(1, 9)
            plan = graph.chebyshev(g, tol=tol)
            assert plan.error_bound <= tol
            assert graph.norm(graph.filter(Z, g) - plan(Z)) <= tol * graph.norm(Z)


def test_tol_chooses_the_least_order():
    rng = np.random.default_rng(3)
    graph = gspnl.feature_graph(rng.standard_normal((150, 4)), "rbf", sigma=1.0)
    for tol in (1e-2, 1e-5, 1e-9):
        plan = graph.chebyshev(responses.tikhonov(30.0), tol=tol)
        span = plan.series.interval
        smaller = [
            gspnl.chebyshev.fit(responses.tikhonov(30.0), k, span).error_bound
            for k in range(plan.order)
        ]
        assert all(bound > tol for bound in smaller)
