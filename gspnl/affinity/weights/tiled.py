"""Tiled storage: W is recomputed tile by tile in each product; N² time, O(N) memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, namespace
from gspnl.affinity.kernels import Exponential, Kernel
from gspnl.affinity.kernels.exponential import accurate_scores
from gspnl.affinity.weights.base import STORAGES, Storage, Weights
from gspnl.affinity.weights.exponential import TiledExponential, side_by_side
from gspnl.affinity.weights.stacked import stacked
from gspnl.affinity.weights.tiles import Pattern, set_diagonal, strips, threaded, tile_products


@dataclass(frozen=True, eq=False)
class Tiled(Weights):
    """Weights of any kernel, evaluated on the tiles of M.

    Parameters
    ----------
    kernel : Kernel
    phi, psi : arrays of shape (N, r)
        Embedded points.
    pattern : Pattern
        Relation of W to M.
    self_loops : bool
    log_factor : float
        See :class:`~gspnl.affinity.weights.base.Weights`.
    scale : array of shape (N,), optional
        Factors of the rows of M, one and the same where M is symmetric.
    """

    kernel: Kernel
    phi: Array
    psi: Array
    pattern: Pattern
    self_loops: bool = True
    log_factor: float = 0.0
    scale: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.phi.shape[0], self.psi.shape[0])

    @property
    def like(self) -> Array:
        return self.phi

    def matmul(self, Z: Array) -> Array:
        if Z.ndim > 2:
            return side_by_side(self.matmul, Z)
        if not threaded(self.phi, self.psi, Z):
            return strips(lambda nodes: self.rows(nodes) @ Z, self.shape[0], Z)

        def fill(rows: slice, cols: slice, tile: np.ndarray) -> None:
            tile[...] = self.kernel.affinity(self.phi[rows], self.psi[cols])
            if self.scale is not None:
                tile *= self.scale[rows, None]
            if not self.self_loops:
                set_diagonal(tile, rows, cols, 0.0)

        return tile_products(fill, Z, self.pattern)

    def rmatmul(self, Z: Array) -> Array:
        """Compute Mᵀ Z of one graph, (N, c)."""

        def fill(rows: slice, cols: slice, tile: np.ndarray) -> None:
            tile[...] = self.kernel.affinity(self.phi[cols], self.psi[rows]).T
            if not self.self_loops:
                set_diagonal(tile, rows, cols, 0.0)

        return tile_products(fill, Z, self.pattern)

    def rows(self, index: Array) -> Array:
        xp = namespace(self.phi)
        part = self.kernel.affinity(xp.take(self.phi, index, axis=0), self.psi)
        if self.scale is not None:
            part = xp.take(self.scale, index)[:, None] * part
        if self.pattern is Pattern.BOTH:
            columns = self.kernel.affinity(self.phi, xp.take(self.psi, index, axis=0)).mT
            columns = columns if self.scale is None else columns * self.scale
            part = (part + columns) / 2
        if self.self_loops:
            return part
        return xp.where(index[:, None] == xp.arange(self.shape[-1]), xp.zeros_like(part), part)

    def operations(self, columns: int) -> float:
        return self.pattern.operations(self.shape, self.phi.shape[-1], columns)

    def item(self, index: tuple[int, ...]) -> Tiled:
        return self


def build_tiled(
    kernel: Kernel,
    X: Array,
    embed: tuple[Array, Array] | None,
    *,
    symmetrize: bool,
    self_loops: bool,
) -> Weights:
    """Embed features X (..., N, C); see :class:`~gspnl.affinity.weights.base.Storage`."""
    if isinstance(kernel, Exponential):
        return _exponential(kernel, X, embed, symmetrize, self_loops)
    phi, psi = kernel.embed(X, embed)
    pattern = _pattern(psi is phi, symmetrize)
    # Copied, as they are read at every product: a user may change X.
    first, second = (part + 0 if part is X else part for part in (phi, psi))

    def one(index: tuple[int, ...]) -> Weights:
        return Tiled(kernel, first[(*index, ...)], second[(*index, ...)], pattern, self_loops)

    return stacked(one, tuple(X.shape[:-2]))


def _exponential(
    kernel: Exponential,
    X: Array,
    embed: tuple[Array, Array] | None,
    symmetrize: bool,
    self_loops: bool,
) -> Weights:
    scores, same = accurate_scores(kernel, X, embed)
    pattern = _pattern(same, symmetrize)

    def one(index: tuple[int, ...]) -> Weights:
        sample = 0 * X[(*index, ...)][:1, :1]
        return TiledExponential(scores.item(index), sample, pattern, self_loops, kernel.bounded)

    return stacked(one, tuple(X.shape[:-2]))


def _pattern(same: bool, symmetrize: bool) -> Pattern:
    both = Pattern.BOTH if symmetrize else Pattern.PLAIN
    return Pattern.HALF if same else both


STORAGES.register("tiled")(Storage(build_tiled, supports=lambda kernel: True))
