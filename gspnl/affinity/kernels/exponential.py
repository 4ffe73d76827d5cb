r"""Exponential kernels f = exp s, computed from their scores s so that nothing overflows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gspnl._base.array import Array, eps, float64, has_float64, like, namespace
from gspnl._base.validate import number
from gspnl.affinity.kernels.base import KERNELS, Kernel
from gspnl.affinity.kernels.scores import (
    DIGITS,
    Differences,
    Products,
    Scores,
    finite_points,
    finite_products,
    report,
    score_error,
)


@dataclass(frozen=True)
class Exponential(Kernel):
    r"""An affinity :math:`f = e^{s}` whose scores are inner products, :math:`s_{ij} = q_i^T k_j`.

    Subclass it rather than :class:`Kernel` for a kernel that is an exponential: its graph is then
    computed from logarithms, correct for scores of any size, and can be computed tile by tile.
    """

    @property
    def positive(self) -> bool:
        return True

    @property
    def bounded(self) -> bool:
        """Whether f ≤ f(x, x) = 1, so that degrees lie in [1, N] with self-loops."""
        return False

    def scores(self, phi: Array, psi: Array) -> tuple[Array, Array]:
        """Return (q, k) with log f = q kᵀ: (..., n, r), (..., m, r) → (..., n, t), (..., m, t).

        q and k are one object only if φ and ψ are and s is symmetric.
        """
        return phi, psi

    def root(self, points: Array) -> tuple[Array, Array] | None:
        r"""Return (a, h) with :math:`\log f(x, y) = ⟨a(x), a(y)⟩ - h(x) - h(y)`, or None.

        Points (..., n, r) → a (..., n, t), h (..., n, 1). With such a root, M of points with
        themselves is positive semi-definite, and the graph can be approximated by one of low rank.
        None states that no root is known.
        """
        return None

    def differences(self, X: Array) -> Differences | None:
        """Return the scores of features X with themselves by differences, or None.

        Differences of near features do not cancel, however far the features are from 0. None states
        that the scores have no such formula.
        """
        return None

    def score_error(self, q: Array, k: Array, *, same: bool) -> float:
        """Bound the rounding error of q kᵀ; ``same``: q and k are of the same points."""
        return score_error(q, k, same=same)

    def affinity(self, phi: Array, psi: Array) -> Array:
        s = accurate_products(self, phi, psi)
        xp = namespace(s)
        with np.errstate(over="ignore"):  # degrees report an overflow
            return like(xp.exp(xp.clip(s, max=0) if self.bounded else s), phi)


def accurate_products(kernel: Exponential, phi: Array, psi: Array) -> Array:
    """Compute the scores of two sets of points, in float64 where the dtype is too coarse."""
    q, k = kernel.scores(phi, psi)
    error = kernel.score_error(q, k, same=psi is phi)
    if not error <= DIGITS[eps(q)] and has_float64(q):
        first = float64(phi)
        q, k = kernel.scores(first, first if psi is phi else float64(psi))
        error = kernel.score_error(q, k, same=psi is phi)
    if error < math.inf:  # degrees report an overflow
        report(error, phi)
    return q @ k.mT


def accurate_scores(
    kernel: Exponential, X: Array, embed: tuple[Array, Array] | None
) -> tuple[Scores, bool]:
    """Return the scores of features X (..., N, C), and whether φ and ψ are the same points.

    Three formulas are tried, from the cheapest: inner products in the dtype of X; the same in
    float64, from the features on; differences, for a kernel that has them.

    Raises
    ------
    DegreeError
        Where no formula leaves any digits, or scores overflow.

    Warns
    -----
    PrecisionWarning
        Where weights are off by more than :data:`FEW_DIGITS`.
    """
    limit = DIGITS[eps(X)]
    phi, psi = kernel.embed(X, embed)
    same = psi is phi
    q, k = kernel.scores(phi, psi)
    error = kernel.score_error(q, k, same=same)
    if not error <= limit and X.dtype != namespace(X).float64 and has_float64(X):
        pair = None
        if embed is not None:
            first = float64(embed[0])
            pair = (first, first if embed[1] is embed[0] else float64(embed[1]))
        q, k = (float64(part) for part in kernel.scores(*kernel.embed(float64(X), pair)))
        error = kernel.score_error(q, k, same=same)
    if not error <= limit:
        found = kernel.differences(X)
        if found is not None:
            return finite_points(found), same
    if math.isfinite(error):
        report(error, X)
    return finite_products(Products(q, k), X), same


@KERNELS.register("gaussian")
@dataclass(frozen=True)
class Gaussian(Exponential):
    r"""The nonlocal network's Gaussian, :math:`\exp\langle x_i, x_j\rangle`."""

    def root(self, points: Array) -> tuple[Array, Array]:
        return points, 0 * points[..., :1]


@KERNELS.register("embedded_gaussian")
@dataclass(frozen=True)
class EmbeddedGaussian(Exponential):
    r""":math:`\exp(\langle φ_i, ψ_j\rangle / τ)`, the affinity of softmax attention.

    Parameters
    ----------
    temperature : float
        τ > 0; √r for scaled attention.
    """

    embedding: ClassVar[Literal["matrices"]] = "matrices"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        number("temperature", self.temperature, above=0)

    def scores(self, phi: Array, psi: Array) -> tuple[Array, Array]:
        return phi if self.temperature == 1 else phi / self.temperature, psi

    def root(self, points: Array) -> tuple[Array, Array]:
        return points / self.temperature**0.5, 0 * points[..., :1]
