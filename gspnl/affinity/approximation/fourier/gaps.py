"""Close the gaps between points along an axis, over which the Gaussian vanishes."""

from __future__ import annotations

import numpy as np

WIDE = 3  # widths beyond which an axis is searched for gaps
PARTS = 4  # bins in a width


def close_gaps(x: np.ndarray, width: float) -> tuple[np.ndarray, bool, float]:
    r"""Shorten the gaps of x (N,) that are wider than about one and a half times ``width``.

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
    step = width / PARTS
    bins = np.floor((x - low) / step)
    if (high - low) / step <= 4 * len(x) + 10_000:
        at = bins.astype(np.int64)
        counts = np.bincount(at)
        occupied = np.flatnonzero(counts)
        at, counts = (np.cumsum(counts > 0) - 1)[at], counts[occupied]
    else:
        occupied, at, counts = np.unique(bins, return_inverse=True, return_counts=True)
    # Points in bins b and b + s are more than s − 1 steps apart; closed gaps keep a width.
    excess = np.maximum(np.diff(occupied, prepend=occupied[0]) - 1 - PARTS, 0)
    if not excess.any():
        return x, False, size
    run = np.cumsum(excess > 0)
    crowded = (np.bincount(run, counts) > 1)[run][at]
    size = float(np.abs(x[crowded]).max(initial=0.0))
    return x - (np.cumsum(excess) * step)[at], True, size
