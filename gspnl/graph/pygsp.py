"""Convert graphs to and from PyGSP."""

from __future__ import annotations

from typing import Any

import scipy.sparse

from gspnl._base.memory import within_memory
from gspnl._base.validate import one_of
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import InputError, MissingExtraError
from gspnl.graph.export import check_edges, stored_weights
from gspnl.graph.from_weights import graph_from_weights
from gspnl.graph.graph import FeatureGraph, single_graph
from gspnl.graph.networkx import by_density

EDGE_BYTES = 80  # for each weight: 12 in W and 12 in L as CSR, and PyGSP's temporaries
LAPLACIANS = {"normalized": "symmetric", "combinatorial": "combinatorial"}  # lap_type


@within_memory
def to_pygsp(graph: FeatureGraph, lap_type: str | None = None) -> Any:
    r"""Convert a graph to a PyGSP graph, with stored W and one of PyGSP's Laplacians.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, not a batch.
    lap_type : {"normalized", "combinatorial"}, optional
        "normalized": :math:`I - D^{-1/2} W D^{-1/2}`, which is L of normalization="symmetric" and
        has the λ of "random_walk" too. "combinatorial": :math:`D - W`, which is L of
        normalization="combinatorial". Default: "combinatorial" for such a graph, else "normalized".

    Returns
    -------
    pygsp.graphs.Graph
        Its weights are W, before normalisation, so the PyGSP Laplacian of a "bistochastic" graph
        differs from L. For "softmax" it is directed, and PyGSP symmetrises its Laplacian.

    Raises
    ------
    SizeError
        Where the stored weights would not fit in memory: PyGSP keeps all N² of them.
    MissingExtraError
        Without pygsp.

    Notes
    -----
    Self-loops are kept. PyGSP logs that "the Laplacian will not see them". That holds for the
    combinatorial Laplacian, where they cancel, not for the normalized one, which contains them as L
    does here. A node of degree 0 has λ = 0 in both libraries.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((20, 2))
    >>> graph = gspnl.feature_graph(X, "rbf", normalization="symmetric", self_loops=False)
    >>> G = gspnl.to_pygsp(graph)
    >>> bool(np.allclose(G.L.toarray(), np.eye(20) - graph.dense()))
    True
    """
    graph = single_graph(graph, "to_pygsp")
    graphs = _pygsp()
    if lap_type is None:
        regular = NORMALIZATIONS[graph.normalization].regular
        lap_type = "combinatorial" if regular else "normalized"
    one_of("lap_type", lap_type, LAPLACIANS)
    check_edges(graph, EDGE_BYTES, "pygsp")
    return graphs.Graph(scipy.sparse.csr_matrix(stored_weights(graph)), lap_type=lap_type)


def from_pygsp(G: Any, normalization: str | None = None) -> FeatureGraph:
    r"""Convert a PyGSP graph to a graph of gspnl, with its weights and its Laplacian.

    Parameters
    ----------
    G : pygsp.graphs.Graph
    normalization : str, optional
        Default: that of ``G.lap_type``, so that λ, filters and transforms are those of PyGSP:
        "combinatorial" (PyGSP's default, L = D − W), or "symmetric" for lap_type="normalized". A
        name chooses another Laplacian for the same weights, see :func:`gspnl.graph_from_weights`;
        directed graphs need "softmax" or "chung".

    Returns
    -------
    FeatureGraph
        Sparse, or dense if more than a quarter of all pairs are joined.

    Raises
    ------
    InputError
        For directed edges without "softmax" or "chung", a ``lap_type`` that is not known, and as
        for :func:`gspnl.graph_from_weights`.
    MissingExtraError
        Without pygsp.

    Examples
    --------
    >>> import numpy as np, pygsp, gspnl
    >>> graph = gspnl.from_pygsp(pygsp.graphs.Ring(6))
    >>> graph.normalization, graph.spectrum().eigenvalues.round(12)
    ('combinatorial', array([0., 1., 1., 3., 3., 4.]))
    >>> graph = gspnl.from_pygsp(pygsp.graphs.Ring(6), normalization="symmetric")
    >>> graph.spectrum().eigenvalues.round(12)
    array([0. , 0.5, 0.5, 1.5, 1.5, 2. ])
    """
    if not isinstance(G, _pygsp().Graph):
        raise InputError(f"from_pygsp takes a pygsp.graphs.Graph, not a {type(G).__name__}")
    if normalization is None:
        lap_type = one_of("lap_type", G.lap_type, tuple(LAPLACIANS))
        normalization = LAPLACIANS[lap_type]
    return graph_from_weights(by_density(G.W), normalization)


def _pygsp() -> Any:
    try:
        from pygsp import graphs
    except ImportError:
        raise MissingExtraError(
            "PyGSP graphs need pygsp; install it with: pip install 'gspnl[graphs]'"
        ) from None
    return graphs
