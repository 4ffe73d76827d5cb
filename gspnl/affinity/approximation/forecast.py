"""Forecast the rank and the time that a tolerance needs, from the decay of the bounds so far."""

from __future__ import annotations

import math

from gspnl._base.effort import QUICK, Work, clock, rate, seconds_allowed
from gspnl.affinity.approximation.residual import BLOCK
from gspnl.errors import EffortError

# Estimates above which a tolerance is refused: the second between two times, when the forecast is
# good and little is lost yet; the caller may have more patience.
EARLY, LATE = 120.0, 60.0
SETTLED, DECIDED = 10.0, 20.0
FIRST = 2.0  # seconds before the first forecast
MOST = 1e3  # bound from which a forecast starts where there is none yet


def growth_operations(n: int, rank: float) -> float:
    """Count the operations of a factor of n points."""
    return n * rank * (2.0 * rank + 256)


def certificate_operations(n: int, rank: float) -> float:
    """Count the operations of the certificate of a rank."""
    return n * rank * (8.0 * rank + 4 * BLOCK)


def operations(n: int, rank: float) -> float:
    """Count the operations of a factor of n nodes and of its certificate."""
    return growth_operations(n, rank) + certificate_operations(n, rank)


class Forecast:
    """Estimated bounds of the ranks that were tried for one tolerance, and the time they took.

    log(bound) falls at least as fast as a straight line in log(rank), and as one in rank for smooth
    kernels of few dimensions; the forecast takes the steeper of the two, fitted to the last ranks.

    Parameters
    ----------
    tol : float
    n : int
        Points of the kernel: the nodes, or twice as many where Φ ≠ Ψ.
    shown : Work
        Clock of the search.
    seconds : float, optional
        Estimate above which the tolerance is refused.
    """

    def __init__(self, tol: float, n: int, shown: Work, seconds: float | None = None) -> None:
        self.tol, self.n, self.shown, self.seconds = tol, n, shown, seconds
        self.start = shown.seconds
        self.certified = 0.0  # operations of the certificates so far
        self.tried: list[tuple[int, float, float]] = []  # rank, bound, trace

    def check(self, rank: int, bound: float, trace: float, goal: float) -> None:
        """Record a rank that does not meet the goal; raises EffortError if it is hopeless."""
        self.shown.done = rank
        self.tried.append((rank, bound, trace))
        if self.shown.seconds < FIRST or len(self.tried) < 3:
            return
        self._refuse_long(rank, self.rank(goal))

    def before(self, rank: int) -> None:
        """Check the time of a certificate before it starts; raises EffortError."""
        operations = certificate_operations(self.n, rank)
        if operations > QUICK:
            self._refuse_long(rank, rank)
        self.certified += operations

    def _refuse_long(self, rank: int, needed: float) -> None:
        now = self.shown.seconds
        done = growth_operations(self.n, rank) + self.certified
        speed = max(now - self.start, 1e-3) / done if now - self.start > FIRST else 1 / rate()
        left = growth_operations(self.n, 1.05 * needed) - growth_operations(self.n, rank)
        left = max(left, 0.0) + certificate_operations(self.n, needed)
        self.shown.estimate = estimate = now + speed * left
        if estimate <= self._allowed(now):
            return
        size = f"rank {needed:,.0f}" if needed < self.n else f"a rank near N = {self.n:,}"
        tried, bound, _ = self.tried[-1] if self.tried else (0, math.inf, 1.0)
        raise EffortError(
            f"tol={self.tol:g} needs {size} by the decay of the bound, about {bound:.2g} at "
            f"rank {tried}, which would take about {clock(estimate)}: this graph is not of low "
            "rank; raise tol= or sigma=, pass rank=, use storage='tiled', or insist: with "
            f"gspnl.patience(hours={max(1.5 * estimate / 3600, 0.02):.2g})"
        )

    def _allowed(self, now: float) -> float:
        if self.seconds is not None:
            return self.seconds
        return seconds_allowed(LATE if SETTLED < now < DECIDED else EARLY)

    def rank(self, goal: float) -> float:
        """Extrapolate the rank at which the bound meets the goal; inf before there is a trend."""
        if len(self.tried) < 3:
            return math.inf
        rank, bound, trace = self.tried[-1]
        old_rank, old_bound, old_trace = self.tried[-3]
        # The trace falls with every column, the bound perhaps only once it is small.
        fall = math.log(old_trace / trace) if 0 < trace < old_trace else 1e-3
        if 0 < bound < old_bound < math.inf:
            fall = max(fall, math.log(old_bound / bound))
        left = math.log(min(bound, MOST) / goal)
        straight = rank + (rank - old_rank) * left / fall
        power = rank * math.exp(min(math.log(rank / old_rank) * left / fall, 50.0))
        return min(straight, power, float(self.n))
