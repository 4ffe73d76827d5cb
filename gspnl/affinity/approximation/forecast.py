"""Forecast the rank and the time that a tolerance needs, from the decay of the bounds so far."""

from __future__ import annotations

import math

from gspnl._base.effort import Work, clock, seconds_allowed
from gspnl.affinity.approximation.residual import BLOCK
from gspnl.errors import EffortError

EARLY, LATE = 120.0, 60.0  # estimates above which a tolerance is refused, the second after:
SETTLED = 20.0  # seconds, when the forecast is better; the caller may have more patience
FIRST = 2.0  # seconds before the first forecast
MOST = 1e3  # bound from which a forecast starts where there is none yet


def operations(n: int, rank: float) -> float:
    """Count the operations of a factor of n nodes and of its certificate."""
    return n * rank * (2.0 * rank + 4 * BLOCK)


class Forecast:
    """Bounds and times of the ranks that were tried for one tolerance.

    log(bound) falls at least as fast as a straight line in log(rank), and as one in rank for smooth
    kernels of few dimensions; the forecast takes the steeper of the two, fitted to the last ranks.

    Parameters
    ----------
    tol : float
    n : int
        Nodes, the largest rank.
    shown : Work
        Clock of the search.
    """

    def __init__(self, tol: float, n: int, shown: Work) -> None:
        self.tol, self.n, self.shown = tol, n, shown
        self.tried: list[tuple[int, float, float, float]] = []  # rank, bound, trace, seconds

    def check(self, rank: int, bound: float, trace: float) -> None:
        """Record a rank that does not meet the tolerance; raises EffortError if it is hopeless."""
        now = self.shown.seconds
        self.tried.append((rank, bound, trace, now))
        if now < FIRST or len(self.tried) < 3:
            return
        allowed = seconds_allowed(LATE if now > SETTLED else EARLY)
        needed = self._rank()
        # The ranks up to it, and the bisection, take about three times as long as the last rank.
        last = max(now - self.tried[-2][-1], 1e-3)
        estimate = now + 3 * last * operations(self.n, needed) / operations(self.n, rank)
        self.shown.estimate = estimate
        if estimate <= allowed:
            return
        size = f"rank {needed:,.0f}" if needed < self.n else f"a rank near N = {self.n:,}"
        raise EffortError(
            f"tol={self.tol:g} needs {size} by the decay of the bound so far ({bound:.2g} at rank "
            f"{rank}), which would take about {clock(estimate)}: this graph is not of low rank; "
            "raise tol= or sigma=, pass rank=, use storage='tiled', or insist: with "
            f"gspnl.patience(hours={max(1.5 * estimate / 3600, 0.02):.2g})"
        )

    def _rank(self) -> float:
        """Extrapolate the rank at which the bound meets the tolerance."""
        rank, bound, trace, _ = self.tried[-1]
        old_rank, old_bound, old_trace, _ = self.tried[-3]
        # The trace falls with every column, the bound perhaps only once it is small.
        fall = math.log(old_trace / trace) if 0 < trace < old_trace else 1e-3
        if 0 < bound < old_bound < math.inf:
            fall = max(fall, math.log(old_bound / bound))
        left = math.log(min(bound, MOST) / self.tol)
        straight = rank + (rank - old_rank) * left / fall
        power = rank * math.exp(min(math.log(rank / old_rank) * left / fall, 50.0))
        return min(straight, power, float(self.n))
