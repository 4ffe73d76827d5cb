r"""Edge weights K and potentials f with ⟨Z, L Z⟩ = ½ Σ K_ij (f_i − f_j)², by normalisation.

With :math:`S` the symmetric core and :math:`v > 0` its mode :math:`S v = v`,

.. math::

    ⟨Z, L Z⟩_{T^{-2}} = ½ \sum_{ij} K_{ij} (f_i - f_j)^2, \quad
    K = diag(v)\,S\,diag(v), \quad f = T^{-1} Z / v, \quad K 1 = v^2 =: m .

random_walk: K = W, f = Z, m = d. symmetric: K = W, f = Z / √d, m = d. bistochastic: K = A, f = Z,
m = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gspnl._base.array import Array
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.errors import InputError, NonsymmetricError
from gspnl.graph.graph import FeatureGraph, check_graph


@dataclass(frozen=True, eq=False)
class Edges:
    """K and f of one affinity with a symmetric core.

    Parameters
    ----------
    affinity : Affinity
    """

    affinity: Affinity

    @property
    def scale(self) -> Array | None:
        """Diagonal of u in K = diag(u) W diag(u); None stands for ones."""
        return self.affinity.right if self.affinity.row_stochastic else None

    @property
    def mass(self) -> Array:
        """M = K 1, (..., N); 0 on isolated nodes."""
        affinity = self.affinity
        xp = affinity.xp
        source = affinity.change if affinity.row_stochastic else affinity.core_scale
        live = affinity.core_scale > 0
        safe = xp.where(live, source, xp.ones_like(source))
        return xp.where(live, 1 / (safe * safe), xp.zeros_like(safe))

    def potential(self, Z: Array) -> Array:
        """f, the signal whose differences along edges count."""
        return Z if self.affinity.row_stochastic else scale_rows(self.affinity.core_scale, Z)

    def apply(self, f: Array) -> Array:
        """K f."""
        return scale_rows(self.scale, self.affinity.weights.matmul(scale_rows(self.scale, f)))


def symmetric(graph: FeatureGraph, what: str) -> Affinity:
    """Return the affinity of a graph with a symmetric core; raises an error that names ``what``."""
    if not check_graph(graph).affinity.symmetric_core:
        raise NonsymmetricError(
            f"{what} needs symmetric weights, and normalization='softmax' keeps W unsymmetrised; "
            "use normalization='random_walk'"
        )
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


def signals(graph: FeatureGraph, fn: Callable[[Array], Array], Z: Any) -> Array:
    """Check signals against a graph and map (..., N, c) to (..., N, c)."""
    return on_signals(fn, Z, graph.shape, graph.affinity.left)


def per_column(graph: FeatureGraph, fn: Callable[[Array], Array], Z: Any) -> Array:
    """Check signals, and reduce each column by ``fn``: (..., N, c) → (..., 1, c).

    Returns (..., c), or a number for a signal (N,).
    """
    out = signals(graph, fn, Z)
    return out[0] if out.ndim == 1 else out[..., 0, :]
