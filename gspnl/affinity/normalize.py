"""Normalise the weights of a graph: degrees, scales, and self-loops for L = D − W."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, constant64, like, namespace
from gspnl._base.blas import on_one_thread
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.degrees import checked_degrees
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.scales import check_scales
from gspnl.affinity.weights import AddedLoops, Weights
from gspnl.errors import DegreeError, InputError


@on_one_thread
def normalize(weights: Weights, kernel: Kernel, normalization: str) -> Affinity:
    """Compute degrees and scales of one graph or a batch; raises DegreeError."""
    scheme = NORMALIZATIONS[normalization]
    degrees = checked_degrees(weights, kernel)
    xp = namespace(degrees)
    nonnegative = kernel.nonnegative and not weights.signed
    isolated = degrees == 0
    unit, padded = None, degrees
    if scheme.regular:
        if not nonnegative:
            raise InputError(
                f"normalization={normalization!r} needs non-negative weights, and these may be "
                "negative; use normalization='symmetric'"
            )
        largest, unit = _largest(degrees, weights)
        weights = AddedLoops(weights, largest - degrees)
        padded = xp.where(isolated, 0 * degrees, largest)  # carries a gradient, which is 0
    left, right = scheme.scales(weights, padded)
    check_scales(normalization, scheme, weights, padded, left, right)
    return Affinity(
        weights,
        degrees,
        left,
        right,
        isolated if bool(xp.any(isolated)) else None,
        symmetric_core=scheme.symmetric_core,
        nonnegative=nonnegative,
        row_stochastic=scheme.row_stochastic,
        unit=unit,
    )


def _largest(degrees: Array, weights: Weights) -> tuple[Array, np.ndarray]:
    """Return the largest degree of each graph, (..., 1), and with the factor of W, (...)."""
    peak = constant64(degrees).max(axis=-1)
    peak = np.where(peak > 0, peak, 1.0)
    with np.errstate(over="ignore", under="ignore"):
        factor = np.exp(np.asarray(weights.log_factor, dtype=np.float64))
        unit = peak * factor
    limits = namespace(degrees).finfo(degrees.dtype)
    sizes = np.append(factor, unit)
    if not ((sizes >= float(limits.smallest_normal)) & (sizes <= float(limits.max))).all():
        raise DegreeError(
            f"degrees leave the range of {degrees.dtype}, and D − W depends on their scale; scale "
            "the features, use float64, or normalization='symmetric'"
        )
    return like(peak[..., None], degrees), unit
