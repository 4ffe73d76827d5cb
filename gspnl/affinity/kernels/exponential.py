r"""Exponential kernels f = exp s, computed from their scores s so that nothing overflows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gspnl._base.array import (
    Array,
    constant,
    eps,
    float64,
    is_numpy,
    like,
    namespace,
    ones,
)
from gspnl._base.validate import number
from gspnl.affinity.kernels.base import KERNELS, Kernel
from gspnl.errors import DegreeError

DIGITS = 3e-5  # largest rounding error of a score up to which it is computed in float32
NO_DIGITS = 0.1  # largest rounding error accepted at all: e^s is then off by a tenth


@dataclass(frozen=True)
class Exponential(Kernel):
    r"""An affinity :math:`f = e^{s}` whose scores are inner products, :math:`s_{ij} = q_i^T k_j`.

    Subclass it rather than :class:`Kernel` for a kernel that is an exponential: its graph is then
    computed from logarithms, correct for scores of any size, and can be computed tile by tile.
    """

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

    def fine_scores(self, phi: Array, psi: Array) -> tuple[Array, Array]:
        """Compute :meth:`scores`, in float64 where float32 is less accurate than :data:`DIGITS`.

        Scores of some hundreds, and distances between features of thousands of σ, cancel. Only
        NumPy arrays go to float64: other devices may be slow in it, or not have it.

        Raises
        ------
        DegreeError
            Where the scores have no digits left.
        """
        q, k = self.scores(phi, psi)
        size = _size(constant(q), constant(k), same=psi is phi)
        if not DIGITS < size * eps(q) < math.inf:  # degrees report an overflow
            return q, k
        if is_numpy(q):
            q, k = self.scores(float64(phi), float64(psi))
        if size * eps(q) > NO_DIGITS:
            raise DegreeError(
                f"scores of this kernel are differences of numbers around {size:.1e}, of which "
                f"{q.dtype} leaves no digits; scale the features down, raise temperature= or "
                "sigma=, or use float64"
            )
        return q, k

    def affinity(self, phi: Array, psi: Array) -> Array:
        q, k = self.fine_scores(phi, psi)
        s = q @ k.mT
        xp = namespace(s)
        with np.errstate(over="ignore"):  # degrees report an overflow
            return like(xp.exp(xp.clip(s, max=0) if self.bounded else s), phi)


def _size(q: np.ndarray, k: np.ndarray, *, same: bool) -> float:
    """Bound Σ_t |q_it k_jt|, which gives the rounding error of s_ij."""
    with np.errstate(over="ignore", invalid="ignore"):
        if same:  # by Cauchy-Schwarz, a node with itself gives the largest sum
            return float(np.abs(q * k).sum(-1).max(initial=0.0))
        norms = [float(np.sqrt((p * p).sum(-1)).max(initial=0.0)) for p in (q, k)]
        axes = tuple(range(q.ndim - 1))
        columns = [np.abs(p).max(axis=axes, initial=0.0) for p in (q, k)]
        return min(math.prod(norms), float((columns[0] * columns[1]).sum()))


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


@KERNELS.register("rbf")
@dataclass(frozen=True)
class RBF(Exponential):
    r""":math:`\exp(-\|x_i - x_j\|^2 / 2σ^2)`.

    Parameters
    ----------
    sigma : float
        σ > 0, in the units of the features.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        number("sigma", self.sigma, above=0)

    @property
    def bounded(self) -> bool:
        return True

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        # Distances do not depend on the mean, but their rounding error does.
        points = (X - namespace(X).mean(X, axis=-2, keepdims=True)) / self.sigma
        return points, points

    def scores(self, phi: Array, psi: Array) -> tuple[Array, Array]:
        xp = namespace(phi)
        halves = [xp.sum(p * p, axis=-1, keepdims=True) / -2 for p in (phi, psi)]
        units = [ones((*p.shape[:-1], 1), p) for p in (phi, psi)]
        q = xp.concat([phi, halves[0], units[0]], axis=-1)
        return q, xp.concat([psi, units[1], halves[1]], axis=-1)

    def root(self, points: Array) -> tuple[Array, Array]:
        return points, namespace(points).sum(points * points, axis=-1, keepdims=True) / 2
