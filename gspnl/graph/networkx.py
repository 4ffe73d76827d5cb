"""Convert graphs to and from NetworkX."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.memory import within_memory
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import InputError, MissingExtraError
from gspnl.graph.export import check_edges, stored_weights
from gspnl.graph.from_weights import graph_from_weights
from gspnl.graph.graph import FeatureGraph, single_graph

EDGE_BYTES = 200  # measured, for each w_ij of an undirected graph; twice as many if directed


@within_memory
def to_networkx(graph: FeatureGraph) -> Any:
    r"""Convert a graph to a NetworkX graph, with an edge for each weight w_ij ≠ 0.

    Weights are those of W, before normalisation. Self-loops are kept.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, not a batch.

    Returns
    -------
    networkx.Graph
        Nodes 0, …, N − 1 in this order, edge attribute ``"weight"``. For normalization="softmax" a
        ``networkx.DiGraph``, whose edge i → j has weight M_ij.

    Raises
    ------
    SizeError
        If the edges would not fit in memory: a fully-connected graph has N²/2 of them, and NetworkX
        takes hundreds of bytes for each.
    MissingExtraError
        Without networkx.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> graph = gspnl.feature_graph(np.array([[0.0], [1.0], [3.0]]), "rbf", self_loops=False)
    >>> G = gspnl.to_networkx(graph)
    >>> G.number_of_edges(), round(G[0][1]["weight"], 4)  # exp(−½)
    (3, 0.6065)
    """
    graph = single_graph(graph, "to_networkx")
    nx = _networkx()
    directed = not NORMALIZATIONS[graph.normalization].symmetric_core
    check_edges(graph, EDGE_BYTES * (1 + directed), "networkx")
    W = stored_weights(graph)
    edges = scipy.sparse.coo_array(W if directed else scipy.sparse.triu(W))
    G = nx.DiGraph() if directed else nx.Graph()
    G.add_nodes_from(range(graph.n_nodes))
    rows, columns = edges.coords
    G.add_weighted_edges_from(
        zip(rows.tolist(), columns.tolist(), edges.data.tolist(), strict=True)
    )
    return G


def from_networkx(
    G: Any, weight: str | None = "weight", normalization: str = "random_walk"
) -> FeatureGraph:
    r"""Convert a NetworkX graph to a graph of gspnl.

    Node i of the result is ``list(G)[i]``, in the order in which nodes were added to G. Parallel
    edges of a multigraph add up; a node without edges is kept, with λ = 0.

    Parameters
    ----------
    G : networkx.Graph, DiGraph, MultiGraph or MultiDiGraph
        At least 2 nodes. w_ij is the weight of the edge i → j.
    weight : str or None
        The edge attribute with the weights; an edge without it, or any edge for None, has weight 1.
    normalization : str
        "random_walk", "symmetric", "bistochastic", "softmax", "chung" or "combinatorial".
        "combinatorial" is ``networkx.laplacian_matrix``, "symmetric" is
        ``networkx.normalized_laplacian_matrix``. See :func:`gspnl.graph_from_weights`;
        directed graphs need "softmax", which averages over successors, "chung", or
        ``G.to_undirected()``.

    Returns
    -------
    FeatureGraph
        Sparse, or dense if more than a quarter of all pairs are joined.

    Raises
    ------
    InputError
        For weights that are not finite numbers, an attribute that no edge has, directed edges
        without "softmax" or "chung", and as for :func:`gspnl.graph_from_weights`.
    MissingExtraError
        Without networkx.

    Examples
    --------
    >>> import networkx as nx, gspnl
    >>> graph = gspnl.from_networkx(nx.path_graph(["a", "b", "c"]))
    >>> graph.spectrum().eigenvalues.round(12)  # a path is bipartite: λ = 2
    array([0., 1., 2.])
    >>> graph = gspnl.from_networkx(nx.path_graph(3), normalization="combinatorial")
    >>> graph.spectrum().eigenvalues.round(12)
    array([0., 1., 3.])
    """
    nx = _networkx()
    if not isinstance(G, nx.Graph):
        raise InputError(f"from_networkx takes a networkx graph, not a {type(G).__name__}")
    if len(G) < 2:
        raise InputError(f"this networkx graph has {len(G)} node(s); a graph needs at least 2")
    if weight not in (None, "weight") and G.size() and not nx.get_edge_attributes(G, weight):
        raise InputError(
            f"no edge has an attribute {weight!r}; pass the name of one, or weight=None for "
            "weights of 1"
        )
    try:
        W = nx.to_scipy_sparse_array(G, weight=weight, dtype=np.float64, format="csr")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the edge attribute {weight!r} holds values that are not numbers ({error}); pass "
            "another weight=, or weight=None for weights of 1"
        ) from None
    return graph_from_weights(by_density(W), normalization)


def by_density(W: Any) -> Any:
    """Return sparse weights as a dense array where products with it are faster."""
    return W.toarray() if W.nnz > W.shape[0] ** 2 / 4 else W


def _networkx() -> Any:
    try:
        import networkx
    except ImportError:
        raise MissingExtraError(
            "NetworkX graphs need networkx; install it with: pip install 'gspnl[graphs]'"
        ) from None
    return networkx
