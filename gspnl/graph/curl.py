r"""Curl of the scores of a directed graph: the part that makes its walk irreversible.

With scores s = log W, the walk is reversible if and only if the antisymmetric K = s − sᵀ is a
gradient, K_ij = h_i − h_j (Kolmogorov's criterion on cycles). Its least-squares gradient has the
row means of K as h, and what is left is the curl.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl._base.array import check_fits, constant64, like, namespace
from gspnl._base.blas import on_one_thread
from gspnl._base.memory import within_memory
from gspnl.affinity.kernels.scores import Products
from gspnl.affinity.weights import Dense, Weights
from gspnl.affinity.weights.exponential import TiledExponential
from gspnl.affinity.weights.tiles import Pattern
from gspnl.errors import InputError
from gspnl.graph.build import graph_of
from gspnl.graph.from_weights import Precomputed
from gspnl.graph.graph import FeatureGraph, single_graph

ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Curl:
    r"""Curl of the scores s = log W of a directed graph.

    Attributes
    ----------
    share : float
        :math:`\|K - (h_i - h_j)\|_F^2 / \|K\|_F^2` of K = s − sᵀ, in [0, 1]: 0 where the walk is
        reversible (also where K = 0), 1 where no potential explains any of its direction.
    potential : array of shape (N,)
        h, the row means of K, in NumPy.
    reversible : FeatureGraph
        The graph without its curl, :math:`w_{ij} ∝ e^{(s_{ij} + s_{ji} - h_i - h_j)/2}` with
        normalization="random_walk": it has a real spectrum, and the A of the graph itself where
        that is reversible.
    """

    share: float
    potential: np.ndarray
    reversible: FeatureGraph

    def __repr__(self) -> str:
        return f"Curl(share {self.share:.4g}, {self.reversible!r})"


@within_memory
@on_one_thread
def curl(graph: FeatureGraph) -> Curl:
    r"""Measure how far the scores of a directed graph are from those of a reversible walk.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, as with normalization="softmax", whose entries are all positive off the diagonal.
        Tiled exponential kernels take O(N) memory and time, all others N² entries.

    Returns
    -------
    Curl

    Raises
    ------
    InputError
        For weights that are 0, whose score is −∞ (a mask, a sparse graph, underflow) or negative,
        or a batch.
    SizeError
        Where N² entries are needed and do not fit in memory.

    References
    ----------
    .. [1] A. N. Kolmogorov, Zur Theorie der Markoffschen Ketten, 1936.
    .. [2] X. Jiang, L.-H. Lim, Y. Yao, Y. Ye, Statistical ranking and combinatorial Hodge theory,
       2011.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> walk = np.array([[1.0, 2.0, 1.0], [1.0, 1.0, 2.0], [2.0, 1.0, 1.0]])  # around a triangle
    >>> found = gspnl.curl(gspnl.graph_from_weights(walk, "softmax"))
    >>> found.share
    1.0
    >>> found.reversible.dense().round(3)  # both ways around alike
    array([[0.261, 0.369, 0.369],
           [0.369, 0.261, 0.369],
           [0.369, 0.369, 0.261]])
    """
    weights = single_graph(graph, "gspnl.curl").weights
    n = graph.n_nodes
    if graph.affinity.symmetric_core:
        return Curl(0.0, np.zeros(n), graph)
    if isinstance(weights, TiledExponential) and isinstance(weights.scores, Products):
        return _of_products(weights, weights.scores)
    if isinstance(weights, TiledExponential) and weights.pattern is Pattern.HALF:
        return Curl(0.0, np.zeros(n), graph_of(weights, graph.kernel, "tiled", "random_walk"))
    return _of_entries(weights)


def curl_of_scores(s: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the share of the curl of scores (N, N) and the potential h, (N,).

    The diagonal of the scores is not used; K = 0 has the share 0.
    """
    finite = s.copy()
    np.fill_diagonal(finite, 0.0)
    K = finite - finite.T
    h = K.mean(1)
    left = K - (h[:, None] - h)
    noise = ROUNDING * float(np.linalg.norm(finite))
    return _share(float(np.linalg.norm(left)), float(np.linalg.norm(K)), noise), h


def _share(left: float, size: float, noise: float) -> float:
    """Return left² / size², and 0 where K is rounding."""
    return 0.0 if size <= noise else min(1.0, (left / size) ** 2)


def _of_entries(weights: Weights) -> Curl:
    """Take logarithms of all entries of W."""
    n = weights.shape[-1]
    check_fits(
        (n, n), np.zeros(0), "the scores of all pairs", "use fewer nodes, or an exponential kernel "
        "with storage='tiled'", copies=5,
    )  # fmt: skip
    W = constant64(weights.rows(namespace(weights.like).arange(n)))
    off = ~np.eye(n, dtype=bool)
    bad = np.argwhere(~(W > 0) & off)
    if len(bad):
        i, j = (int(k) for k in bad[0])
        raise InputError(
            f"{len(bad)} of the {n * n - n} weights off the diagonal are not positive, the first "
            f"one W[{i}, {j}] = {W[i, j]:.3g}, and the score of 0 is −∞: a curl is that of a graph "
            "without a mask, missing edges or underflow; use float64, a larger temperature=, or "
            "graph.directed_spectrum(), which needs no scores"
        )
    with np.errstate(divide="ignore"):
        s = np.log(W)
    share, h = curl_of_scores(s)
    both = (s + s.T) / 2 - (h[:, None] + h) / 2
    V = np.exp(both - both.max())
    matrix = Dense(like(V, weights.like), True, float(both.max()))
    return Curl(share, h, graph_of(matrix, Precomputed(), "dense", "random_walk"))


def _of_products(weights: TiledExponential, scores: Products) -> Curl:
    r"""Use the low rank of K = q kᵀ − k qᵀ.

    Its row means are (q Σk − k Σq)/N, and its curl is that of the centred q and k:
    :math:`U J U^T`, U = [q k], whose norm is that of :math:`R J R^T` with U = Q R.
    """
    q, k = constant64(scores.q), constant64(scores.k)
    n, width = q.shape
    h = (q @ k.sum(0) - k @ q.sum(0)) / n
    h -= h.mean()
    R = np.asarray(np.linalg.qr(np.hstack([q - q.mean(0), k - k.mean(0)]), mode="r"))
    left = R[:, :width] @ R[:, width:].T
    noise = ROUNDING * float(np.linalg.norm(q) * np.linalg.norm(k))
    curled = float(np.linalg.norm(left - left.T))
    size = float(np.sqrt(curled**2 + 2 * n * (h @ h)))
    share = _share(curled, size, noise)
    column = h[:, None] / 2
    one = np.ones((n, 1))
    both = Products(
        like(np.hstack([q / 2, k / 2, -column, one]), scores.q),
        like(np.hstack([k, q, one, -column]), scores.q),
    )
    half = TiledExponential(both, weights.sample, Pattern.HALF, weights.self_loops)
    return Curl(share, h, graph_of(half, Precomputed(), "tiled", "random_walk"))
