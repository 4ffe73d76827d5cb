"""Localise a filter at a node: the response to a unit impulse there, and the row of the node."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, constant64, like
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.nodes import node_numbers
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate
from gspnl.signals.checks import symmetric


def localize(
    graph: FeatureGraph,
    response: Response | Array,
    node: Any,
    *,
    order: int | None = None,
    tol: float | None = None,
) -> Array:
    r"""Localise a filter at a node, :math:`T_i g = \sqrt{N}\, g(L)\, δ_i`.

    For symmetric and bistochastic, g(L) is symmetric, so :math:`(T_i g)_j = (T_j g)_i`; symmetric
    is PyGSP's "normalized" Laplacian and gives the same numbers. For random_walk it is a column of
    g(L), the response at each node j to an impulse at node i; the row, with which node i weights
    each node j, is :math:`d_j (T_i g)_j / d_i`.

    Parameters
    ----------
    graph : FeatureGraph
    response : callable, or array of shape (m,)
        g(λ), or ω on the spectrum.
    node : int, or sequence of k ints
        Negative ones count from the end.
    order, tol : optional
        As for :meth:`FeatureGraph.filter`; default: the exact filter.

    Returns
    -------
    array of shape (..., N) for one node, (..., N, k) for several

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For nodes outside the graph, or a response that is not finite on the spectrum.

    References
    ----------
    Shuman, D. I., Ricaud, B. and Vandergheynst, P. (2016). Vertex-frequency analysis on graphs.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.linspace(0, 1, 5)[:, None]
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=0.2, normalization="symmetric")
    >>> gspnl.localize(graph, gspnl.responses.heat(1.0), 0).round(2)
    array([1.66, 0.41, 0.08, 0.01, 0.  ])
    """
    affinity = symmetric(graph, "localize")
    n = graph.n_nodes
    chosen = node_numbers("node", node, n, least=1)
    index = np.atleast_1d(chosen)
    delta = np.zeros((n, len(index)))
    delta[index, np.arange(len(index))] = math.sqrt(n)
    out = graph.filter(like(delta, affinity.left), response, order, tol=tol)
    return out[..., 0] if chosen.ndim == 0 else out


def filter_row(graph: FeatureGraph, response: Response, node: int) -> np.ndarray:
    """Compute row ``node`` of g(L) in NumPy and float64: the weights with which it averages.

    A response that is linear in λ takes a row of A, also on a softmax graph; any other one, or a
    combinatorial graph, takes an exact filter.
    """
    delta = np.zeros(graph.n_nodes)
    delta[node] = 1.0
    points = np.linspace(0, 2, 9)
    values = evaluate(response, points)
    line = values[0] + points / 2 * (values[-1] - values[0])
    linear = np.abs(values - line).max() <= 1e-13 * np.abs(values).max()
    if linear and graph.affinity.unit is None:
        slope = (values[0] - values[-1]) / 2  # g(λ) = g(1) + slope (1 − λ)
        row = constant64(graph.rows(node))
        return np.asarray((values[0] + values[-1]) / 2 * delta + slope * row)
    graph.affinity.require_core("rows of filters that are not linear in λ")
    column = graph.filter(like(delta[:, None], graph.affinity.left), response)[..., 0]
    # g(L) = T g(I − S) T⁻¹ with a symmetric g(I − S): the row is the column, scaled.
    change = constant64(graph.affinity.change)
    return np.asarray(constant(column) * (change[node] / change) ** 2, dtype=np.float64)
