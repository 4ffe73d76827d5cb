"""Export the weights of a graph as a NumPy or SciPy matrix, for libraries that store edges."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import check_fits, namespace, to_numpy
from gspnl._base.memory import available_memory
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights.sparse import Sparse
from gspnl.errors import DegreeError, SizeError
from gspnl.graph.graph import FeatureGraph


def edge_count(graph: FeatureGraph) -> int:
    """Return the number of stored weights of a sparse W, else N²."""
    weights = graph.weights
    return int(weights.matrix.nnz) if isinstance(weights, Sparse) else graph.n_nodes**2


def check_edges(graph: FeatureGraph, bytes_each: int, what: str) -> None:
    """Raise SizeError, before any allocation, where the edges would not fit in memory."""
    size, free = edge_count(graph) * bytes_each, available_memory()
    if free is not None and size > 0.9 * free:
        raise SizeError(
            f"{what} stores each of the {edge_count(graph):.3g} weights of this graph, which would "
            f"take {size / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; use fewer nodes, or "
            "stay with graph.apply(), filter() and spectrum(), which need no stored edges"
        )


def stored_weights(graph: FeatureGraph) -> Any:
    """Return W of one graph, csr_array or ndarray, exactly symmetric if the graph is."""
    weights = graph.weights
    if isinstance(weights, Sparse):
        return weights.matrix.copy()
    check_fits(graph.shape, weights.like, "W as a dense array", "use apply() or filter()", copies=3)
    W = to_numpy(weights.rows(namespace(weights.like).arange(graph.n_nodes)))
    if NORMALIZATIONS[graph.normalization].symmetric_core:
        W = (W + W.T) / 2
    factor = float(np.asarray(weights.log_factor))
    if not factor:
        return W
    with np.errstate(divide="ignore", over="ignore"):
        W = np.exp(np.log(W) + W.dtype.type(factor))
    if not np.isfinite(W).all():
        raise DegreeError(
            f"weights around exp({factor:.0f}) leave the range of {W.dtype}, so they cannot be "
            "exported; scale the features down, raise temperature= or sigma=, or use float64"
        )
    return W
