"""Search the least rank whose certified bound meets a tolerance, led by estimates of the bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gspnl.affinity.approximation.forecast import Forecast
from gspnl.errors import ToleranceError

FIRST_RANK = 16  # first rank tried for a tolerance
GROWTH = 1.4  # ratio of one rank tried to the one before, at most
STEP = 4e10  # operations of one growth, at most: a few seconds
CLOSE = 16  # the rank found is at most about 1/16 above the least
TRUSTED = 10.0  # ratio of bound and estimate, or its inverse, above which ranks are bisected
MARGIN = 0.98  # share of the tolerance that is aimed at
TRIES = 6  # certificates after which one that meets the tolerance is taken as it is

T = TypeVar("T")


class Factor(Protocol):
    """Factor that grows column by column."""

    rank: int

    def grow(self, rank: int) -> bool: ...

    @property
    def share_left(self) -> float: ...


class Search(Generic[T]):
    """Ranks tried for one tolerance.

    The factor grows until the estimated bound meets the tolerance, the estimates are bisected, and
    the rank found is certified. The ratio of the certified bound to its estimate corrects the
    others, so that one or two certificates are enough.

    Parameters
    ----------
    grown : Factor
    estimate : callable
        Maps a rank to the estimate of its bound.
    certify : callable
        Maps a rank to the approximation and its certified bound.
    tol : float
    n : int
        Nodes, the largest rank.
    forecast : Forecast
    """

    def __init__(
        self,
        grown: Factor,
        estimate: Callable[[int], float],
        certify: Callable[[int], tuple[T, float]],
        tol: float,
        n: int,
        forecast: Forecast,
    ) -> None:
        self.grown, self.estimate, self.certify = grown, estimate, certify
        self.tol, self.n, self.forecast = tol, n, forecast
        self.ended = False  # no more columns
        self.failures = 0  # certificates above the tolerance
        self.known: dict[int, float] = {}  # estimates by rank

    def run(self) -> T:
        """Return the approximation of the least rank, to a few percent."""
        failed, passed, best, ratio = 0, 0, math.inf, 1.0
        found: T | None = None
        for tries in range(1, self.n + 2):
            if passed and not 1 / TRUSTED < ratio < TRUSTED:
                rank = (failed + passed) // 2
            else:
                rank = self._least(failed, passed, MARGIN * self.tol / ratio)
                rank = min(rank, _less(passed)) if passed else rank
            self.forecast.before(rank)
            trial, bound = self.certify(rank)
            estimate = self._estimate(rank)
            if bound < math.inf and 0 < estimate < math.inf:
                ratio = bound / estimate
            elif not bound <= self.tol:
                ratio *= 2
            if bound <= self.tol:
                passed, found = rank, trial
            else:
                failed, best = rank, min(best, bound)
                self.failures += 1
                if self.ended and rank >= self.grown.rank:
                    break
            if found is not None and (tries >= TRIES or self._is_close(failed, passed, ratio)):
                return found
        raise ToleranceError(
            f"tol={self.tol:g} is not reached below rank N = {self.n} (best bound {best:.2g}, at "
            f"rank {rank}): this graph is not of low rank, or rounding is in the way; raise tol= "
            "or sigma=, use float64, or storage='tiled'"
        )

    def _is_close(self, failed: int, passed: int, ratio: float) -> bool:
        """Tell whether the least rank is at most a few percent below one that passed."""
        less = _less(passed)
        trusted = 1 / TRUSTED < ratio < TRUSTED
        return less <= failed or (trusted and ratio * self._estimate(less) > self.tol)

    def _least(self, failed: int, passed: int, goal: float) -> int:
        """Find the least rank between two whose estimate is at most ``goal``; grow if needed."""
        # Where estimates mislead, each failure doubles the step.
        step = max(1, failed * 2 ** min(self.failures, 5) // (4 * CLOSE))
        least = failed + step if failed else 0
        high = passed or self._reach(least, goal)
        low = max([0, *(r for r, e in self.known.items() if r < high and e > goal)])
        low = min(max(low, least), high)
        by_half = False
        while high - low > max(1, low // 64):
            middle = (low + high) // 2 if by_half else self._between(low, high, goal)
            by_half = not by_half
            if self._estimate(middle) <= goal:
                high = middle
            else:
                low = middle
        return high

    def _between(self, low: int, high: int, goal: float) -> int:
        """Interpolate log(bound) between two ranks."""
        before, after = self.known.get(low, math.inf), self.known.get(high, 0.0)
        if not (goal < before < math.inf and 0 < after < before):
            return (low + high) // 2
        share = math.log(before / goal) / math.log(before / after)
        return min(max(low + math.ceil(share * (high - low)), low + 1), high - 1)

    def _reach(self, least: int, goal: float) -> int:
        """Grow the factor until the estimate of its rank is at most ``goal``."""
        grown = self.grown
        while not self.ended:
            if grown.rank >= max(least, 1):
                estimate = self._estimate(grown.rank)
                if estimate <= goal:
                    break
                self.forecast.check(grown.rank, estimate, grown.share_left, goal)
            self.ended = not grown.grow(self._next(least, goal)) or grown.rank >= self.n - 1
        return grown.rank

    def _next(self, least: int, goal: float) -> int:
        rank = self.grown.rank
        if not rank:
            return min(FIRST_RANK, self.n - 1)
        wide = min(GROWTH * rank, math.sqrt(rank**2 + STEP / self.n))
        expected = 1.02 * self.forecast.rank(goal)
        wide = max(min(wide, expected), rank + 1 + rank // 16, least)
        return min(int(wide), self.n - 1)

    def _estimate(self, rank: int) -> float:
        if rank not in self.known:
            self.known[rank] = self.estimate(rank)
        return self.known[rank]


def _less(rank: int) -> int:
    """Return a rank that is a few percent lower."""
    return rank - max(1, rank // CLOSE)
