"""Count edges and components of one graph, and measure the reach of the rows of A."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse.csgraph

from gspnl._base.array import constant, constant64, device, namespace
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights import AddedLoops, Weights

SAMPLE = 8, 64  # rows of which the median is taken above WHOLE nodes, the fewer the larger N
WHOLE = 1024
SAMPLED = 1 << 23  # entries of them, unless the least number of rows has more
ENTRIES = 1 << 20  # of rows that are in memory at once
SEARCHED = 1 << 24  # entries of rows that the search for components computes at most


def plain_weights(affinity: Affinity) -> Weights:
    """Return W without the self-loops that are added for L = D − W."""
    weights = affinity.weights
    return weights.full if isinstance(weights, AddedLoops) else weights


def edges_of(affinity: Affinity, stored: bool) -> int | None:
    """Count the pairs of nodes with a weight other than 0; None where all pairs have one.

    Edges of a softmax graph are counted in both directions. A W that is not sparse is counted only
    where it is ``stored``, as given weights are: a kernel gives a weight to all pairs.
    """
    weights, n = plain_weights(affinity), affinity.n_nodes
    if weights.sparse is not None:
        matrix = weights.sparse
        count = matrix.nnz - int(np.count_nonzero(matrix.diagonal()))
    elif stored:
        count = sum(
            int(np.count_nonzero(rows)) - int(np.count_nonzero(rows[np.arange(len(part)), part]))
            for part, rows in _blocks(weights, np.arange(n))
        )
    else:
        return None
    if affinity.symmetric_core:
        count //= 2
    pairs = n * (n - 1) // (2 if affinity.symmetric_core else 1)
    return None if weights.sparse is None and count == pairs else count


def components_of(affinity: Affinity, stored: bool) -> np.ndarray | None:
    """Number the component of each node, (N,); None where that takes too many rows of W."""
    weights, n = plain_weights(affinity), affinity.n_nodes
    if weights.sparse is not None:
        return np.asarray(scipy.sparse.csgraph.connected_components(weights.sparse, False)[1])
    # Components are merged row by row: on a graph of all pairs the first row merges all of them.
    count = n if stored else min(n, max(1, SEARCHED // n))
    labels = np.arange(n)
    for nodes in (np.arange(1), np.arange(1, count)):
        for part, rows in _blocks(weights, nodes):
            for node, row in zip(part, rows, strict=True):
                names = np.zeros(n, bool)
                names[labels[row != 0]] = names[labels[node]] = True
                first, *others = np.nonzero(names)[0].tolist()
                if others:
                    labels[names[labels]] = first
            if not labels.any():
                return labels
    return None if count < n else np.asarray(np.unique(labels, return_inverse=True)[1])


def component_modes(affinity: Affinity, labels: np.ndarray) -> np.ndarray:
    """Return the modes of λ = 0 of the components that have edges, (N, m), orthonormal."""
    mode = constant64(affinity.core_mode)
    live = mode > 0
    names, place = np.unique(labels[live], return_inverse=True)
    modes = np.zeros((len(mode), len(names)))
    modes[np.nonzero(live)[0], place] = mode[live]
    modes /= np.linalg.norm(modes, axis=0)
    return modes


def rows_taken(n: int, live: int) -> int:
    """Return the number of rows of which :func:`reach_of` takes the median."""
    return live if live <= WHOLE else int(np.clip(SAMPLED // n, *SAMPLE))


def reach_of(affinity: Affinity) -> tuple[float, float]:
    """Return the medians over rows of A of the effective neighbours and of the self-weight.

    Rows are scaled to a sum of 1 first, entries taken in magnitude. All rows of nodes with edges
    are taken up to :data:`WHOLE` of them, else a random sample.
    """
    live = np.nonzero(constant(affinity.core_scale) > 0)[0]
    if not len(live):
        return 1.0, 1.0
    count = rows_taken(affinity.n_nodes, len(live))
    if count < len(live):
        live = np.sort(np.random.default_rng(0).choice(live, count, replace=False))
    found, own = [], []
    for part, rows in _blocks(affinity, live):
        p = np.abs(rows.astype(np.float64))
        p /= p.sum(1, keepdims=True)
        logs = np.log(np.where(p > 0, p, 1.0))
        found.append(np.exp(-(p * logs).sum(1)))
        own.append(p[np.arange(len(part)), part])
    return float(np.median(np.concatenate(found))), float(np.median(np.concatenate(own)))


def _blocks(source: Any, nodes: np.ndarray) -> Any:
    """Yield parts of the nodes with their rows of W or A, in NumPy."""
    sample = source.left if isinstance(source, Affinity) else source.like
    n = source.n_nodes if isinstance(source, Affinity) else source.shape[-1]
    step = max(1, ENTRIES // n)

    for start in range(0, len(nodes), step):
        part = nodes[start : start + step]
        index = namespace(sample).asarray(part, device=device(sample))
        yield part, constant(source.rows(index))
