r"""Certified bounds of ‖S − Ŝ‖_F, the error of a normalised approximate graph.

With d = d̂ + e, e = (W − Ŵ)1 and T = diag(√(d̂/d)), for random_walk and symmetric

.. math::

    S - \hat S = (T \hat S T - \hat S) + D^{-1/2} (W - \hat W) D^{-1/2} .

The second term is bounded through lower bounds of d. The first is at most
:math:`2\|(T - I)\hat S\|_F + \|(T - I)\hat S(T - I)\|_F`, both of which the Gram matrices of the
factor give, once \|t_i − 1\| ≤ \|e_i\| / (d_i + √(d̂_i d_i)) is bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from gspnl._base.array import constant64
from gspnl._base.rows import map_rows, sum_rows
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.approximation.residual import Residual, RowSums
from gspnl.affinity.weights import LowRank


class CoreSums(Protocol):
    """Sums over Ŝ: of :class:`Core`, or estimated from a sample."""

    @property
    def scale(self) -> np.ndarray: ...

    @property
    def share(self) -> float: ...

    @property
    def rows(self) -> np.ndarray: ...

    def both_sides(self, weight: np.ndarray) -> float: ...


class ResidualNorms(Protocol):
    """Norms of E: of :class:`Residual`, or estimated from a sample."""

    @property
    def self_loops(self) -> bool: ...

    def norms(self, *scales: np.ndarray) -> list[tuple[float, float]]: ...


@dataclass(frozen=True, eq=False)
class Core:
    """Ŝ = diag(c) B J Bᵀ diag(c), by its Gram matrices; without self-loops an upper bound of Ŝ."""

    B: np.ndarray
    J: np.ndarray
    scale: np.ndarray
    share: float = 1.0  # nodes that each entry of a vector stands for; more than 1 in a sample

    @classmethod
    def of(cls, affinity: Affinity, weights: LowRank) -> Core:
        return cls(
            constant64(weights.factor),
            constant64(weights.core),
            constant64(affinity.core_scale),
        )

    def weights_times(self, s: np.ndarray, self_loops: bool) -> np.ndarray:
        """Compute Ŵ s, in float64 whatever the graph's dtype."""
        out: np.ndarray = self.B @ (self.J @ (self.B.T @ s))
        return out if self_loops else out - ((self.B @ self.J) * self.B).sum(1) * s

    def gram(self, weight: np.ndarray) -> np.ndarray:
        """Compute J Bᵀ diag(weight) B."""
        (small,) = sum_rows(lambda b, w: (b.T @ (w * b),), self.B, weight[:, None])
        out: np.ndarray = self.J @ small
        return out

    @cached_property
    def rows(self) -> np.ndarray:
        """Squared norms ‖Ŝ_i‖² of the rows."""
        small = self.gram(self.scale**2) @ self.J.T
        sums = map_rows(lambda b: ((b @ small) * b).sum(1, keepdims=True), self.B)[:, 0]
        out: np.ndarray = self.scale**2 * np.maximum(sums, 0.0)
        return out

    def both_sides(self, weight: np.ndarray) -> float:
        """Compute ‖diag(w) Ŝ diag(w)‖_F."""
        small = self.gram(weight**2 * self.scale**2)
        return math.sqrt(max(float((small * small.T).sum()), 0.0))


def core_bound(affinity: Affinity, weights: LowRank, residual: Residual, sums: RowSums) -> float:
    """Bound ‖S − Ŝ‖_F from above for l r = 1/d; ``sums`` are those of s = 1."""
    core = Core.of(affinity, weights)
    # The stored degrees have the rounding of the graph's dtype.
    degrees = core.weights_times(np.ones_like(core.scale), residual.self_loops)
    return error_of_core(core, degrees, residual, sums)


def error_of_core(
    core: CoreSums, degrees: np.ndarray, residual: ResidualNorms, sums: RowSums
) -> float:
    """Bound ‖S − Ŝ‖_F by the Gram matrices of Ŝ and the row sums of W − Ŵ, or of their sample."""
    approximate = core.scale**-2
    low = np.maximum(degrees + sums.own - sums.spread, sums.floor)
    high = degrees + sums.own + sums.spread
    if not (low > 0).all():
        return math.inf
    # Two bounds of ‖(T − I) Ŝ‖: node by node, and for the whole vector e.
    moved = np.maximum(
        np.abs(np.sqrt(approximate / low) - 1), np.abs(np.sqrt(approximate / high) - 1)
    )
    rate = np.sqrt(core.rows) / (low + np.sqrt(approximate * low))
    by_node = _norm(moved * np.sqrt(core.rows), core.share)
    moving, last = residual.norms(rate, 1 / np.sqrt(low))
    at_once = _weighted(moving, residual, sums, rate, core.share)
    scaled = min(by_node, at_once + _norm(rate * (approximate - degrees), core.share))
    return 2 * scaled + core.both_sides(moved) + math.sqrt(last[0] * last[1])


def _norm(values: np.ndarray, share: float) -> float:
    return math.sqrt(share) * float(np.linalg.norm(values))


def change_bound(affinity: Affinity, weights: LowRank, residual: Residual, sums: RowSums) -> float:
    """Bound max |√(d̂/d) − 1|, and that of the inverse ratio, for l r = 1/d."""
    core = Core.of(affinity, weights)
    approximate = core.scale**-2
    degrees = core.weights_times(np.ones_like(approximate), residual.self_loops)
    low = np.maximum(degrees + sums.own - sums.spread, sums.floor)
    high = degrees + sums.own + sums.spread
    if not (low > 0).all():
        return math.inf
    return math.sqrt(max(float((approximate / low).max()), float((high / approximate).max()))) - 1


def _weighted(
    norms: tuple[float, float],
    residual: ResidualNorms,
    sums: RowSums,
    weight: np.ndarray,
    share: float = 1.0,
) -> float:
    r"""Bound ‖diag(w) e‖ from above, by :meth:`Residual.norms` of w.

    ‖diag(w) E_φψ s‖² ≤ λ_max(diag(w) E_φφ diag(w)) · sᵀ E_ψψ s, and a norm is no less than λ_max.
    """
    total = (math.sqrt(norms[0]) * sums.roots[1] + math.sqrt(norms[1]) * sums.roots[0]) / 2
    total += _norm(weight * sums.noise, share)
    if not residual.self_loops:
        total += _norm(weight * sums.diagonal, share)
    return total


def sinkhorn_bound(
    affinity: Affinity, weights: LowRank, residual: Residual, sums: RowSums
) -> float:
    r"""Bound ‖S − Ŝ‖_F for the bistochastic scaling, W ≥ 0; ``sums`` are those of s = ŝ.

    The exact scaling is ŝ∘u, u the minimum of :math:`½ u^T C u - \sum \log u_i` with
    C = diag(ŝ) W diag(ŝ). That is self-concordant, its Hessian at 1 is C + I ≥ I and its gradient
    ŝ∘e, so ‖u − 1‖ ≤ δ/(1 − δ) where δ = ‖ŝ∘e‖ < 1 [1]_.

    References
    ----------
    .. [1] Y. Nesterov, Introductory Lectures on Convex Optimization, 2004, section 4.1.
    """
    core = Core.of(affinity, weights)
    off = core.scale * core.weights_times(core.scale, residual.self_loops) - 1
    return error_of_scaling(core, off, residual, sums)


def error_of_scaling(
    core: CoreSums, off: np.ndarray, residual: ResidualNorms, sums: RowSums
) -> float:
    """Bound ‖S − Ŝ‖_F where the rows of Ŝ sum to 1 + ``off``, or estimate it from a sample."""
    by_node = _norm(core.scale * sums.largest, core.share)
    ((norm, _),) = residual.norms(core.scale)
    delta = min(by_node, _weighted((norm, norm), residual, sums, core.scale, core.share))
    delta += _norm(off, core.share)
    if not delta < 1:
        return math.inf  # before the rows, which take a pass
    return scaling_bound(delta, math.sqrt(float(core.rows.max())), norm)


def scaling_bound(gradient: float, row: float, norm: float, convex: float = 1.0) -> float:
    r"""Bound ‖S − Ŝ‖_F by the norm of the gradient at 1 of a Hessian of at least ``convex``.

    The Newton decrement is at most δ = gradient/√convex, so ‖u − 1‖ ≤ δ/(1 − δ)/√convex. ``row``
    bounds the norms of the rows of Ŝ, ``norm`` that of diag(ŝ) (W − Ŵ) diag(ŝ).
    """
    decrement = gradient / math.sqrt(convex)
    if not decrement < 1:
        return math.inf
    u = decrement / (1 - decrement) / math.sqrt(convex)
    return (2 * u + u * u) * row + (1 + u) ** 2 * norm
