"""Best uniform polynomial approximation: the Remez exchange on a fine grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev as npcheb

from gspnl._base.blas import on_one_thread
from gspnl.chebyshev.series import EPS

ROUNDS = 60


@on_one_thread
def remez(g: Callable[[np.ndarray], np.ndarray], order: int, start: np.ndarray) -> np.ndarray:
    """Compute the coefficients of the minimax polynomial of g on [−1, 1].

    Parameters
    ----------
    g : callable
        Continuous, elementwise.
    order : int
        K ≥ 0.
    start : array of shape (K + 1,)
        Initial polynomial; returned if it is exact to rounding.

    References
    ----------
    Trefethen, Approximation Theory and Approximation Practice, chapter 10.
    """
    grid = np.cos(np.linspace(np.pi, 0, max(2000, 40 * (order + 2))))
    values = g(grid)
    scale = max(float(np.abs(values).max()), np.finfo(float).tiny)
    best, theta = start, start
    best_error = float(np.abs(values - npcheb.chebval(grid, start)).max())
    points = np.cos(np.linspace(np.pi, 0, order + 2))
    for _ in range(ROUNDS):
        if best_error <= 64 * EPS * scale * (order + 1):
            return best  # an error of the size of rounding cannot equioscillate
        basis = npcheb.chebvander(points, order)
        signs = (-1.0) ** np.arange(order + 2)
        solution = np.linalg.solve(np.column_stack([basis, signs]), g(points))
        theta, level = solution[:-1], abs(float(solution[-1]))
        residual = values - npcheb.chebval(grid, theta)
        error = float(np.abs(residual).max())
        if error < best_error:
            best, best_error = theta, error
        if error <= level * (1 + 1e-3):
            return theta
        exchanged = _extrema(grid, residual, order + 2)
        if exchanged is None:
            return best
        points = exchanged
    return best


def _extrema(grid: np.ndarray, residual: np.ndarray, count: int) -> np.ndarray | None:
    """Find ``count`` alternating extrema of the residual, the largest included; None if too few."""
    runs = np.split(np.arange(len(grid)), np.nonzero(np.diff(np.signbit(residual)))[0] + 1)
    peaks = [run[np.argmax(np.abs(residual[run]))] for run in runs]
    while len(peaks) > count:  # drop the weaker end, or the weakest neighbouring pair
        if len(peaks) == count + 1:
            ends = np.abs(residual[[peaks[0], peaks[-1]]])
            peaks.pop(0 if ends[0] < ends[1] else -1)
            continue
        heights = np.abs(residual[peaks])
        weakest = int(np.argmin(np.maximum(heights[:-1], heights[1:])))
        del peaks[weakest : weakest + 2]
    return grid[peaks] if len(peaks) == count else None
