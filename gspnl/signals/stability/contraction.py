"""Dobrushin's coefficient: what depth leaves of the spread of a signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from gspnl._base.array import constant64
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, takes_progress, work
from gspnl._base.memory import within_memory
from gspnl._base.validate import whole_number
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.products import transposed
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph, single_graph

TILE = 256  # rows compared with as many at once
PAIR = 12  # operations of one |a − b|, in units of matrix products


@within_memory
@takes_progress
@on_one_thread
def dobrushin(graph: FeatureGraph, power: int = 1, *, progress: Progress = None) -> float:
    r"""Compute Dobrushin's ergodic coefficient of A^p.

    .. math:: δ(A^p) = \max_{i,j} ½ \sum_k |(A^p)_{ik} - (A^p)_{jk}|

    It bounds what A^p leaves of the spread of any signal, max A^p z − min A^p z ≤ δ (max z − min
    z), and is the least such bound. It needs no stationary norm, so it holds for causal masks and
    other graphs with transient nodes, and δ(A^{p+q}) ≤ δ(A^p) δ(A^q).

    Parameters
    ----------
    graph : FeatureGraph
        One graph whose rows sum to 1.
    power : int
        p ≥ 0.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    float
        In [0, 1] for non-negative weights: 0 where all rows of A^p are equal, 1 where two rows
        have no node in common.

    Raises
    ------
    InputError
        For normalization="symmetric" or "combinatorial", whose rows do not sum to 1, or a batch.
    EffortError
        Where the N³ differences would take more than an hour, see :func:`gspnl.patience`.

    Notes
    -----
    Exact. Memory is O(N): pairs of rows are compared tile by tile, and each tile of rows of A^p is
    computed from A.

    References
    ----------
    .. [1] R. L. Dobrushin, Central limit theorem for nonstationary Markov chains I, 1956.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> graph = gspnl.graph_from_weights(np.array([[3.0, 1.0], [1.0, 1.0]]), "softmax")
    >>> gspnl.stability.dobrushin(graph)
    0.25
    >>> gspnl.stability.dobrushin(graph, power=2)
    0.0625
    """
    power = whole_number("power", power)
    affinity = single_graph(graph, "gspnl.stability.dobrushin").affinity
    if affinity.unit is not None or not affinity.row_stochastic:
        raise InputError(
            f"Dobrushin's coefficient is that of rows that sum to 1, and normalization="
            f"{graph.normalization!r} has none; use normalization='random_walk' or 'softmax'"
        )
    n = affinity.n_nodes
    if power == 0:
        return 1.0  # two rows of the identity
    what = f"Dobrushin's coefficient of {n:,} nodes"
    instead = "graph.directed_spectrum().sigma bounds the contraction where π > 0"
    tiles = -(-n // TILE)
    with work(what, PAIR * float(n) ** 3, tiles * (tiles + 1) // 2, instead) as shown:
        found = coefficient(lambda nodes: _rows(affinity, nodes, power), n, shown)
    return min(1.0, found) if affinity.nonnegative else found


def coefficient(rows: Callable[[np.ndarray], np.ndarray], n: int, shown: Any = None) -> float:
    """Return max ½‖row − row'‖₁ over pairs of n rows, ``rows(index)`` being (k, N) of them."""
    tiles = [np.arange(first, min(first + TILE, n)) for first in range(0, n, TILE)]
    worst = 0.0
    for i, some in enumerate(tiles):
        mine = rows(some)
        for j, others in enumerate(tiles[i:]):
            theirs = rows(others) if j else mine
            worst = max(worst, float(cdist(mine, theirs, "cityblock").max()) / 2)
            if shown is not None:
                shown.done += 1
    return worst


def _rows(affinity: Affinity, nodes: np.ndarray, power: int) -> np.ndarray:
    """Return rows of A^p in float64, (k, N): of A, times A p − 1 times."""
    part = affinity.rows(affinity.xp.asarray(nodes))
    for _ in range(power - 1):
        part = transposed(affinity, part.mT).mT
    return np.ascontiguousarray(constant64(part))
