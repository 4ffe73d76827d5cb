"""W = B J Bᵀ with B of a few columns: every edge present, none of them stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl._array import Array, like, namespace, transpose
from gspnl._rows import map_rows
from gspnl.errors import InputError
from gspnl.kernels import Kernel
from gspnl.weights.base import STORAGES, Storage, Weights
from gspnl.weights.hollow import Hollow


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
    """

    factor: Array
    core: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.factor.shape[:-1], self.factor.shape[-2])

    @property
    def like(self) -> Array:
        return self.factor

    def matmul(self, Z: Array) -> Array:
        return self.factor @ (self.core @ (transpose(self.factor) @ Z))

    def rows(self, index: Array) -> Array:
        chosen = namespace(self.factor).take(self.factor, index, axis=-2)
        return chosen @ self.core @ transpose(self.factor)

    def item(self, index: tuple[int, ...]) -> LowRank:
        return LowRank(self.factor[index], self.core)

    def diagonal(self) -> Array:
        """Diagonal of W, (..., N)."""
        xp = namespace(self.factor)
        return map_rows(lambda b: xp.sum((b @ self.core) * b, axis=-1, keepdims=True), self.factor)[
            ..., 0
        ]


def build_lowrank(
    kernel: Kernel,
    X: Array,
    embed: tuple[Array, Array] | None,
    *,
    symmetrize: bool,
    self_loops: bool,
) -> Weights:
    """Factor the kernel's W of features X (..., N, C); see :class:`~gspnl.weights.base.Storage`."""
    if not kernel.bilinear:
        raise InputError(
            f"storage='lowrank' holds inner products only, and the {type(kernel).__name__} kernel is "
            "none; use storage='dense', or kernel='dot', 'cosine' or 'anchors'"
        )
    xp = namespace(X)

    def block(x: Array) -> Array:
        phi, psi = kernel.embed(x, embed)
        return phi if psi is phi else xp.concat([phi, psi], axis=-1)

    factor = map_rows(block, X)
    paired = embed is not None and embed[0] is not embed[1]
    core = np.eye(factor.shape[-1] // (2 if paired else 1))
    if paired:
        core = np.kron([[0, 0.5], [0.5, 0]] if symmetrize else [[0, 1], [0, 0]], core)
    weights = LowRank(factor, like(core, factor))
    return weights if self_loops else Hollow(weights, weights.diagonal())


STORAGES.register("lowrank")(Storage(build_lowrank, supports=lambda kernel: kernel.bilinear))
