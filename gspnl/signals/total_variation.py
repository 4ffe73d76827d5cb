r"""Compute the total variation of a signal, by sorting at low rank, else by blocks of rows."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from gspnl._base import rows as row_blocks
from gspnl._base.array import Array, float64, is_numpy, like, namespace
from gspnl._base.rows import map_rows
from gspnl.affinity.affinity import scale_rows
from gspnl.affinity.weights import LowRank, NoSelfLoops, Weights
from gspnl.graph.graph import FeatureGraph
from gspnl.signals.checks import per_column, symmetric
from gspnl.signals.edges import Edges


def total_variation(graph: FeatureGraph, Z: Array) -> Array:
    r"""Total variation of each column, :math:`½ \sum_{ij} K_{ij} |f_i - f_j|`.

    K = W and f = z for random_walk and combinatorial; K = W and f = z/√d for symmetric; K = A and
    f = z for bistochastic: the edges of :func:`dirichlet_energy`, each counted once.

    For a W of rank r it is exact in O(N (r² + log N)) time for each column and O(N r) memory, by
    the co-area formula: with the nodes sorted by f,

    .. math::

        TV = \sum_k (f_{(k+1)} - f_{(k)})\; cut_k, \quad
        cut_k = \Bigl(\sum_{i \le k} b_i\Bigr)^T J \Bigl(\sum_{j > k} b_j\Bigr),

    for W = B J Bᵀ. Other storages are read by blocks of rows: O(N²) time, O(N · block) memory.

    Parameters
    ----------
    graph : FeatureGraph
    Z : array of shape (..., N, c), or (N,)

    Returns
    -------
    array of shape (..., c), or a number for a signal (N,)

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For signals that do not fit the graph.

    References
    ----------
    Chambolle, A. et al. (2010). An introduction to total variation for image analysis (the co-area
    formula).

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).random((100_000, 3))  # 5·10⁹ edges
    >>> graph = gspnl.feature_graph(X, kernel="dot")
    >>> inside = np.zeros(100_000)
    >>> inside[:3] = 1.0  # the variation of an indicator is the weight of its cut
    >>> cut = graph.degrees[:3].sum() - (X[:3] @ X[:3].T).sum()
    >>> bool(np.isclose(gspnl.total_variation(graph, inside), cut))
    True
    """
    edges = Edges(symmetric(graph, "total_variation"))
    batch = graph.shape[:-2]

    def variation(z: Array) -> Array:
        xp = namespace(z)
        f = edges.potential(z)
        lead = tuple(f.shape[:-2]) or batch
        f = xp.broadcast_to(f, (*lead, *f.shape[-2:]))
        weights, scale = edges.weights, edges.scale
        sums = []
        for key in np.ndindex(*lead):  # one graph, and one order of its nodes, at a time
            one = weights.item(key) if batch else weights
            u = scale[(*key, ...)] if batch and scale is not None else scale
            sums.append(_variation(one, u, f[(*key, ...)]))
        total = xp.reshape(xp.stack(sums), (*lead, 1, f.shape[-1]))
        return like(total if edges.factor is None else total * like(edges.factor, total), z)

    return per_column(graph, variation, Z)


@singledispatch
def _variation(weights: Weights, scale: Array | None, f: Array) -> Array:
    """Sum over K by blocks of rows: f (N, c) → (c,)."""
    xp = namespace(f)
    n = f.shape[0]
    nodes = xp.arange(n)[:, None]

    def block(index: Array, here: Array) -> Array:
        part = weights.rows(index[:, 0])
        if scale is not None:
            part = xp.take(scale, index[:, 0])[:, None] * part * scale
        columns = [
            xp.sum(part * xp.abs(here[:, j, None] - f[:, j]), axis=-1) for j in range(f.shape[1])
        ]
        return xp.stack(columns, axis=-1)

    if is_numpy(f):
        rows = map_rows(block, nodes, f, columns=n)
    else:  # map_rows would compute all N² entries at once
        step = max(16, row_blocks.BLOCK_BYTES // (8 * n))
        cuts = [slice(i, min(i + step, n)) for i in range(0, n, step)]
        rows = xp.concat([block(nodes[cut, :], f[cut, :]) for cut in cuts])
    return xp.sum(float64(rows), axis=0) / 2


@_variation.register
def _(weights: NoSelfLoops, scale: Array | None, f: Array) -> Array:
    return _variation(weights.full, scale, f)  # self-loops have no difference f_i − f_i


@_variation.register
def _(weights: LowRank, scale: Array | None, f: Array) -> Array:
    xp = namespace(f)
    factor = float64(scale_rows(scale, weights.factor))
    core = float64(weights.core)
    sums = []
    for j in range(f.shape[1]):
        order = xp.argsort(f[:, j])
        sorted_f = float64(xp.take(f[:, j], order))
        b = xp.take(factor, order, axis=0)
        before = xp.cumulative_sum(b, axis=0)[:-1, :]
        after = xp.flip(xp.cumulative_sum(xp.flip(b, axis=0), axis=0), axis=0)[1:, :]
        cuts = xp.sum((before @ core) * after, axis=-1)
        sums.append(xp.sum((sorted_f[1:] - sorted_f[:-1]) * cuts))
    return xp.stack(sums)
