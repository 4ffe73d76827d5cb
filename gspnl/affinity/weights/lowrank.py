"""Low-rank storage W = B J Bᵀ, with B of a few columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, float64, like, namespace
from gspnl._base.rows import map_rows, sum_rows
from gspnl.affinity.kernels import Dot, Kernel
from gspnl.affinity.kernels.declarations import built_in
from gspnl.affinity.weights.base import STORAGES, Storage, Weights, item_factor
from gspnl.affinity.weights.no_self_loops import diagonal, widened, without_self_loops

SAMPLE = 256  # nodes from which the relative sizes of Φ and Ψ are estimated


@dataclass(frozen=True, eq=False)
class LowRank(Weights):
    r"""The symmetrised dot product as one tall factor and one small core.

    With embeddings Φ ≠ Ψ, B = [Φ Ψ] and :math:`J = ½\begin{pmatrix}0&I\\I&0\end{pmatrix}`, so that
    :math:`B J B^T = ½(ΦΨ^T + ΨΦ^T)`; with Φ = Ψ, B = Φ and J = I; unsymmetrised (softmax), J holds
    a single I and :math:`B J B^T = ΦΨ^T`.

    Parameters
    ----------
    factor : array of shape (..., N, m)
        B; m = 2r, or r where both embeddings are the same.
    core : array of shape (m, m)
        J.
    approximate : bool
        Whether it approximates other weights, and may be negative where they are not.
    log_factor : float or array of shape (...)
        See :class:`~gspnl.affinity.weights.base.Weights`.
    """

    factor: Array
    core: Array
    approximate: bool = False
    log_factor: Any = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.factor.shape[:-1], self.factor.shape[-2])

    @property
    def like(self) -> Array:
        return self.factor

    @property
    def signed(self) -> bool:
        return self.approximate

    def matmul(self, Z: Array) -> Array:
        small = self.core @ self.heads(Z)
        return map_rows(lambda b: b @ small, self.factor)

    def operations(self, columns: int) -> float:
        return float(4 * self.factor.shape[-2] * self.factor.shape[-1] * columns)

    def heads(self, Z: Array) -> Array:
        """Compute Bᵀ Z, (..., m, c)."""
        (total,) = sum_rows(lambda b, z: (b.mT @ z,), self.factor, Z)
        return like(total, Z)

    def rows(self, index: Array) -> Array:
        chosen = namespace(self.factor).take(self.factor, index, axis=-2)
        return chosen @ self.core @ self.factor.mT

    def item(self, index: tuple[int, ...]) -> LowRank:
        factor = item_factor(self.log_factor, index)
        return LowRank(self.factor[(*index, ...)], self.core, self.approximate, factor)


@diagonal.register
def _(weights: LowRank) -> Array:
    xp, core = namespace(weights.factor), weights.core
    return map_rows(lambda b: xp.sum((b @ core) * b, axis=-1, keepdims=True), weights.factor)[
        ..., 0
    ]


@widened.register
def _(weights: LowRank) -> LowRank:
    return replace(weights, factor=float64(weights.factor), core=float64(weights.core))


@singledispatch
def low_rank(weights: Weights) -> LowRank | None:
    """Return W as a low-rank product where it is stored as one, else None."""
    return None


@low_rank.register
def _(weights: LowRank) -> LowRank:
    return weights


def build_lowrank(
    kernel: Kernel,
    X: Array,
    embed: tuple[Array, Array] | None,
    *,
    symmetrize: bool,
    self_loops: bool,
) -> Weights:
    """Factor the kernel's W of features X (..., N, C); see :class:`~.base.Storage`."""
    xp = namespace(X)
    phi, psi = kernel.embed(X[..., :: max(1, X.shape[-2] // SAMPLE), :], embed)
    paired = psi is not phi
    powers = balance(phi, psi) if paired else None

    # One product for both embeddings, where the kernel maps their entries one by one.
    stacked = None
    if paired and embed is not None and type(kernel) is Dot and built_in(kernel):
        stacked = xp.concat(list(embed), axis=-1)

    def block(x: Array) -> Array:
        if stacked is not None:
            points = kernel.features(x @ stacked)
        else:
            points = xp.concat(list(kernel.embed(x, embed)[: 1 + paired]), axis=-1)
        return points if powers is None else points * powers

    factor = map_rows(block, X)
    weights = LowRank(factor, like(core_of(factor.shape[-1], paired, symmetrize), factor))
    return weights if self_loops else without_self_loops(weights)


def core_of(width: int, paired: bool, symmetrize: bool) -> np.ndarray:
    """Return J for a factor of ``width`` columns: [Φ Ψ] if ``paired``, else Φ."""
    eye = np.eye(width)
    if not paired:
        return eye
    return swap_halves(eye) if symmetrize else np.eye(width, k=width // 2)


def swap_halves(H: Array) -> Array:
    r"""J H for :math:`J = ½\begin{pmatrix}0&I\\I&0\end{pmatrix}`: (..., 2r, c) → (..., 2r, c)."""
    return namespace(H).roll(H, H.shape[-2] // 2, axis=-2) / 2


def balance(phi: Array, psi: Array) -> Array | None:
    """Return factors of the columns of [Φ Ψ], powers of 2, or None where none is needed.

    Column k of Φ times c_k and that of Ψ divided by it have similar largest entries. W does not
    depend on c; the rounding error of G = BᵀB grows with the larger of the two.
    """
    axes = tuple(range(phi.ndim - 1))
    first, second = (np.abs(constant(part)).max(axis=axes) for part in (phi, psi))
    usable = (first > 0) & (first < np.inf) & (second > 0) & (second < np.inf)
    ratio = np.log2(np.where(usable, second, 1.0)) - np.log2(np.where(usable, first, 1.0))
    powers = np.round(ratio / 2)
    if not powers.any():
        return None
    return like(np.exp2(np.concatenate([powers, -powers])), phi)


STORAGES.register("lowrank")(Storage(build_lowrank, supports=lambda kernel: kernel.bilinear))
