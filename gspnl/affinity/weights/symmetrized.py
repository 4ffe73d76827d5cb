r"""Weights ½(diag(s) M + Mᵀ diag(s)) of a directed M whose rows are scaled, in the storage of M.

With s = π/d they are those of the walk A = diag(1/d) M averaged over both directions of time,
½(ΠA + AᵀΠ).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np

from gspnl._base.array import Array, constant, like, namespace
from gspnl._base.rows import map_rows
from gspnl.affinity.weights.adjoint import rmatmul
from gspnl.affinity.weights.base import Weights
from gspnl.affinity.weights.dense import Dense
from gspnl.affinity.weights.lowrank import LowRank, balance, core_of
from gspnl.affinity.weights.no_self_loops import NoSelfLoops
from gspnl.affinity.weights.sparse import Sparse
from gspnl.affinity.weights.tiled import Tiled
from gspnl.affinity.weights.tiles import Pattern


@singledispatch
def is_symmetric(weights: Weights) -> bool:
    """Tell whether M equals its transpose, as far as its storage shows it without products."""
    return False


@is_symmetric.register
def _(weights: Dense) -> bool:
    values = constant(weights.matrix)
    return weights.symmetric or bool((values == np.swapaxes(values, -1, -2)).all())


@is_symmetric.register
def _(weights: LowRank) -> bool:
    core = constant(weights.core)
    return bool((core == core.T).all())


@is_symmetric.register
def _(weights: Tiled) -> bool:
    return weights.pattern is Pattern.HALF


@is_symmetric.register
def _(weights: Sparse) -> bool:
    return bool((weights.stored != weights.stored.T).nnz == 0)


@is_symmetric.register
def _(weights: NoSelfLoops) -> bool:
    return is_symmetric(weights.full)


@dataclass(frozen=True, eq=False)
class Symmetrized(Weights):
    """½(diag(s) M + Mᵀ diag(s)) by products with M and its transpose, of one graph.

    Parameters
    ----------
    full : Weights
        M.
    scale : array of shape (N,)
        s.
    """

    full: Weights
    scale: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.full.shape

    @property
    def like(self) -> Array:
        return self.full.like

    def matmul(self, Z: Array) -> Array:
        xp = namespace(Z)
        columns = xp.reshape(xp.moveaxis(Z, -2, 0), (self.shape[0], -1))
        scale = like(self.scale, Z)[:, None]
        out = (scale * self.full.matmul(columns) + rmatmul(self.full, scale * columns)) / 2
        return xp.moveaxis(xp.reshape(out, (self.shape[0], *Z.shape[:-2], Z.shape[-1])), 0, -2)

    def rows(self, index: Array) -> Array:
        xp = namespace(self.like)
        unit = like(xp.arange(self.shape[0])[:, None] == index, self.like)
        return self.matmul(unit).mT

    def operations(self, columns: int) -> float:
        return 2 * self.full.operations(columns)

    def item(self, index: tuple[int, ...]) -> Symmetrized:
        return self


@singledispatch
def symmetrized(weights: Weights, scale: Array) -> Weights:
    """Return ½(diag(s) M + Mᵀ diag(s)) for weights M and s, (..., N); constant if M is symmetric.

    Weights of a storage that is not registered here are computed by products with M and Mᵀ.
    """
    return Symmetrized(weights, scale)


@symmetrized.register
def _(weights: Dense, scale: Array) -> Dense:
    scaled = scale[..., None] * weights.matrix
    return Dense((scaled + scaled.mT) / 2, symmetric=True)


@symmetrized.register
def _(weights: LowRank, scale: Array) -> LowRank:
    factor, width = weights.factor, weights.factor.shape[-1] // 2
    xp = namespace(factor)
    if is_symmetric(weights):
        root = xp.sqrt(scale)[..., None]
        return replace(weights, factor=map_rows(lambda b, s: b * s, factor, root), log_factor=0.0)
    phi, psi = scale[..., None] * factor[..., :width], factor[..., width:]
    powers = balance(phi, psi)
    both = xp.concat([phi, psi], axis=-1)
    both = both if powers is None else both * powers
    core = like(core_of(2 * width, True, True), factor)
    return LowRank(both, core, weights.approximate)


@symmetrized.register
def _(weights: Tiled, scale: Array) -> Tiled:
    pattern = Pattern.BOTH if weights.pattern is Pattern.PLAIN else weights.pattern
    return replace(weights, pattern=pattern, scale=scale, log_factor=0.0)


@symmetrized.register
def _(weights: Sparse, scale: Array) -> Sparse:
    at = scale if weights.order is None else scale[weights.order]
    scaled = weights.stored.multiply(at[:, None]).tocsr()
    both = (scaled + scaled.T).tocsr()
    both.data *= 0.5  # SciPy's division would give float64
    both.sort_indices()
    both.eliminate_zeros()
    return Sparse(both, 0.0, weights.order)


@symmetrized.register
def _(weights: NoSelfLoops, scale: Array) -> NoSelfLoops:
    wide = like(scale, weights.diagonal)
    return NoSelfLoops(
        symmetrized(weights.full, wide), wide * weights.diagonal, weights.template, weights.live
    )
