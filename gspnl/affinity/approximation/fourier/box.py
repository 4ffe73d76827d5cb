r"""Periodise the Gaussian k(x) = exp(−‖x‖²/2) on a box, to a bound of its error.

Along an axis with differences \|x\| ≤ R and a period L ≥ R,

.. math::

    \sum_j k(x - jL) = \sum_n \hat g_n e^{2πi n x/L}, \qquad
    \hat g_n = \frac{\sqrt{2π}}{L} \exp(-2π^2 n^2 / L^2) .

The wrapped terms are at most :math:`2 \sum_{j ≥ 1} e^{-(jL - R)^2/2}`, and the modes beyond m at
most :math:`2 \sum_{n > m} \hat g_n ≤ \mathrm{erfc}(\sqrt 2 π m / L)`, since ĝ decreases. Over the
axes errors multiply: each factor is at most 1 plus its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erfc, erfcinv


@dataclass(frozen=True, eq=False)
class Box:
    """Periods, modes and coefficients of the periodised Gaussian.

    Parameters
    ----------
    periods : tuple of float
        L of each axis, in units of σ.
    halves : tuple of int
        m of each axis: modes −m … m.
    error : float
        Bound of the error of every entry k(x_i − x_j).
    """

    periods: tuple[float, ...]
    halves: tuple[int, ...]
    error: float

    @property
    def modes(self) -> tuple[int, ...]:
        """2m + 1 of each axis."""
        return tuple(2 * m + 1 for m in self.halves)

    def frequencies(self, axis: int) -> np.ndarray:
        """Compute 2πn/L, shaped to multiply coefficients along an axis."""
        m = self.halves[axis]
        values = 2 * np.pi / self.periods[axis] * np.arange(-m, m + 1)
        shape = [1] * len(self.halves)
        shape[axis] = -1
        return values.reshape(shape)

    def coefficients(self) -> np.ndarray:
        """Compute the product of ĝ over the axes, of shape :attr:`modes`."""
        out = np.ones((1,) * len(self.halves))
        for axis, period in enumerate(self.periods):
            decay = np.exp(-(self.frequencies(axis) ** 2) / 2)
            out = out * (math.sqrt(2 * np.pi) / period * decay)
        return out


def box_for(extents: np.ndarray, error: float) -> Box:
    """Return the box with the fewest modes by these bounds, for differences up to ``extents``."""
    each = error / (2 * len(extents))  # half of an axis's share for aliasing, half for truncation
    periods = tuple(float(extent) + reach(each) for extent in extents)
    halves = tuple(
        max(1, math.ceil(period * float(erfcinv(each)) / (math.sqrt(2) * np.pi)))
        for period in periods
    )
    total = 1.0
    for extent, period, half in zip(extents, periods, halves, strict=True):
        total *= 1 + aliasing(float(extent), period) + truncation(period, half)
    return Box(periods, halves, total - 1)


def reach(error: float) -> float:
    """Return the distance r beyond which the Gaussian's periodic images add less than ``error``.

    With L = R + r and r ≥ 2, the images beyond the nearest add less than the nearest times 1/100.
    """
    return max(math.sqrt(2 * math.log(2.02 / error)), 2.0)


def aliasing(extent: float, period: float) -> float:
    """Bound the periodic images of differences up to ``extent``."""
    first = period - extent
    # (jL − R)² ≥ (L − R)² + (j − 1)² L²: a geometric series bounds the rest.
    ratio = math.exp(-(period**2) / 2)
    return 2 * math.exp(-(first**2) / 2) / (1 - ratio)


def truncation(period: float, half: int) -> float:
    """Bound the modes beyond m."""
    return float(erfc(math.sqrt(2) * np.pi * half / period))
