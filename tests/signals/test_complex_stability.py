"""Stability where eigenvalues are complex: closed forms of rotations and of directed cycles."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gspnl
from gspnl import stability

TWO_NODES = np.eye(2) + 1.0  # dot products of these features have μ = 1, 1/9


def rotation(a, b):
    """A matrix of eigenvalues a ± bi."""
    return np.array([[a, -b], [b, a]], dtype=float)


# |1 + h(−a ± bi)|² = 1 − 2ah + (a² + b²)h² ≤ 1 for h ≤ 2a / (a² + b²)
LIMITS = [
    (1, 1, 1.0),
    (1, 2, 0.4),
    (2, 1, 0.8),
    (3, 1, 0.6),
    (0.5, 0, 4.0),
    (1, -3, 0.2),
    (4, 4, 0.25),
]


@pytest.mark.parametrize(("a", "b", "limit"), LIMITS)
def test_the_step_limit_of_rotating_channels(a, b, limit):
    graph = gspnl.feature_graph(TWO_NODES, kernel="dot")
    found = stability.cfl(graph, [rotation(-a, b), np.zeros((2, 2))], step=0.1, units=4)
    assert abs(found.limit - limit) < 1e-12
    assert abs(found.radius - math.hypot(1 - 0.1 * a, 0.1 * b)) < 1e-12
    assert abs(found.growth - (1 - 0.2 * a + 0.01 * (a * a + b * b)) ** 2) < 1e-12
    for step, stable in ((limit, True), (0.999 * limit, True), (1.001 * limit, False)):
        verdict = stability.cfl(graph, [rotation(-a, b), np.zeros((2, 2))], step=step)
        assert verdict.stable is stable
        assert (verdict.radius <= 1 + 1e-12) is stable


@pytest.mark.parametrize(("a", "b"), [(0, 1), (-1, 2), (-0.1, 0)])
def test_rotations_without_damping_grow_at_any_step(a, b):
    graph = gspnl.feature_graph(TWO_NODES, kernel="dot")
    found = stability.cfl(graph, [rotation(-a, b), np.zeros((2, 2))], step=1e-3)
    assert (found.limit, found.stable) == (0.0, False)
    assert found.radius > 1


def test_the_worst_mode_of_rotating_channels_decides():
    """H(μ) = −1 ± 3μi, by W₂; H(μ) = −1 ± (2μ − 1)i, by W₃."""
    graph = gspnl.feature_graph(TWO_NODES, kernel="dot")
    found = stability.cfl(graph, [-np.eye(2), rotation(0, 3)], step=0.1)
    assert abs(found.limit - 0.2) < 1e-12  # 2 / (1 + 9)
    assert abs(found.mode - 1) < 1e-12
    third = stability.cfl(graph, [-np.eye(2), np.zeros((2, 2)), rotation(0, 1)], step=0.1)
    assert abs(third.limit - 1.0) < 1e-12  # 2 / (1 + 1), at μ = 1; |2/9 − 1| < 1
    apart = stability.cfl(graph, [rotation(-1, 1), rotation(0, -1)], step=0.1)
    assert abs(apart.limit - 2 / (1 + (8 / 9) ** 2)) < 1e-12  # −1 ± (1 − μ)i
    assert abs(apart.mode - 1 / 9) < 1e-12


def cycle(strength):
    """A softmax graph on a directed 3-cycle, and r: its μ are 1, r e^{±2πi/3}.

    A = b + (a − b) P with a = e^s / (e^s + 2), b = 1 / (e^s + 2) and the cyclic shift P, r = a − b.
    """
    eye = np.eye(3)
    graph = gspnl.feature_graph(
        eye, "embedded_gaussian", (eye, strength * np.roll(eye, 1, axis=0)),
        normalization="softmax",
    )  # fmt: skip
    return graph, (math.exp(strength) - 1) / (math.exp(strength) + 2)


@pytest.mark.parametrize("strength", [0.5, 2.0, 6.0])
def test_the_stability_of_a_directed_cycle(strength):
    graph, r = cycle(strength)
    assert abs(stability.spectral_gap(graph) - (1 - r)) < 1e-12
    assert abs(stability.spectral_gap(graph, absolute=False) - (1 + r / 2)) < 1e-12
    assert np.allclose(stability.memory(graph, [0, 1, 5]), [1, r, r**5], rtol=0, atol=1e-12)
    # |μ² − μ|² = r² |μ − 1|² = r² (1 + r + r²) of two modes
    square = 2 * r**2 * (1 + r + r**2) / (1 + 2 * r**2)
    assert abs(stability.idempotence_defect(graph) - math.sqrt(square)) < 1e-12
    # z = μ − 1 with Re z = −1 − r/2
    one = np.ones((1, 1))
    found = stability.cfl(graph, [-one, one], step=0.5, units=2)
    assert abs(found.limit - (2 + r) / (1 + r + r**2)) < 1e-12
    # 0.5 + 0.5 μ of μ = 1 is 1; of the others smaller
    assert abs(found.radius - 1) < 1e-12
    large = stability.cfl(graph, [-one, one], step=3.0, units=2)  # |1 + 3(μ − 1)|² = |3μ − 2|²
    assert abs(large.growth - (9 * r**2 + 6 * r + 4)) < 1e-9
    assert abs(abs(large.mode) - r) < 1e-12
    assert abs(large.mode.real + r / 2) < 1e-12
    assert abs(abs(large.mode.imag) - r * math.sqrt(3) / 2) < 1e-12


def test_complex_rates_with_noise_around_zero_do_not_limit_the_step():
    """Eigenvalues that are rounding beside the largest count as zero."""
    from gspnl.signals.stability.units import verdict

    rates = np.array([-1.0 + 1.0j, 1e-14 + 1e-14j, 1e-13j])
    assert abs(verdict(rates, np.zeros(3)).limit - 1.0) < 1e-12
