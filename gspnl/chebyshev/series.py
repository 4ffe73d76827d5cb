r"""Polynomials in λ by their Chebyshev coefficients.

:math:`p(λ) = \sum_{k \le K} θ_k T_k(x)` with :math:`x = (2λ - lo - hi)/(hi - lo)`: numpy's
convention, θ₀ not halved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev as npcheb
from scipy import fft

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Series:
    r"""A polynomial in λ by its Chebyshev coefficients.

    Parameters
    ----------
    coefficients : array of shape (K + 1,)
        θ₀ … θ_K of :math:`T_k((2λ - lo - hi)/(hi - lo))`.
    interval : (float, float)
        (lo, hi).
    error_bound : float
        Certified :math:`\sup |g - p|` over the interval, or over the spectrum of the fit; inf where
        no finite certificate exists, NaN where there is no response to compare with.

    Examples
    --------
    >>> import gspnl
    >>> series = gspnl.chebyshev.fit(gspnl.responses.heat(3.0), order=8)
    >>> series.order, series.error_bound < 1e-4
    (8, True)
    """

    coefficients: np.ndarray
    interval: tuple[float, float] = (0.0, 2.0)
    error_bound: float = math.nan

    @property
    def order(self) -> int:
        """K."""
        return len(self.coefficients) - 1

    def __call__(self, lam: Any) -> np.ndarray:
        """Evaluate p(λ) by Clenshaw's recurrence."""
        lo, hi = self.interval
        x = (2 * np.asarray(lam, dtype=np.float64) - (lo + hi)) / (hi - lo)
        return np.asarray(npcheb.chebval(x, self.coefficients))


@dataclass(frozen=True, eq=False)
class Family:
    """Polynomials over one interval, applied together by one recurrence.

    Parameters
    ----------
    coefficients : array of shape (F, K + 1)
    interval : (float, float)
    """

    coefficients: np.ndarray
    interval: tuple[float, float]

    @classmethod
    def of(cls, members: Sequence[Series]) -> Family:
        """Stack series over one interval, padded with zeros to one length."""
        intervals, widths = zip(*[(s.interval, len(s.coefficients)) for s in members], strict=True)
        (interval,), width = set(intervals), max(widths)
        rows = np.zeros((len(members), width))
        for row, series in zip(rows, members, strict=True):
            row[: len(series.coefficients)] = series.coefficients
        return cls(rows, interval)


@lru_cache(maxsize=32)
def nodes(n: int) -> np.ndarray:
    """Return the n zeros of T_n, descending and read-only."""
    zeros = np.asarray(np.cos(np.pi * (np.arange(n) + 0.5) / n))
    zeros.flags.writeable = False
    return zeros


def interpolation_coefficients(values: np.ndarray) -> np.ndarray:
    """Compute coefficients of the interpolant of values (..., n) at :func:`nodes`, by a DCT."""
    c: np.ndarray = np.asarray(fft.dct(values, type=2)) / np.shape(values)[-1]
    c[..., 0] /= 2
    return c
