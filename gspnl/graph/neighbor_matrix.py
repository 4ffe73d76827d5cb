"""Assemble W of a neighbour graph, symmetric to the last bit, and name its components."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from gspnl._base.warn import warn
from gspnl.affinity.kernels import Kernel
from gspnl.errors import DegreeError, DisconnectedWarning
from gspnl.graph.neighbor_kernel import LocalRBF
from gspnl.graph.neighbors import Nearest

SYMMETRIZE = ("max", "mean", "mutual")
NAMED = 3  # components and nodes that a warning names


def directed_matrix(indices: np.ndarray, values: np.ndarray) -> Any:
    """Return M, a csr_array whose row i has k entries at the neighbours of i; rows not sorted."""
    n, k = indices.shape
    kind = np.int32 if n * k < 2**31 else np.int64
    starts = np.arange(0, n * k + 1, k, dtype=kind)
    flat = indices.reshape(-1).astype(kind, copy=False)
    return scipy.sparse.csr_array((values.reshape(-1), flat, starts), shape=(n, n))


def symmetric_matrix(M: Any, symmetrize: str) -> Any:
    """Return W as a csr_array with sorted indices and no stored zeros."""
    transposed = M.T.tocsr()
    if symmetrize != "mean" and (M.data < 0).any():  # an edge that is missing counts as 0
        sizes = symmetric_matrix(abs(M), symmetrize)
        return scipy.sparse.csr_array(sizes.multiply((M + transposed).sign()))
    if not M.has_sorted_indices:
        M = transposed.T.tocsr()  # sorts the rows, in the time of a pass
    if symmetrize == "max":
        W = M.maximum(transposed)
    elif symmetrize == "mutual":
        W = M.minimum(transposed)
    else:
        W = (M + transposed) * M.dtype.type(0.5)
        W.eliminate_zeros()
    return W


def with_loops(W: Any, diagonal: np.ndarray) -> Any:
    """Add w_ii to a matrix without a diagonal."""
    loops = scipy.sparse.diags_array(diagonal, format="csr", dtype=W.dtype)
    out = scipy.sparse.csr_array(W + loops)
    out.sort_indices()
    return out


def underflowed(W: Any, values: np.ndarray, found: Nearest, kernel: Kernel) -> int:
    """Count nodes whose positive weights all underflow; raise unless that is by local sigmas."""
    if not kernel.positive:
        return 0
    lost = np.nonzero(~values.any(1) & (np.diff(W.indptr) == 0))[0]
    if len(lost) and not isinstance(kernel, LocalRBF):
        row = int(lost[0])
        node = row if found.order is None else int(found.order[row])
        raise DegreeError(
            f"all weights of {len(lost)} of {len(values)} nodes underflow {values.dtype} (node "
            f"{node}, whose nearest neighbour is at distance {found.distances[row, 0]:.3g}), with "
            f"kernel {kernel}; pass a larger sigma= or sigma='local', or scale the features"
        )
    return len(lost)


def warn_of_components(
    W: Any, order: np.ndarray | None, k: int, symmetrize: str, lost: int, *, symmetric: bool
) -> None:
    """Warn where the graph of W has several components: sizes, nodes of the smallest, remedies.

    ``lost`` nodes are single because their weights underflow.
    """
    # Of a symmetric W, the strongly connected components are the same, and found faster.
    count, part = connected_components(W, connection="strong" if symmetric else "weak")
    if count == 1:
        return
    sizes = np.bincount(part)
    first = np.full(count, len(part))
    nodes = np.arange(len(part)) if order is None else order
    np.minimum.at(first, part, nodes)
    ranked = np.lexsort((first, sizes))
    shown = ", ".join(f"{size:,}" for size in sizes[ranked][::-1][:NAMED])
    single = int((sizes == 1).sum())
    few = ", ".join(map(str, first[ranked][: min(NAMED, count - 1)]))
    alone = f", {single:,} of them single nodes without an edge" if single else ""
    if lost:
        alone += (
            f" (the weights of {lost:,} underflow, since their neighbours' sigmas are far below "
            "their distances: pass a number as sigma=)"
        )
    mutual = ", symmetrize='max'" if symmetrize == "mutual" else ""
    warn(
        f"this neighbour graph of {len(part):,} nodes has {count:,} components, of {shown}"
        f"{', ...' if count > NAMED else ''} nodes{alone}; nodes of the smallest: {few}. Nothing "
        f"flows between components: pass a larger k than {k}{mutual}, or keep the largest, part = "
        "scipy.sparse.csgraph.connected_components(graph.weights.sparse)[1]; "
        "X = X[part == numpy.bincount(part).argmax()]",
        DisconnectedWarning,
    )
