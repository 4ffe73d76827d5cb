"""Check the scales l and r that a user's normalisation returns, and what it declares of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import Array, constant64, detached, eps, is_array, namespace
from gspnl.affinity.normalization import Normalization
from gspnl.affinity.weights import Weights
from gspnl.errors import InputError

HOME = "gspnl.affinity."


def check_scales(
    name: str, scheme: Normalization, weights: Weights, degrees: Array, left: Any, right: Any
) -> None:
    """Raise InputError for scales that contradict the scheme; those of the package are trusted."""
    if (getattr(scheme.scales, "__module__", None) or "").startswith(HOME):
        return
    named = f"normalization={name!r}"
    for label, scale in (("l", left), ("r", right)):
        if scale is None and label == "r":
            continue
        shape = tuple(getattr(scale, "shape", ()))
        if not is_array(scale) or shape != tuple(degrees.shape):
            raise InputError(
                f"{named} gave {label} as a {type(scale).__name__} of shape {shape}; scales have "
                f"the shape of the degrees, {tuple(degrees.shape)}"
            )
        if namespace(scale) is not namespace(degrees) or scale.dtype != degrees.dtype:
            raise InputError(
                f"{named} gave {label} in {scale.dtype} of {type(scale).__name__} for degrees in "
                f"{degrees.dtype} of {type(degrees).__name__}; keep library and dtype"
            )
        values = constant64(scale)
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            raise InputError(
                f"{named} gave {label} = {values[wrong].flat[0]:.6g}, and {int(wrong.sum())} of "
                f"{values.size} scales are not finite numbers ≥ 0; give nodes of degree 0 l = r = 0"
            )
    d, one = constant64(degrees), constant64(left)
    two = np.ones_like(d) if right is None else constant64(right)
    live = d > 0
    if ((one * two)[~live] != 0).any():
        raise InputError(f"{named} gave l r > 0 at a node of degree 0; give it l = r = 0 there")
    if scheme.averages:
        gap, claim = (one * d - 1), "averages=True, l = 1/d and r = 1"
        gap = np.where(live, np.maximum(np.abs(gap), np.abs(two - 1)), 0)
    elif scheme.row_stochastic:
        column = detached(left * 0 + 1 if right is None else right)[..., None]
        gap = np.where(live, one * constant64(weights.matmul(column))[..., 0] - 1, 0)
        claim = "row_stochastic=True, rows of A that sum to 1"
    elif scheme.symmetric_core:
        gap, claim = np.where(live, one * two * d - 1, 0), "row_stochastic=False, l r = 1/d"
    else:
        return
    worst = float(np.abs(gap).max(initial=0.0))
    if not worst <= 1e4 * eps(degrees) + 1e-9:
        raise InputError(
            f"{named} declares {claim}, and a node is off by {worst:.3g} of it; mend the scales, "
            "or declare what they are in its Normalization(...)"
        )
