"""Sums of Gaussians over points, each entry to a given error."""

from __future__ import annotations

import math

import numpy as np

from gspnl.affinity.approximation.fourier.box import box_for, reach
from gspnl.affinity.approximation.fourier.expansion import Expansion, rotated
from gspnl.affinity.approximation.fourier.functions import TRANSFORMED, expand
from gspnl.affinity.approximation.fourier.gaps import close_gaps
from gspnl.affinity.approximation.fourier.transform import COARSEST, FINEST, Transform

UNIT = 2.0**-53
ROUNDING = 64 * UNIT  # error of an entry by the sums and the FFT: 15 units were measured
TRANSFORM = 3.0  # error of an entry in units of finufft's tolerance: 1.75 was measured
EXPANDED = 0.3  # share of the error that the functions of the last axes take
SLACK = 4.0  # times the error asked for, up to which a sum at rounding may still serve
LARGEST = 0.05  # error of an entry of the coarsest transforms


def gaussian_sums(points: np.ndarray, error: float) -> tuple[Transform | Expansion, float] | None:
    """Return sums with each entry within about ``error``, and its bound; None below rounding."""
    if points.shape[1] > TRANSFORMED:
        return expanded(points, error)
    return transformed(points, error)


def transformed(values: np.ndarray, error: float) -> tuple[Transform, float] | None:
    """Return a transform of points (N, d), d ≤ 3, and the bound of each entry's error.

    Where rounding alone is above ``error`` it is the finest one, as errors asked for are on the
    safe side, and None where rounding is above SLACK times ``error``.
    """
    if not SLACK * error > ROUNDING:  # NaN where degrees underflow
        return None
    width = reach(error / 16)
    points, rounding, closed = np.empty_like(values), ROUNDING, 0.0
    extents = []
    for axis, column in enumerate(values.T):
        moved, any_closed, size = close_gaps(column, width)
        low, high = float(moved.min()), float(moved.max())
        points[:, axis] = moved - (low + high) / 2
        extents.append(high - low)
        rounding += 2 * UNIT * size + 4 * UNIT * (high - low + width)
        closed += any_closed * 2 * math.exp(-(width**2) / 2)
    if rounding + closed > SLACK * error:
        return None
    left = max(error - rounding - closed, ROUNDING)
    tolerance = min(max(0.85 * left / TRANSFORM, FINEST), COARSEST)
    box = box_for(np.array(extents), min(left / 8, 0.1))
    total = box.error + TRANSFORM * tolerance * (1 + box.error) + rounding + closed
    return Transform(points, box, tolerance), total


def expanded(values: np.ndarray, error: float) -> tuple[Expansion, float] | None:
    """Return sums for points (N, d), d > 3, and the bound of each entry's error."""
    points, size = rotated(values)
    rounding = 32 * UNIT * (1 + size)
    if not error > 4 * rounding:
        return None
    groups, total = expand(points[:, TRANSFORMED:], EXPANDED * error)
    total += rounding
    each = (error - total) / len(groups)
    transforms = []
    for group in groups:
        found = transformed(points[:, :TRANSFORMED], min(each / group.size, LARGEST))
        if found is None:
            return None
        transforms.append(found[0])
        total += group.size * found[1]
    return Expansion(groups, transforms, values), total
