"""Propagate labels from a few nodes to all nodes (semi-supervised learning)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gspnl._base.array import Array, constant, like, values_of
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.registry import Registry
from gspnl._base.validate import number
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph, single_graph
from gspnl.responses import RESPONSES
from gspnl.signals.checks import nonnegative
from gspnl.signals.inpaint import inpaint
from gspnl.signals.masks import check_reach
from gspnl.signals.structure import warn_of_averaging

METHODS: Registry[Any] = Registry("method")


class PropagatedLabels(NamedTuple):
    """Result of :func:`propagate_labels`.

    Attributes
    ----------
    labels : array of int of shape (N,)
        The class of the highest score.
    scores : array of shape (N, k)
        ≥ 0, one column for each class, in the order of ``classes``.
    classes : array of int of shape (k,)
        The labels that occur, ascending.
    """

    labels: Array
    scores: Array
    classes: np.ndarray


@takes_progress
@on_one_thread
def propagate_labels(
    graph: FeatureGraph,
    labels: Any,
    method: str = "local_global",
    *,
    alpha: float | None = None,
    order: int | None = None,
    tol: float | None = None,
    progress: Progress = None,
) -> PropagatedLabels:
    r"""Label all nodes from the known labels of some.

    With Y (N, k) the indicators of the known labels, zero rows where unknown:

    - "local_global": :math:`F = (1 - α)(I - αA)^{-1} Y`, a Tikhonov filter with τ = α/(1 − α),
      response :math:`(1 - α) / (1 - α(1 - λ))`; for combinatorial, whose λ has the unit of W,
      :math:`(I + τ L)^{-1} Y`. normalization="symmetric" with self_loops=False is
      the method of Zhou et al.; random_walk is their variant.
    - "harmonic": Y interpolated by :func:`inpaint`; for random_walk the probability that a random
      walk from the node reaches a label of the class first. Known labels are kept. With few labels
      on a fully-connected graph the scores differ little, and nodes far from all labels get the
      class with most labels; a narrower kernel helps.

    Parameters
    ----------
    graph : FeatureGraph
        One graph with non-negative weights.
    labels : array of int of shape (N,)
        Classes ≥ 0; −1 where unknown.
    method : {"local_global", "harmonic"}
    alpha : float, optional
        For "local_global", in (0, 1), default 0.9: the larger, the farther labels spread.
    order, tol : optional
        For the filter of "local_global", as in :meth:`FeatureGraph.filter`; "harmonic" takes only
        ``tol``, as :func:`inpaint` does.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    PropagatedLabels

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For labels of another shape or dtype, no known label, or nodes that no path joins to one.

    Warns
    -----
    AveragingWarning
        Once for a graph that only averages (second λ above 0.8), as dot products of most data do.

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
    affinity = nonnegative(graph, "propagate_labels")
    single_graph(graph, "propagate_labels")
    checked = _checked(graph, labels)
    run = METHODS[method]
    mask = checked >= 0
    classes = np.unique(checked[mask])
    check_reach(graph, mask)
    if len(classes) > 1:
        warn_of_averaging(graph, "propagate_labels")
    Y = like((checked[:, None] == classes).astype(np.float64), affinity.left)
    xp = affinity.xp
    raw = run(graph, Y, mask, alpha, order, tol)
    scores = xp.clip(raw, min=0.0)  # ≥ 0 except for rounding
    best = np.argmax(constant(scores), axis=-1)
    return PropagatedLabels(xp.asarray(classes[best], device=scores.device), scores, classes)


def _checked(graph: FeatureGraph, labels: Any) -> np.ndarray:
    values = values_of(labels, "labels")
    if values.dtype.kind not in "iu":
        raise InputError(
            f"labels have dtype {values.dtype}; pass whole numbers, -1 where the label is unknown"
        )
    if values.shape != (graph.n_nodes,):
        raise InputError(f"labels have shape {values.shape}; this graph has {graph.n_nodes} nodes")
    if values.min() < -1:
        raise InputError(f"labels hold {values.min()}; classes are ≥ 0, and -1 stands for unknown")
    if values.max() < 0:
        raise InputError("no label is known: every entry is -1")
    return values


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
