"""Work on tall arrays by blocks of rows that stay in the cache.

One formula serves every library: NumPy arrays are cut into blocks (a fresh temporary of N rows
costs more than the arithmetic on it), any other library gets the whole array in one call, so that
its own autograd and scheduling see the plain formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gspnl._array import Array, is_numpy

BLOCK_BYTES = 2 << 20  # measured: 4,096 rows of 64 float64 columns is the best of 1,024 to 16,384


def _blocks(columns: int, *arrays: Array) -> Iterator[slice]:
    """Slices over axis -2; ``columns`` is the width of the widest row met in a block."""
    n = max(a.shape[-2] for a in arrays)
    batch = max(int(np.prod(a.shape[:-2])) for a in arrays)
    width = max(columns, *(a.shape[-1] for a in arrays)) * arrays[0].itemsize * max(batch, 1)
    step = max(16, BLOCK_BYTES // max(width, 1))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


def map_rows(fn: Callable[..., Array], *arrays: Array, columns: int = 1) -> Array:
    """Apply ``fn``, which treats every row on its own, to arrays of shape (..., N, c_i).

    Parameters
    ----------
    fn : callable
        Maps blocks (..., n, c_i) to a block (..., n, c).
    *arrays : arrays of shape (..., N, c_i)
    columns : int
        Width of the widest intermediate row of ``fn``, if wider than the arrays.
    """
    if not all(is_numpy(a) for a in arrays):
        return fn(*arrays)
    out: np.ndarray | None = None
    n = arrays[0].shape[-2]
    for rows in _blocks(columns, *arrays):
        part = fn(*(a[..., rows, :] for a in arrays))
        if rows.stop - rows.start == n:
            return part
        if out is None:
            out = np.empty((*part.shape[:-2], n, part.shape[-1]), part.dtype)
        out[..., rows, :] = part
    return out


def sum_rows(fn: Callable[..., tuple[Array, ...]], *arrays: Array) -> tuple[Any, ...]:
    """Sum over blocks of rows the small arrays that ``fn`` returns, accumulated in float64.

    Parameters
    ----------
    fn : callable
        Maps blocks (..., n, c_i) to a tuple of arrays that do not depend on n in shape.
    *arrays : arrays of shape (..., N, c_i)
    """
    if not all(is_numpy(a) for a in arrays):
        return fn(*arrays)
    total: list[np.ndarray] | None = None
    for rows in _blocks(1, *arrays):
        parts = fn(*(a[..., rows, :] for a in arrays))
        if total is None:
            total = [np.array(p, dtype=np.float64) for p in parts]
        else:
            for t, p in zip(total, parts, strict=True):
                t += p
    assert total is not None
    return tuple(total)
