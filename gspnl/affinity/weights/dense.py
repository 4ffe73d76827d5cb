"""Dense storage: all N² entries of W in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, check_fits, constant64, is_numpy, namespace
from gspnl._base.blas import one_thread
from gspnl._base.rows import map_columns, map_rows
from gspnl.affinity.kernels import Exponential, Kernel
from gspnl.affinity.weights.base import STORAGES, Storage, Weights, item_factor
from gspnl.affinity.weights.tiled import build_tiled

LARGE = 1024  # nodes above which products are shared out over threads
FEW = 8  # columns up to which BLAS's own threads are as fast beside other work as one alone


@dataclass(frozen=True, eq=False)
class Dense(Weights):
    """A stored matrix.

    Parameters
    ----------
    matrix : array of shape (..., N, N)
    symmetric : bool
        Whether it equals its transpose.
    log_factor : float or array of shape (...)
        See :class:`~gspnl.affinity.weights.base.Weights`.
    """

    matrix: Array
    symmetric: bool = False
    log_factor: Any = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.matrix.shape)

    @property
    def like(self) -> Array:
        return self.matrix

    def matmul(self, Z: Array) -> Array:
        W = self.matrix
        large = W.ndim == Z.ndim == 2 and W.shape[0] >= LARGE
        if large and Z.shape[-1] <= FEW:
            with one_thread.lifted():
                return (Z.mT @ W).mT if self.symmetric else W @ Z
        if not self.symmetric:
            return map_rows(lambda w: w @ Z, W) if large else W @ Z
        # A few rows times a matrix are 1.5 times as fast as a matrix times a few columns.
        if not large:
            return (Z.mT @ W).mT
        across = Z.mT.copy() if is_numpy(Z) else Z.mT  # read once for each block
        return map_columns(lambda w: across @ w, W).mT

    def rows(self, index: Array) -> Array:
        return namespace(self.matrix).take(self.matrix, index, axis=-2)

    def item(self, index: tuple[int, ...]) -> Dense:
        factor = item_factor(self.log_factor, index)
        return Dense(self.matrix[(*index, ...)], self.symmetric, factor)


def build_dense(
    kernel: Kernel,
    X: Array,
    embed: tuple[Array, Array] | None,
    *,
    symmetrize: bool,
    self_loops: bool,
) -> Dense:
    """Store the kernel's W of features X (..., N, C); see :class:`~.base.Storage`."""
    n = X.shape[-2]
    remedy = f"use storage={'lowrank' if kernel.bilinear else 'tiled'!r}"
    check_fits((*X.shape[:-1], n), X, "a dense weight matrix", remedy)
    xp = namespace(X)
    phi, psi = kernel.embed(X, embed)
    nodes = xp.arange(n)
    if isinstance(kernel, Exponential) and (kernel.bounded or _may_overflow(kernel, phi, psi)):
        tiles = build_tiled(kernel, X, embed, symmetrize=symmetrize, self_loops=self_loops)
        matrix = map_rows(lambda index: tiles.rows(index[:, 0]), nodes[:, None], columns=n)
        return Dense(matrix, symmetrize, tiles.log_factor)

    # By blocks of rows, so that M, Mᵀ and temporaries never take N² entries besides W.
    def block(phi_rows: Array, psi_rows: Array, index: Array) -> Array:
        part = kernel.affinity(phi_rows, psi)
        if symmetrize and psi is not phi:
            part = (part + kernel.affinity(phi, psi_rows).mT) / 2
        return part if self_loops else xp.where(index == nodes, xp.zeros_like(part), part)

    matrix = map_rows(block, phi, psi, nodes[:, None], columns=n)
    return Dense(matrix, symmetric=symmetrize)


def _may_overflow(kernel: Exponential, phi: Array, psi: Array) -> bool:
    """Tell whether some exp s, or a degree, might overflow, so that logarithms are needed."""
    pair = [constant64(part) for part in kernel.scores(phi, psi)]
    with np.errstate(over="ignore"):
        bound = math.prod(float(np.sqrt((part**2).sum(-1)).max()) for part in pair)
    return not bound < 0.4 * math.log(float(namespace(phi).finfo(phi.dtype).max))


STORAGES.register("dense")(Storage(build_dense, supports=lambda kernel: True))
