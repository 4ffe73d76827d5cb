"""W with all its N² entries in memory."""

from __future__ import annotations

from dataclasses import dataclass

from gspnl._array import Array, check_fits, namespace, transpose
from gspnl._rows import map_rows
from gspnl.kernels import Kernel
from gspnl.weights.base import STORAGES, Storage, Weights


@dataclass(frozen=True, eq=False)
class Dense(Weights):
    """A stored matrix.

    Parameters
    ----------
    matrix : array of shape (..., N, N)
    symmetric : bool
        Whether it equals its transpose.
    """

    matrix: Array
    symmetric: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.matrix.shape)

    @property
    def like(self) -> Array:
        return self.matrix

    def matmul(self, Z: Array) -> Array:
        if not self.symmetric:
            return self.matrix @ Z
        # A few rows times a matrix runs 1.5 times as fast as a matrix times a few columns.
        return transpose(transpose(Z) @ self.matrix)

    def rows(self, index: Array) -> Array:
        return namespace(self.matrix).take(self.matrix, index, axis=-2)

    def item(self, index: tuple[int, ...]) -> Dense:
        return Dense(self.matrix[(*index, ...)], self.symmetric)


def build_dense(
    kernel: Kernel,
    X: Array,
    embed: tuple[Array, Array] | None,
    *,
    symmetrize: bool,
    self_loops: bool,
) -> Dense:
    """Store the kernel's W of features X (..., N, C); see :class:`~gspnl.weights.base.Storage`."""
    n = X.shape[-2]
    remedy = "use storage='lowrank'" if kernel.bilinear else "use fewer nodes or a low-rank kernel"
    check_fits((*X.shape[:-1], n), X, "a dense weight matrix", remedy)
    xp = namespace(X)
    phi, psi = kernel.embed(X, embed)
    nodes = xp.arange(n)

    # By blocks of rows: M, Mᵀ and their temporaries never stand beside W.
    def block(phi_rows: Array, psi_rows: Array, index: Array) -> Array:
        part = kernel.affinity(phi_rows, psi)
        if symmetrize and psi is not phi:
            part = (part + transpose(kernel.affinity(phi, psi_rows))) / 2
        return part if self_loops else xp.where(index == nodes, xp.zeros_like(part), part)

    matrix = map_rows(block, phi, psi, nodes[:, None], columns=n)
    return Dense(matrix, symmetric=symmetrize)


STORAGES.register("dense")(Storage(build_dense, supports=lambda kernel: True))
