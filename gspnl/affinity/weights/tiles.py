"""Products by tiles of a matrix that is not stored, on all cores.

A tile M_IJ is computed, multiplied while it is in the cache (M_IJ z_J for the rows, M_IJᵀ z_I for
the columns), and overwritten: one evaluation of the kernel for each pair, O(N) memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import numpy as np

from gspnl._base.array import Array, is_numpy, namespace
from gspnl._base.effort import work
from gspnl._base.rows import on_cores
from gspnl.affinity.weights.choice import EXP

TILE = 512  # measured, float32 and float64: 512 × 512 is the best of 256, 512, 768 and 1,024
INSTEAD = "approximate by rank=, or take another kernel"
SHORT = 16_384  # nodes up to which a product takes less than a second
STRIP = 1 << 22  # entries of a strip of rows, for libraries other than NumPy

Fill = Callable[[slice, slice, np.ndarray], None]


class Pattern(Enum):
    """Relation of W to the matrix M whose tiles are computed."""

    HALF = "W = M, which is symmetric: tiles above the diagonal, both ways"
    BOTH = "W = ½(M + Mᵀ): every tile, both ways"
    PLAIN = "W = M: every tile, one way"

    def tiles(self, n: int, worker: int, workers: int) -> Iterator[tuple[slice, slice]]:
        """Return the (rows, columns) of the tiles of one worker."""
        cuts = [slice(i, min(i + TILE, n)) for i in range(0, n, TILE)]
        pairs = [(a, b) for i, a in enumerate(cuts) for b in cuts[i * (self is Pattern.HALF) :]]
        return iter(pairs[worker::workers])

    def operations(self, shape: tuple[int, ...], width: int, columns: int) -> float:
        """Count the operations of a sweep over points of ``width`` coordinates."""
        pairs = shape[-2] * shape[-1] / (2 if self is Pattern.HALF else 1)
        return float(pairs * (2 * width + EXP + 4 * columns))


def tile_products(fill: Fill, Z: np.ndarray, pattern: Pattern) -> np.ndarray:
    """Compute W Z, (N, c), from the tiles that ``fill(rows, cols, out)`` writes."""
    n = Z.shape[0]
    Z = np.ascontiguousarray(Z)
    if n <= SHORT:
        return _tile_products(fill, Z, pattern, None)
    pairs = (n / TILE) ** 2 / (2 if pattern is Pattern.HALF else 1)
    cost = pattern.operations((n, n), 0, Z.shape[1])
    with work(f"a product of {n:,} nodes", cost, int(pairs), INSTEAD) as shown:
        return _tile_products(fill, Z, pattern, shown)


def _tile_products(fill: Fill, Z: np.ndarray, pattern: Pattern, shown: Any) -> np.ndarray:
    n = Z.shape[0]

    def share(worker: int, workers: int) -> np.ndarray:
        out = np.zeros_like(Z)
        buffer = np.empty(min(TILE, n) ** 2, Z.dtype)
        for rows, cols in pattern.tiles(n, worker, workers):
            tile = cut(buffer, rows, cols)
            fill(rows, cols, tile)
            if shown is not None:
                shown.done += 1
            out[rows] += tile @ Z[cols]
            if pattern is Pattern.BOTH or (pattern is Pattern.HALF and rows != cols):
                out[cols] += tile.T @ Z[rows]
        return out

    total: np.ndarray
    total, *others = on_cores(share)
    for other in others:  # in order, so that the result does not depend on thread timing
        total += other
    return total / 2 if pattern is Pattern.BOTH else total


def cut(buffer: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
    """Return a contiguous tile of the buffer."""
    height, width = rows.stop - rows.start, cols.stop - cols.start
    return buffer[: height * width].reshape(height, width)


def set_diagonal(tile: np.ndarray, rows: slice, cols: slice, value: float) -> None:
    """Write ``value`` on the part of the diagonal of W that lies in a tile."""
    if rows.start == cols.start:
        np.fill_diagonal(tile, value)


def strips(fn: Callable[[Array], Array], n: int, sample: Array) -> Array:
    """Concatenate ``fn(nodes)`` over strips of rows, for any library."""
    xp = namespace(sample)
    step = max(1, STRIP // n)
    parts = [fn(xp.arange(i, min(i + step, n))) for i in range(0, n, step)]
    return xp.concat(parts, axis=-2) if len(parts) > 1 else parts[0]


def threaded(*arrays: Array) -> bool:
    """Tell whether all arrays are NumPy's, so that tiles are computed in place and by threads."""
    return all(is_numpy(a) for a in arrays)
