r"""Degrees and averages of :math:`W = e^{S}` by logarithms that cannot overflow.

One sweep gives :math:`\log d` and :math:`D^{-1} W Z` together: each tile is taken relative to its
own largest score, and each block of nodes has its sums relative to the largest so far.
"""

from __future__ import annotations

import math

import numpy as np

from gspnl._base.array import Array, constant, constant64, like, namespace, ones
from gspnl._base.rows import on_cores
from gspnl.affinity.kernels.scores import Scores
from gspnl.affinity.weights.tiles import TILE, Pattern, cut, set_diagonal, strips, threaded


def averages(
    scores: Scores, Z: Array, pattern: Pattern, self_loops: bool
) -> tuple[Array, np.ndarray]:
    """Return D⁻¹ W Z, (N, c), and log d, (N,); the logarithms carry no gradient."""
    if not threaded(scores.sample, Z):
        return _by_strips(scores, Z, pattern, self_loops)
    V = np.concatenate([Z, np.ones((len(Z), 1), Z.dtype)], axis=1)
    found = _one_sweep(scores, V, pattern, self_loops)
    if found is None:
        found = _two_sweeps(scores, V, pattern, self_loops)
    sums, logs = found
    logs += np.log(sums[:, -1]) - math.log(2) * (pattern is Pattern.BOTH)
    return sums[:, :-1] / sums[:, -1:], logs


def _one_sweep(
    scores: Scores, V: np.ndarray, pattern: Pattern, self_loops: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return sums and the logarithms they are relative to, or None where a node underflows.

    Entries of a tile below the least normal number times its largest entry underflow to 0.
    """
    n = len(V)

    def share(worker: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
        sums, tops = np.zeros_like(V), np.full(-(-n // TILE), -np.inf)
        buffer = np.empty(min(TILE, n) ** 2, V.dtype)

        def add(nodes: slice, part: np.ndarray, top: float) -> None:
            at = nodes.start // TILE
            if top > tops[at]:
                sums[nodes] *= math.exp(tops[at] - top)
                tops[at] = top
            sums[nodes] += part * V.dtype.type(math.exp(top - tops[at]))

        for rows, cols in pattern.tiles(n, worker, workers):
            tile = _scores(scores, rows, cols, buffer, self_loops)
            top = float(tile.max())
            if top == -np.inf:  # a tile of one node without its self-loop
                continue
            tile -= V.dtype.type(top)
            np.exp(tile, out=tile)
            add(rows, tile @ V[cols], top)
            if pattern is Pattern.BOTH or (pattern is Pattern.HALF and rows != cols):
                add(cols, tile.T @ V[rows], top)
        return sums, tops

    shares = on_cores(share)
    top = np.max([tops for _, tops in shares], axis=0)
    logs = np.repeat(top, TILE)[:n]
    total = np.zeros_like(V)
    for sums, tops in shares:
        total += sums * np.exp(np.repeat(tops - top, TILE)[:n, None]).astype(V.dtype)
    limits = np.finfo(V.dtype)
    enough = n * float(limits.smallest_normal) / float(limits.eps)
    return (total, logs) if total[:, -1].min() >= enough else None


def _two_sweeps(
    scores: Scores, V: np.ndarray, pattern: Pattern, self_loops: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Use one maximum for every node: two exponentials a pair, accurate for any range."""
    n = len(V)

    def largest(worker: int, workers: int) -> np.ndarray:
        tops = np.full(n, -np.inf, V.dtype)
        buffer = np.empty(min(TILE, n) ** 2, V.dtype)
        for rows, cols in pattern.tiles(n, worker, workers):
            tile = _scores(scores, rows, cols, buffer, self_loops)
            tops[rows] = np.maximum(tops[rows], tile.max(1))
            if pattern is not Pattern.PLAIN:
                tops[cols] = np.maximum(tops[cols], tile.max(0))
        return tops

    tops = np.max(on_cores(largest), axis=0)

    def share(worker: int, workers: int) -> np.ndarray:
        sums = np.zeros_like(V)
        buffer = np.empty(min(TILE, n) ** 2, V.dtype)
        for rows, cols in pattern.tiles(n, worker, workers):
            tile = _scores(scores, rows, cols, buffer, self_loops)
            sums[rows] += np.exp(tile - tops[rows, None]) @ V[cols]
            if pattern is Pattern.BOTH or (pattern is Pattern.HALF and rows != cols):
                sums[cols] += np.exp(tile - tops[None, cols]).T @ V[rows]
        return sums

    return np.sum(on_cores(share), axis=0), tops.astype(np.float64)


def _scores(
    scores: Scores, rows: slice, cols: slice, buffer: np.ndarray, self_loops: bool
) -> np.ndarray:
    tile = cut(buffer, rows, cols)
    scores.tile(rows, cols, tile)
    if not self_loops:
        set_diagonal(tile, rows, cols, -np.inf)
    return tile


def _by_strips(
    scores: Scores, Z: Array, pattern: Pattern, self_loops: bool
) -> tuple[Array, np.ndarray]:
    """Apply the plain formula to a strip of rows at a time, in any library."""
    xp = namespace(Z)
    n, nodes = Z.shape[0], xp.arange(Z.shape[0])
    V = xp.concat([Z, ones((n, 1), Z)], axis=-1)
    logs: list[np.ndarray] = []

    def strip(index: Array) -> Array:
        parts = [scores.strip(index)]
        if pattern is Pattern.BOTH:
            parts.append(scores.columns(index))
        if not self_loops:
            on = index[:, None] == nodes
            parts = [xp.where(on, -xp.inf * xp.ones_like(s), s) for s in parts]
        top = np.max([constant(s).max(-1) for s in parts], axis=0)
        sums = sum(xp.exp(s - like(top, Z)[:, None]) @ V for s in parts)
        logs.append(top + np.log(constant64(sums[:, -1]) / len(parts)))
        return sums[:, :-1] / sums[:, -1:]

    return strips(strip, n, Z), np.concatenate(logs)
