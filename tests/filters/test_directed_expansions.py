"""Faber series of responses on discs and ellipses, against sampled functions."""

from __future__ import annotations

import numpy as np
import pytest

from gspnl import responses
from gspnl.filters.directed.expansions import Region, evaluate_series, expand

REGIONS = [
    Region(0.0, 0.6, 0.6, 1.0),
    Region(0.3, 0.5, 0.2, 1.0),
    Region(-0.1, 0.2, 0.5, 1.0),
    Region(0.1, 0.8, 0.0008, 1.0),
]


def boundary(region, n=4001):
    t = np.linspace(0, 2 * np.pi, n)
    return region.centre + region.across * np.cos(t) + 1j * region.along * np.sin(t)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(
    ("response", "f"),
    [
        (responses.heat(3.0), lambda z: np.exp(-3 * (1 - z))),
        (responses.tikhonov(2.0), lambda z: 1 / (1 + 2 * (1 - z))),
        (responses.smooth_low_pass(0.4, 0.5), lambda z: 1 / (1 + np.exp((0.6 - z) / 0.5))),
        (responses.wave(3.0), lambda z: np.cos(3 * np.arccos(1 - (1 - z) / 4))),
    ],
)
def test_series_equal_the_function_and_tails_its_remainder(region, response, f):
    found = expand(response, region, 1.0)
    z = boundary(region)
    assert np.abs(evaluate_series(found.coefficients, region, z) - f(z)).max() <= found.floor
    assert found.floor < 1e-11
    for order in (0, 1, 2, 3, 5):
        if order >= len(found.coefficients) - 1:
            assert found.tail(order) == found.floor
            continue
        left = evaluate_series(found.coefficients[: order + 1], region, z) - f(z)
        worst = np.abs(left).max()
        assert worst <= found.tail(order) <= 1.03 * worst + 2 * found.floor
        assert worst <= found.tails()[order] + found.floor


def test_a_flat_ellipse_has_the_chebyshev_series():
    region = Region(0.0, 0.9, 1e-6, 1.0)
    found = expand(responses.heat(1.0), region, 1.0)
    theta = np.polynomial.chebyshev.chebinterpolate(lambda x: np.exp(0.9 * x - 1), 20)
    theta[1:] /= 2  # F_k = 2 T_k
    assert np.allclose(found.coefficients[:8], theta[:8], atol=1e-6)


@pytest.mark.parametrize("region", REGIONS[:3])
@pytest.mark.parametrize(
    "response",
    [
        lambda lam: 1 / ((lam - 1) ** 2 + 0.01),
        lambda lam: np.conj(lam) ** 2,
        lambda lam: np.abs(lam),
        lambda lam: lam.imag + 0 * lam.real,
        lambda lam: np.where(lam.real > 0.9, 1.0, 0.0),
    ],
)
def test_functions_that_are_not_analytic_have_none(region, response):
    assert expand(response, region, 1.0) is None
