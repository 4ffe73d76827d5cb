"""Signals on a graph: checked once, where they enter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gspnl._base.array import Array, as_floats, check_finite, like, namespace
from gspnl.errors import InputError


def on_signals(
    fn: Callable[[Array], Array], Z: Any, shape: tuple[int, ...], sample: Array
) -> Array:
    """Check signals against a graph, apply ``fn``, and give back the rank they came with.

    Parameters
    ----------
    fn : callable
        Maps (..., N, c) to (..., N, c).
    Z : array of shape (..., N, c), or (N,) on a single graph
    shape : tuple
        (..., N, N), of the graph.
    sample : array
        Of the library and dtype that the graph holds.
    """
    z = as_floats(Z, "Z")
    n, batch = shape[-1], shape[:-2]
    if namespace(z) is not namespace(sample):
        raise InputError(
            f"Z is a {type(Z).__name__} and the graph holds {type(sample).__name__}; "
            "convert one of them"
        )
    if z.ndim == 1 and not batch and z.shape[0] == n:
        return on_signals(fn, z[:, None], shape, sample)[:, 0]
    if z.ndim < 2 or z.shape[-2] != n:
        raise InputError(
            f"Z has shape {tuple(z.shape)}; signals on this graph have shape (..., {n}, c)"
        )
    if batch and z.ndim > 2 and tuple(z.shape[:-2]) != batch:
        raise InputError(
            f"Z has batch dimensions {tuple(z.shape[:-2])} and the graph {batch}; they must agree"
        )
    with np.errstate(over="ignore"):  # a cast to float32 may overflow: told next
        z = like(z, sample)
    check_finite(z, "Z")
    return fn(z)
