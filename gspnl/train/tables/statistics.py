"""Compute spreads and paired differences over a few seeds, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gspnl._base.validate import number
from gspnl.errors import InputError

SAME = 1e-9  # of the largest: differences of equal counts of images agree but for rounding


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences, one for each seed, with the ends of its confidence interval.

    The ends are None for one pair, and for pairs that are all equal: they have no spread.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: tuple[float, ...]

    @property
    def reading(self) -> str:
        """The conclusion: "above", "below", "inside the noise", "no spread", or "one seed"."""
        if self.low is None or self.high is None:
            return "one seed" if len(self.pairs) == 1 else "no spread"
        if self.low <= 0 <= self.high:
            return "inside the noise"
        return "above" if self.mean > 0 else "below"


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the latter with one value."""
    if not values:
        raise InputError("there are no values to take a mean of; give one or more")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), sd


def difference(pairs: Sequence[float], level: float = 0.95) -> Difference:
    r"""Mean of paired differences, with the confidence interval of Student's t-test.

    .. math:: \bar d \pm t_{(1 + \mathrm{level})/2,\, n - 1} \; s_d / \sqrt n

    Accuracies are whole numbers of test images, so a few differences may agree exactly. Then
    :math:`s_d = 0` says nothing about the noise, and no interval is given.

    Parameters
    ----------
    pairs : sequence of float
        Differences of one quantity between two networks, one for each seed they share; finite.
    level : float
        Of confidence, in (0, 1).

    Examples
    --------
    >>> found = difference([0.1, 0.5, 0.3])
    >>> print(f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] {found.reading}")
    0.30 [-0.20, 0.80] inside the noise
    """
    from scipy.stats import ttest_1samp

    number("level", level, above=0, below=1)
    if not np.isfinite(pairs).all():
        raise InputError(f"differences {list(pairs)} must be finite; leave diverged runs out")
    mean, sd = spread(pairs)
    if sd is None or np.ptp(pairs) <= SAME * np.max(np.abs(pairs)):
        return Difference(mean, None, None, tuple(pairs))
    interval = ttest_1samp(pairs, 0.0).confidence_interval(level)
    return Difference(mean, float(interval.low), float(interval.high), tuple(pairs))


def paired(ours: Mapping[int, float], base: Mapping[int, float]) -> dict[int, float]:
    """Differences by seed, of the seeds that both have."""
    return {seed: ours[seed] - base[seed] for seed in sorted(set(ours) & set(base))}
