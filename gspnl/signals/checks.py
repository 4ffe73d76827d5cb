"""Check that a graph and its signals suit an operation: symmetric, non-negative, of one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gspnl._base.array import Array
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph, check_graph


def symmetric(graph: FeatureGraph, what: str) -> Affinity:
    """Return the affinity of a graph with a symmetric core; raises an error that names ``what``."""
    check_graph(graph).affinity.require_core(f"no {what}, which needs symmetric weights")
    return graph.affinity


def nonnegative(graph: FeatureGraph, what: str) -> Affinity:
    """Return the affinity of a graph with symmetric non-negative weights, or raise."""
    affinity = symmetric(graph, what)
    if not affinity.nonnegative:
        raise InputError(f"{what} needs non-negative weights, and {_negative(graph)}")
    return affinity


def _negative(graph: FeatureGraph) -> str:
    """Explain why weights may be negative, with a remedy."""
    if graph.approximation is not None:
        return (
            "this approximation can make some slightly negative; leave out rank= and tol=, or pass "
            "approximation='random_features'"
        )
    if not hasattr(graph.kernel, "feature_map"):
        return (
            f"those of {graph.kernel} can be negative; pass np.maximum(W, 0), or nonnegative=True "
            "for an operator that is not"
        )
    return (
        f"{graph.kernel} can be negative; pass feature_map='relu' (or 'softplus', 'square', 'exp')"
    )


def on_graph(graph: FeatureGraph, fn: Callable[[Array], Array], Z: Any, degree: int = 1) -> Array:
    """Check signals Z against a graph and apply ``fn``, (..., N, c) to (..., N, c).

    ``fn(c z) = c^degree fn(z)``, see :func:`~gspnl._base.validate.on_signals`.
    """
    return on_signals(fn, Z, graph.shape, graph.affinity.left, degree)


def per_column(graph: FeatureGraph, fn: Callable[[Array], Array], Z: Any, degree: int = 1) -> Array:
    """Check signals Z and reduce each column by ``fn``, (..., N, c) to (..., 1, c).

    Returns an array (..., c), or a number for a signal (N,).
    """
    out = on_graph(graph, fn, Z, degree)
    return out[0] if out.ndim == 1 else out[..., 0, :]
