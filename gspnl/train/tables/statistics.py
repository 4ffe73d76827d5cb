"""What a few seeds allow to be said: spreads, paired differences, and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gspnl.errors import InputError

LEVEL = 0.95
SAME = 1e-9  # of the largest: differences of equal counts of images agree but for rounding


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences.

    Parameters
    ----------
    mean : float
    low, high : float or None
        Ends of the confidence interval; None for one pair, or for pairs that are all equal: they
        tell no spread, so that there is no interval.
    pairs : tuple of float
        One a seed.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: tuple[float, ...]

    @property
    def reading(self) -> str:
        """What may be said: "above", "below", "inside the noise", "no spread", or "one seed"."""
        if self.low is None or self.high is None:
            return "one seed" if len(self.pairs) == 1 else "no spread"
        if self.low <= 0 <= self.high:
            return "inside the noise"
        return "above" if self.mean > 0 else "below"


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the latter with one value.

    Examples
    --------
    >>> spread([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    if not values:
        raise InputError("there are no values to take a mean of; give one or more")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), sd


def difference(pairs: Sequence[float], level: float = LEVEL) -> Difference:
    r"""Mean of differences, with a confidence interval.

    .. math:: \bar d \pm t_{(1 + \mathrm{level})/2,\, n - 1} \; s_d / \sqrt n

    Accuracies are whole numbers of test images, so a few differences may agree exactly. Then
    :math:`s_d = 0` says nothing of the noise, and no interval is given.

    Parameters
    ----------
    pairs : sequence of float
        Differences of one quantity between two networks, one for each seed they share.
    level : float
        Of confidence, in (0, 1).

    Returns
    -------
    Difference

    Raises
    ------
    InputError
        For no pairs, numbers that are not finite, or a level outside of (0, 1).

    References
    ----------
    Student, *The probable error of a mean*, Biometrika 6, 1908.

    Examples
    --------
    >>> found = difference([0.1, 0.5, 0.3])
    >>> print(f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] {found.reading}")
    0.30 [-0.20, 0.80] inside the noise
    """
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise InputError(f"level={level!r} must lie between 0 and 1, such as 0.95")
    if not all(map(math.isfinite, pairs)):
        raise InputError(f"differences {list(pairs)} must be finite; leave diverged runs out")
    mean, sd = spread(pairs)
    if sd is None or np.ptp(pairs) <= SAME * np.max(np.abs(pairs)):
        return Difference(mean, None, None, tuple(pairs))
    half = float(stdtrit(len(pairs) - 1, (1 + level) / 2)) * sd / math.sqrt(len(pairs))
    return Difference(mean, mean - half, mean + half, tuple(pairs))


def paired(ours: Mapping[int, float], base: Mapping[int, float]) -> dict[int, float]:
    """Differences by seed, of the seeds that both have."""
    return {seed: ours[seed] - base[seed] for seed in sorted(set(ours) & set(base))}
