"""Degrees d = W 1 and log d, with the factor that keeps W within the range of its dtype."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, constant, float64, has_float64, like, namespace
from gspnl.affinity.affinity import Affinity
from gspnl.errors import DegreeError


def degrees_of(affinity: Affinity) -> Array:
    """Return d, (..., N); raises DegreeError where d leaves the range of its dtype."""
    factor = np.asarray(affinity.weights.log_factor)
    if not factor.any():
        return affinity.degrees
    with np.errstate(over="ignore", under="ignore"):
        half = np.exp(factor[..., None] / 2)
        wide = float64(affinity.degrees) if has_float64(affinity.degrees) else affinity.degrees
        scaled = like(wide * like(half, wide) * like(half, wide), affinity.degrees)
    live, degrees = constant(affinity.degrees) > 0, constant(scaled)
    if not (np.isfinite(degrees).all() and degrees[live].all()):
        raise DegreeError(
            f"degrees around exp({float(factor.flat[0]):.0f}) leave the range of "
            f"{degrees.dtype}; take log_degrees, or use float64"
        )
    return scaled


def log_degrees_of(affinity: Affinity) -> Array:
    """Return log d, (..., N); −inf for isolated nodes."""
    degrees = affinity.degrees
    xp = namespace(degrees)
    factor = np.asarray(affinity.weights.log_factor)
    live = degrees > 0
    logs = xp.log(xp.where(live, degrees, xp.ones_like(degrees)))
    logs = xp.where(live, logs, -xp.inf * xp.ones_like(logs))
    return logs + like(factor[..., None], degrees) if factor.any() else logs
