"""Degrees d = W 1, and errors where 1/d is undefined."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, constant, eps, namespace
from gspnl.affinity.kernels import FEATURE_MAPS, Dot, Kernel
from gspnl.affinity.weights import Weights
from gspnl.errors import DegreeError


def checked_degrees(weights: Weights, kernel: Kernel) -> Array:
    """Compute d = W 1, (..., N), without the factor exp(log_factor); raises DegreeError."""
    with np.errstate(over="ignore", invalid="ignore"):  # reported below, with a remedy
        degrees = weights.degrees()
    xp = namespace(degrees)
    if kernel.nonnegative and not weights.signed:
        # Rounding can make a degree of 0 slightly negative.
        noise = 64 * eps(degrees) * float(np.abs(constant(degrees)).max())
        degrees = xp.where((degrees < 0) & (degrees > -noise), xp.zeros_like(degrees), degrees)
    _check(degrees, kernel, weights.signed)
    return degrees


def _check(degrees: Array, kernel: Kernel, approximate: bool) -> None:
    """Raise where 1/d is undefined."""
    d = constant(degrees)
    name = f"kernel={type(kernel).__name__.lower()!r}"
    finite = np.isfinite(d)
    if not finite.all():
        raise DegreeError(
            f"{name} overflowed {d.dtype}: {int((~finite).sum())} of {d.size} degrees are not "
            "finite; scale the features down, raise temperature= or sigma=, or use float64"
        )
    remedy = (
        f"pass feature_map= one of {feature_maps()}"
        if isinstance(kernel, Dot)
        else "the approximation is too coarse: raise rank=, or lower tol="
        if approximate
        else "make f ≥ 0, or shift it"
        if not kernel.nonnegative
        else "keep self-loops"
    )
    positive = approximate or not kernel.nonnegative
    bad = int((d <= 0).sum()) if positive else int((d < 0).sum())
    if bad:
        raise DegreeError(
            f"{name} gave {bad} of {d.size} degrees ≤ 0, so the random-walk Laplacian is "
            f"undefined; {remedy}"
        )
    if kernel.positive and not d.all():
        raise DegreeError(
            f"{name}: {int((d == 0).sum())} of {d.size} degrees underflow {d.dtype}, though every "
            "weight is positive; scale or centre the features, or use float64"
        )
    smallest = float(namespace(degrees).finfo(degrees.dtype).smallest_normal)
    if ((d > 0) & (d < smallest)).any():
        raise DegreeError(
            f"{name} gave degrees below {smallest:.1e}, where {d.dtype} loses its digits; scale "
            "the features up, or use float64"
        )


def feature_maps() -> str:
    """List the maps that make dot products non-negative."""
    return ", ".join(repr(name) for name in FEATURE_MAPS if name != "identity")
