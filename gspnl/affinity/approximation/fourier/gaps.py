"""Close the gaps between points along an axis, over which the Gaussian vanishes."""

from __future__ import annotations

import numpy as np

WIDE = 8  # widths beyond which an axis is searched for gaps


def close_gaps(x: np.ndarray, width: float) -> tuple[np.ndarray, bool, float]:
    r"""Shorten the gaps of x (N,) that are wider than three times ``width``.

    Differences up to ``width`` stay as they are, and the others stay above ``width``. So an outlier
    does not stretch the box of all points.

    Returns
    -------
    x : array of shape (N,)
    closed : bool
        Whether any gap was.
    size : float
        The largest \|x\|, as given, of points that are not alone between two gaps: their
        differences have its rounding error.
    """
    low, high = float(x.min()), float(x.max())
    size = max(abs(low), abs(high))
    if not high - low > WIDE * width:
        return x, False, size
    bins = np.floor((x - low) / width)
    occupied, at, counts = np.unique(bins, return_inverse=True, return_counts=True)
    steps = np.diff(occupied, prepend=occupied[0])
    # Points in bins b and b + s are at least (s − 1) widths apart; closed gaps keep one.
    excess = np.where(steps >= 3, steps - 2, 0.0)
    if not excess.any():
        return x, False, size
    run = np.cumsum(excess > 0)
    crowded = (np.bincount(run, counts) > 1)[run][at]
    size = float(np.abs(x[crowded]).max(initial=0.0))
    return x - (np.cumsum(excess) * width)[at], True, size
