"""Check the mask of known nodes: shape, dtype, and a path from every node to a known one."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import Array, as_floats, constant, like, namespace, values_of
from gspnl._base.blas import on_one_thread
from gspnl.affinity.kernels import Exponential
from gspnl.errors import InputError
from gspnl.graph.from_weights import Precomputed
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.neighbor_kernel import OnNeighbors

ENTRYWISE = ("dense", "tiled", "sparse")  # storages of single entries, not of factors


def known_nodes(graph: FeatureGraph, known: Any) -> np.ndarray:
    """Return the mask (N,) or (..., N) as NumPy booleans, or raise."""
    mask = values_of(known, "known")
    if mask.dtype != np.bool_:
        raise InputError(
            f"known has dtype {mask.dtype}; pass a boolean mask, True where the value is known"
        )
    if mask.shape not in ((graph.n_nodes,), graph.shape[:-1]):
        raise InputError(
            f"known has shape {mask.shape}; a mask of the nodes of this graph has shape "
            f"{graph.shape[:-1]}"
        )
    if not mask.any(-1).all():
        raise InputError("no node is known; mark at least one in known=")
    return mask


def only_known(graph: FeatureGraph, Z: Any, mask: np.ndarray) -> Array:
    """Return Z with zeros where it is not known, whatever its values there, NaN included."""
    z = as_floats(Z, "Z")
    n = graph.n_nodes
    flat = z.ndim == 1
    if z.ndim == 0 or z.shape[-1 if flat else -2] != n:
        return z  # the check of signals raises later
    xp = namespace(z)
    on = mask_column(mask, z)
    on = on[..., 0] if flat else on
    return xp.where(on, z, xp.zeros_like(z))


def mask_column(mask: np.ndarray, x: Array) -> Array:
    """Return a mask (..., N) as a column of booleans of the library and device of ``x``."""
    return like(mask[..., None].astype(np.float64), x) > 0


@on_one_thread
def check_reach(graph: FeatureGraph, mask: np.ndarray) -> None:
    """Raise if some node has no path to a known one: its value would be arbitrary.

    Each step adds the neighbours of the nodes that have been reached, by one product with W; a
    fully-connected graph takes one step. Where weights come from differences, an edge below the
    rounding of the degree does not count; exponentials and given weights have all their digits.
    """
    weights, degrees = graph.weights, graph.affinity.degrees
    batch = graph.shape[:-2]
    reached = np.broadcast_to(mask, (*batch, mask.shape[-1]))
    if reached.all():
        return
    floor = 4 * graph.affinity.eps * constant(degrees)
    exact = isinstance(graph.kernel, (Exponential, Precomputed, OnNeighbors))
    if exact and graph.storage in ENTRYWISE:
        tiny = np.finfo(floor.dtype)
        floor = floor * 0 + tiny.smallest_normal / tiny.eps
    while True:
        spread = constant(weights.matmul(like(reached[..., None].astype(float), degrees)))[..., 0]
        grown = reached | (spread > floor)
        if grown.all():
            return
        if (grown == reached).all():
            break
        reached = grown
    lost = np.argwhere(~reached)
    raise InputError(
        f"{len(lost)} of {reached.size} nodes, the first at index {tuple(lost[0].tolist())}, are "
        "joined to no known node, so any value fits them: mark one node known in each component, "
        "leave these nodes out, or widen the kernel (sigma=)"
    )
