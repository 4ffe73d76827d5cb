"""Semi-supervised labels: from a few labelled nodes to all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gspnl._base.array import Array, constant, is_array, like, namespace
from gspnl._base.registry import Registry
from gspnl._base.validate import number
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.responses import RESPONSES
from gspnl.signals.edges import nonnegative
from gspnl.signals.inpainting import inpaint
from gspnl.signals.masks import check_reach

METHODS: Registry[Any] = Registry("method")


class PropagatedLabels(NamedTuple):
    """What :func:`propagate_labels` returns.

    Attributes
    ----------
    labels : array of int of shape (N,)
        The class of the highest score.
    scores : array of shape (N, k)
        ≥ 0, a column a class, in the order of ``classes``.
    classes : array of int of shape (k,)
        The labels that occur, ascending.
    """

    labels: Array
    scores: Array
    classes: np.ndarray


def propagate_labels(
    graph: FeatureGraph,
    labels: Any,
    method: str = "local_global",
    *,
    alpha: float | None = None,
    order: int | None = None,
    tol: float | None = None,
) -> PropagatedLabels:
    r"""Label all nodes from some.

    With Y (N, k) the indicators of the known labels, zero rows where unknown:

    - "local_global": :math:`F = (1 - α)(I - αA)^{-1} Y`, a Tikhonov filter with τ = α/(1 − α),
      response :math:`(1 - α) / (1 - α(1 - λ))`. normalization="symmetric" and self_loops=False is
      Zhou et al.; random_walk their variant.
    - "harmonic": Y interpolated by :func:`inpaint`; for random_walk the chance that a walk from
      the node meets a label of the class first. Known labels stay. With few labels on a graph with
      every edge the scores differ little, and the class with most labels wins far from
      all: a narrow kernel is a remedy.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, with non-negative weights.
    labels : array of int of shape (N,)
        Classes ≥ 0; −1 where unknown.
    method : {"local_global", "harmonic"}
    alpha : float, optional
        In (0, 1), of "local_global", default 0.9: how far labels are carried.
    order, tol : optional
        Of the filter of "local_global", as for :meth:`FeatureGraph.filter`; "harmonic" takes
        ``tol`` alone, as :func:`inpaint` does.

    Returns
    -------
    PropagatedLabels

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For labels of another shape or dtype, none known, or nodes that no path joins to a label.

    References
    ----------
    Zhou, D. et al. (2004). Learning with local and global consistency. Zhu, X., Ghahramani, Z. and
    Lafferty, J. (2003). Semi-supervised learning using Gaussian fields and harmonic functions.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]])
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=0.2)
    >>> gspnl.propagate_labels(graph, [7, -1, -1, -1, -1, 3]).labels
    array([7, 7, 7, 3, 3, 3])
    """
    nonnegative(graph, "propagate_labels")
    if graph.shape[:-2]:
        raise InputError(f"this holds {graph.shape[:-2]} graphs; label one, graph[i]")
    given = _labels(graph, labels)
    run = METHODS[method]
    mask = given >= 0
    classes = np.unique(given[mask])
    check_reach(graph, mask)
    Y = like((given[:, None] == classes).astype(np.float64), graph.degrees)
    xp = namespace(graph.degrees)
    raw = run(graph, Y, mask, alpha, order, tol)
    scores = xp.clip(raw, min=0.0)  # they are ≥ 0, but for rounding
    best = np.argmax(constant(scores), axis=-1)
    return PropagatedLabels(xp.asarray(classes[best], device=scores.device), scores, classes)


def _labels(graph: FeatureGraph, labels: Any) -> np.ndarray:
    given = constant(labels) if is_array(labels) else np.asarray(labels)
    if given.dtype.kind not in "iu":
        raise InputError(
            f"labels have dtype {given.dtype}; pass whole numbers, -1 where the label is unknown"
        )
    if given.shape != (graph.n_nodes,):
        raise InputError(f"labels have shape {given.shape}; this graph has {graph.n_nodes} nodes")
    if given.min() < -1:
        raise InputError(f"labels hold {given.min()}; classes are ≥ 0, and -1 stands for unknown")
    if given.max() < 0:
        raise InputError("no label is known: every entry is -1")
    return given


@METHODS.register("local_global")
def _local_global(
    graph: FeatureGraph, Y: Array, mask: np.ndarray, alpha: Any, order: Any, tol: Any
) -> Array:
    share = 0.9 if alpha is None else number("alpha", alpha, above=0)
    if share >= 1:
        raise InputError(f"alpha={alpha!r} must be below 1, or no label is remembered")
    return graph.filter(Y, RESPONSES["tikhonov"](share / (1 - share)), order, tol=tol)


@METHODS.register("harmonic")
def _harmonic(
    graph: FeatureGraph, Y: Array, mask: np.ndarray, alpha: Any, order: Any, tol: Any
) -> Array:
    if alpha is not None or order is not None:
        raise InputError("alpha= and order= belong to method='local_global'; leave them out")
    return inpaint(graph, Y, mask, "harmonic", tol=tol)
