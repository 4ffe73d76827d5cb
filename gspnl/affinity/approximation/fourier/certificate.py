r"""Bound ‖S − Ŝ‖_F where each entry of W has an error of at most :math:`δ p_i p_j`.

With :math:`P = \sum_j p_j`, a degree is off by at most :math:`δ p_i P`, which bounds the exact
degrees from below by :math:`d_i ≥ \hat d_i - δ p_i P`. With T = diag(√(d̂/d)),

.. math::

    S - \hat S = (T \hat S T - \hat S) + D^{-1/2} (W - \hat W) D^{-1/2}, \qquad
    \|D^{-1/2} (W - \hat W) D^{-1/2}\|_F ≤ δ \sum_i p_i^2 / d_i ,

and the first term is at most :math:`2\|(T - I)\hat S\|_F + \|(T - I)\hat S(T - I)\|_F`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl.affinity.approximation.certificate import scaling_bound


@dataclass(frozen=True, eq=False)
class Nodes:
    """What the bounds need of the nodes, or of a sample of them.

    Parameters
    ----------
    p : array of shape (n,)
    degrees : array of shape (n,)
        Of Ŵ, without the diagonal if not ``self_loops``.
    self_loops : bool
    each : float
        Number of nodes that each of these stands for.
    """

    p: np.ndarray
    degrees: np.ndarray
    self_loops: bool
    each: float = 1.0

    def total(self, values: np.ndarray) -> float:
        """Sum over all nodes."""
        return self.each * float(values.sum())

    def least(self, error: float) -> np.ndarray:
        """Return lower bounds of the exact degrees, with δ = ``error``."""
        out: np.ndarray = self.degrees - error * self.total(self.p) * self.p
        return out

    def norm(self, values: np.ndarray) -> float:
        """Euclidean norm over all nodes."""
        return math.sqrt(self.each) * float(np.linalg.norm(values))


def core_bound(error: float, nodes: Nodes) -> float:
    """Bound ‖S − Ŝ‖_F for l r = 1/d, with δ = ``error``."""
    d, p = nodes.degrees, nodes.p
    low = nodes.least(error)
    if not (low > 0).all():
        return math.inf
    moved = np.sqrt(d / low) - 1
    # ‖Ŝ_i‖² = Σ_j Ŵ_ij² / (d̂_i d̂_j), and Ŵ_ij ≤ d̂_j but for the errors, so it is at most
    # 1 + slack. W with its loops is positive semi-definite: (S²)_ii ≤ S_ii = p_i²/(d_i + p_i²).
    slack = 1 + 2 * float((d / low).max() - 1)
    full = d if nodes.self_loops else d + p * p
    rows = slack**2 * np.minimum(1.0, float((full / d).max()) * p * p / low)
    first = nodes.norm(moved * np.sqrt(rows))
    return (2 + float(moved.max())) * first + error * nodes.total(p * p / low)


def change_bound(error: float, nodes: Nodes) -> float:
    """Bound max |√(d̂/d) − 1|, and that of the inverse ratio."""
    low = nodes.least(error)
    if not (low > 0).all():
        return math.inf
    return float(np.sqrt(nodes.degrees / low).max()) - 1


def sinkhorn_bound(error: float, nodes: Nodes, scale: np.ndarray, off: float = 0.0) -> float:
    r"""Bound ‖S − Ŝ‖_F for the bistochastic scaling ``scale`` = ŝ, whose row sums are ``off``.

    As for low rank, the exact scaling is ŝ∘u with u the minimum of a self-concordant function, of
    gradient ŝ∘(W ŝ) − 1 and Hessian C + I at 1, C = diag(ŝ) W diag(ŝ). C ≥ −max_i C_ii where W has
    lost its diagonal.
    """
    sp = scale * nodes.p
    largest = float((sp * sp).max())
    convex = 1.0 if nodes.self_loops else 1.0 - largest
    gradient = off + error * nodes.total(sp) * nodes.norm(sp)
    if not convex > 0:
        return math.inf
    row = math.sqrt(min(1.0, largest / convex)) + error * nodes.total(sp)
    return scaling_bound(gradient, row, error * nodes.total(sp * sp), convex)


def combinatorial_bound(error: float, nodes: Nodes) -> float:
    """Bound ‖L − L̂‖_F / ŝ of L = D − W, ŝ the largest degree."""
    p = nodes.p
    size = nodes.norm(p)
    return error * size * (nodes.total(p) + size) / float(nodes.degrees.max())


def forecast(normalization: str, nodes: Nodes) -> float:
    """Estimate the bound per δ from a sample of nodes."""
    tiny = 1e-30
    if normalization == "bistochastic":
        return sinkhorn_bound(tiny, nodes, 1 / np.sqrt(nodes.degrees)) / tiny
    p, d = nodes.p, nodes.degrees
    if normalization == "combinatorial":
        return combinatorial_bound(tiny, nodes) / tiny
    with np.errstate(all="ignore"):  # of degrees that underflow
        moved = nodes.total(p) * p / (2 * d) * np.minimum(1.0, p / np.sqrt(d))
        return 2 * nodes.norm(moved) + nodes.total(p * p / d)


CORE: dict[str, Callable[[float, Nodes], float]] = {
    "random_walk": core_bound,
    "symmetric": core_bound,
    "softmax": core_bound,
    "combinatorial": combinatorial_bound,
}
