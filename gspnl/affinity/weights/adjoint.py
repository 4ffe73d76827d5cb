"""Products Wᵀ Z with nonsymmetric weights, for the adjoint of a softmax graph."""

from __future__ import annotations

from functools import singledispatch

from gspnl._base.array import Array, float64, namespace
from gspnl._base.rows import map_columns
from gspnl.affinity.weights.base import Weights
from gspnl.affinity.weights.dense import Dense
from gspnl.affinity.weights.exponential import TiledExponential
from gspnl.affinity.weights.lowrank import LowRank
from gspnl.affinity.weights.no_self_loops import NoSelfLoops
from gspnl.affinity.weights.sorted import Ramps, Sorted
from gspnl.affinity.weights.sparse import Sparse
from gspnl.affinity.weights.tiled import Tiled
from gspnl.affinity.weights.tiles import STRIP, Pattern, threaded


@singledispatch
def rmatmul(weights: Weights, Z: Array) -> Array:
    """Compute Wᵀ Z of one graph, (N, c); by default from strips of rows of W, in N² time."""
    return _by_strips(weights, Z)


def _by_strips(weights: Weights, Z: Array) -> Array:
    xp = namespace(Z)
    n = weights.shape[-1]
    step = max(1, STRIP // n)
    total = xp.zeros_like(Z)
    for first in range(0, n, step):
        nodes = xp.arange(first, min(first + step, n))
        total = total + weights.rows(nodes).mT @ xp.take(Z, nodes, axis=0)
    return total


@rmatmul.register
def _(weights: Dense, Z: Array) -> Array:
    return map_columns(lambda w: Z.mT @ w, weights.matrix).mT


@rmatmul.register
def _(weights: Sparse, Z: Array) -> Array:
    return weights.matrix.T @ Z


@rmatmul.register
def _(weights: TiledExponential, Z: Array) -> Array:
    plain = weights.pattern is Pattern.PLAIN
    return weights.rmatmul(Z) if plain else weights.matmul(Z)


@rmatmul.register
def _(weights: Tiled, Z: Array) -> Array:
    if weights.pattern is not Pattern.PLAIN:
        return weights.matmul(Z)
    plain = threaded(weights.phi, weights.psi, Z)
    return weights.rmatmul(Z) if plain else _by_strips(weights, Z)


@rmatmul.register
def _(weights: LowRank, Z: Array) -> Array:
    return LowRank(weights.factor, weights.core.mT).matmul(Z)


@rmatmul.register
def _(weights: NoSelfLoops, Z: Array) -> Array:
    return weights.rmatmul(Z, rmatmul)


@rmatmul.register
def _(weights: Sorted, Z: Array) -> Array:
    if len(weights.ramps) == 2:  # ½(M + Mᵀ)
        return weights.matmul(Z)
    ramps = (Ramps.of(float64(weights.a), -float64(weights.b)),)
    return Sorted(weights.b, weights.a, ramps).matmul(Z)
