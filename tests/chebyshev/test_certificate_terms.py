"""Every term of a certificate, pinned on small cases where the other terms are known exactly.

A bound that loses one of its terms still exceeds the measured error nearly everywhere, so each term
is compared with its own value.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial import chebyshev as npcheb

import gspnl
from gspnl.chebyshev.certificate import Resolved, certify, resolve, spectral_error, sup_bound
from gspnl.chebyshev.target import make_target

EPS = 2.0**-52
THETA = np.array([0.5, -2.0, 0.25, 1.0])


def identity(lam):
    return lam


@pytest.mark.parametrize("floor", [0.0, 1e-3, 0.25])
def test_certificate_of_the_expansion_itself_is_floor_and_rounding(floor):
    rounding = 8 * EPS * 4 * (0.5 + 2.0 + 0.25 + 1.0)  # 8 ε (K + 1) Σ|θ|
    assert certify(THETA, Resolved(THETA, floor)) == pytest.approx(floor + rounding, rel=1e-12)


@pytest.mark.parametrize(("k", "size"), [(0, 3.0), (1, -2.0), (4, 0.5), (9, 1e-3)])
def test_certificate_contains_every_missing_term(k, size):
    """The distance of p and p + c T_k is |c|, whichever of the two series is the longer."""
    other = np.zeros(max(len(THETA), k + 1))
    other[: len(THETA)] = THETA
    other[k] += size
    for theta, exact in ((THETA, other), (other, THETA)):
        bound = float(certify(theta, Resolved(exact, 0.0)))
        assert abs(size) <= bound <= 1.021 * abs(size)


def test_families_are_certified_one_by_one():
    family = np.stack([THETA, 2 * THETA, THETA + np.array([0, 0, 0, 0.5])])
    bounds = certify(family, Resolved(THETA, 1e-4))
    single = [float(certify(theta, Resolved(THETA, 1e-4))) for theta in family]
    assert bounds.tolist() == single
    assert certify(family, None).tolist() == [math.inf] * 3


def test_supremum_between_samples_is_bounded():
    """On 10⁵ points no polynomial exceeds the bound, and none lies 2.1 % below it."""
    x = np.cos(np.linspace(0, np.pi, 100_001))
    rng = np.random.default_rng(5)
    for degree in (0, 1, 2, 5, 17, 60):
        for _ in range(5):
            c = rng.standard_normal(degree + 1)
            largest = np.abs(npcheb.chebval(x, c)).max()
            assert largest <= float(sup_bound(c)) * (1 + 1e-14) <= 1.021 * largest


def test_floor_of_an_expansion_covers_its_error():
    """32 ε of the largest value and twice the worst miss at the probes; a cut tail shows in it."""
    found = resolve(make_target(gspnl.responses.heat(3.0), (0.0, 2.0), None))
    assert found is not None
    assert found.floor >= 32 * EPS  # g(0) = 1 is the largest value
    lam = np.linspace(0, 2, 50_001)
    error = np.abs(npcheb.chebval(lam - 1, found.coefficients) - np.exp(-3 * lam)).max()
    assert error <= found.floor <= 100 * EPS
    scaled = resolve(make_target(lambda lam: 1e6 * np.exp(-3 * lam), (0.0, 2.0), None))
    assert scaled is not None
    assert 32e6 * EPS <= scaled.floor <= 100e6 * EPS


def test_floor_of_an_expansion_holds_twice_the_miss_at_a_probe():
    """A response with a feature of 2e-13 at one λ of the graph, between the nodes."""
    target = make_target(
        lambda lam: np.exp(-3 * lam) + 2e-13 * (lam == 0.7), (0.0, 2.0), np.array([0.7])
    )
    found = resolve(replace(target, probes=np.array([0.7])))
    assert found is not None
    assert 4e-13 <= found.floor <= 4.2e-13


def test_error_on_a_spectrum_is_the_largest_gap_and_rounding():
    lam = np.array([0.0, 0.5, 1.5])
    target = make_target(np.array([1.0, 2.0, -1.0]), (0.0, 2.0), lam)
    theta = np.array([1.0, 0.5])  # p = 1 + (λ − 1)/2: 0.5, 0.75, 1.25; the gaps 0.5, 1.25, 2.25
    assert spectral_error(target, theta) == pytest.approx(2.25, rel=1e-15)
    exact = np.array([0.0, 1.0])  # p = λ − 1 met exactly: 8 ε (K + 1) Σ|θ| is left
    target = make_target(lam - 1, (0.0, 2.0), lam)
    assert spectral_error(target, exact) == 16 * EPS


def features(n, dtype):
    return np.random.default_rng(0).random((n, 2)).astype(dtype)


def growth(n, amplification=1.0):
    """8 (4 + log₂ N) times the factor by which summands exceed S."""
    return 8 * (4 + math.log2(n)) * amplification


@pytest.mark.parametrize("n", [8, 64])
def test_rounding_of_a_filter_counts_terms_and_slope(n):
    """g(λ) = λ is met exactly by order 1 on [0, 2]: Σ|θ| (K + 1) = 4 terms, and slope 1."""
    graph = gspnl.feature_graph(features(n, np.float32), "rbf", sigma=1.0)
    planned = graph.chebyshev(identity, order=1, deflate=False)
    assert planned.error_bound == pytest.approx(2.0**-23 * growth(n) * (4 + 1), rel=1e-5)


def test_bound_in_float64_holds_floor_and_rounding_of_the_series():
    """There all terms have one size: the growth above, the floor 32 ε·2, and 8 ε (K + 1) Σ|θ|."""
    graph = gspnl.feature_graph(features(8, np.float64), "rbf", sigma=1.0)
    planned = graph.chebyshev(identity, order=1, deflate=False)
    least = growth(8) * 5 + 64 + 32
    assert least <= planned.error_bound / EPS <= least + 4  # + 4: twice the misses at the probes


def test_rounding_on_a_softmax_graph_is_64_roundings_of_each_term():
    graph = gspnl.feature_graph(features(8, np.float32), "gaussian", normalization="softmax")
    planned = graph.chebyshev(identity, order=1)
    assert planned.error_bound == pytest.approx(2.0**-23 * 64 * 2, rel=1e-5)


@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_rounding_of_low_rank_grows_by_the_norm_of_its_summands(stretch):
    """‖Bᵀ B‖₂ of B = D^-½ [Φ Ψ], W = ½ (Φ Ψᵀ + Ψ Φᵀ)."""
    rng = np.random.default_rng(1)
    X, P, Q = rng.random((40, 6)), rng.random((6, 3)), rng.random((6, 3)) + stretch
    Q *= np.linalg.norm(X @ P) / np.linalg.norm(X @ Q)  # of one size: no balancing between them
    X, P, Q = (a.astype(np.float32) for a in (X, P, Q))
    phi, psi = (X @ P).astype(float), (X @ Q).astype(float)
    W = (phi @ psi.T + psi @ phi.T) / 2
    B = np.concatenate([phi, psi], axis=1) / np.sqrt(W.sum(1))[:, None]
    amplification = np.linalg.norm(B, 2) ** 2
    assert amplification > 1.5
    graph = gspnl.feature_graph(X, "dot", embed=(P, Q), storage="lowrank")
    planned = graph.chebyshev(identity, order=1, deflate=False)
    truth = 2.0**-23 * growth(40, amplification) * 5
    assert planned.error_bound == pytest.approx(truth, rel=1e-4)


def test_rounding_of_deflated_eigenvalues_moves_the_response():
    """The constant mode is filtered by g at 0 ± shift: |g| and the larger of both moves are added.

    g(λ) = 1 + 100 λ is met exactly by order 1 on the band, so the bound is rounding alone.
    """
    graph = gspnl.feature_graph(features(8, np.float32), "rbf", sigma=1.0)
    planned = graph.chebyshev(lambda lam: 1 + 100 * lam, order=1)
    lo, hi = planned.series.interval
    theta = np.array([1 + 50 * (lo + hi), 50 * (hi - lo)])
    shift = 2.0**-23 * growth(8)
    terms = 2 * theta.sum() + 100 + 1  # Σ|θ| (K + 1), the slope, |g(0)|
    truth = shift * terms + 100 * shift
    assert np.abs(planned.series.coefficients - theta).max() <= 1e-12 * theta[0]
    assert planned.error_bound == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("order", [0, 1, 4])
def test_bound_of_a_filter_is_that_of_its_series_and_rounding(order):
    """Dropping either is seen: one dominates at low order in float64, the other in float32."""
    for dtype in (np.float32, np.float64):
        graph = gspnl.feature_graph(features(8, dtype), "rbf", sigma=1.0)
        planned = graph.chebyshev(gspnl.responses.heat(3.0), order=order, deflate=False)
        theta = np.abs(planned.series.coefficients)
        slope = np.abs(npcheb.chebder(planned.series.coefficients)).sum() if order else 0.0
        rounding = np.finfo(dtype).eps * growth(8) * (theta.sum() * (order + 1) + slope)
        truth = planned.series.error_bound + rounding
        assert planned.error_bound == pytest.approx(truth, rel=1e-12)
