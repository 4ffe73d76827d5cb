"""Build a graph from a sparse symmetric matrix that the package itself has made."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.affinity.kernels import Kernel
from gspnl.affinity.weights.sparse import Sparse
from gspnl.graph.build import graph_of
from gspnl.graph.from_weights import in_range
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.source import Source


def sparse_graph(
    matrix: Any,
    kernel: Kernel,
    normalization: str = "random_walk",
    reason: str = "asked for",
    log_factor: float = 0.0,
    order: np.ndarray | None = None,
    source: Source | None = None,
) -> FeatureGraph:
    """Build the graph of a trusted matrix: W is neither copied nor checked for symmetry.

    Parameters
    ----------
    matrix : csr_array of shape (N, N)
        W in float32 or float64, finite, equal to its transpose to the last bit (but for "softmax"
        and "chung"), with sorted indices, without duplicate entries and without stored zeros. Not
        to be changed afterwards.
    kernel : Kernel
        Named in the graph's repr and its messages. ``kernel.nonnegative`` tells whether W ≥ 0;
        ``kernel.positive`` makes a node without edges an error.
    normalization : str
    reason : str
        The graph's ``storage_reason``.
    log_factor : float
        Logarithm of a factor that was divided out of W.
    order : array of shape (N,), optional
        The node of each row and column of the matrix; default: 0, 1, 2, ...
    source : Source, optional
        The features that the graph was built from.

    Raises
    ------
    DegreeError
        Where 1/d is undefined.
    """
    matrix, factor = in_range(matrix, matrix.data, not kernel.nonnegative)
    weights = Sparse(matrix, factor + log_factor, order)
    return graph_of(weights, kernel, "sparse", normalization, reason=reason, source=source)
