"""The choice among three interpolants, by the score that its docstring states."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.polynomial import chebyshev as npcheb

from gspnl.chebyshev import fit
from gspnl.chebyshev.target import make_target
from gspnl.filters.bounds import balanced


def heat(lam):
    return np.exp(-3 * np.asarray(lam))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("band", [(0.6, 1.05), (0.2, 1.4)])
def test_the_interpolant_of_least_score_is_chosen(band, order, share):
    """√Σ shares (g − p)² + 0.1 max |g − p|, over λ of the graph; no other candidate is below."""
    lo, hi = band
    target = make_target(heat, band, None)
    lam = np.append(np.linspace(lo, hi, 9), 1.0)
    shares = np.append(np.full(9, (1 - share) / 9), share)
    deflation = SimpleNamespace(density=(lam, shares))
    theta = fit(heat, order, band).coefficients
    found = balanced(target, theta, deflation, None)

    x = (2 * lam - lo - hi) / (hi - lo)

    def score(c):
        gap = np.abs(npcheb.chebval(x, c) - heat(lam))
        return np.sqrt(shares @ gap**2) + 0.1 * gap.max()

    bulk = x[np.argmax(shares)]
    zeros = np.cos(np.pi * (np.arange(order) + 0.5) / order)  # K points, and the bulk exactly
    through = npcheb.chebfit(
        np.append(zeros, bulk), heat((lo + hi) / 2 + (hi - lo) / 2 * np.append(zeros, bulk)), order
    )
    full = fit(heat, order, (0.0, 2.0))  # interpolates on [0, 2]
    nodes = np.cos(np.pi * (np.arange(order + 1) + 0.5) / (order + 1))
    onfull = npcheb.chebfit(nodes, full((lo + hi) / 2 + (hi - lo) / 2 * nodes), order)
    scores = [score(c) for c in (theta, through, onfull)]
    assert score(found) == pytest.approx(min(scores), rel=1e-9)
