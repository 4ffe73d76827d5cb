"""Apply functions to blocks of rows that fit the cache, on all cores.

Only NumPy arrays are cut into blocks, since a new temporary of N rows costs more than the
arithmetic on it. For other libraries the function gets the whole array in one call, so that their
autograd and scheduling see the plain formula. Blocks are distributed over threads with one BLAS
thread each, so that elementwise work and page faults use every core, as products do.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import numpy as np

from gspnl._base.array import Array
from gspnl._base.blas import one_thread

BLOCK_BYTES = 2 << 20  # measured: 4,096 rows of 64 float64 columns is the best of 1,024 to 16,384
WIDE = 256  # columns in a block: narrower ones are read from too many pages
PARALLEL_BLOCKS = 8  # with fewer blocks, starting threads costs more than it saves


def map_rows(fn: Callable[..., Array], *arrays: Array, columns: int = 1) -> Array:
    """Apply ``fn``, which acts row by row, to arrays of shape (..., N, c_i).

    Parameters
    ----------
    fn : callable
        Maps blocks (..., n, c_i) to a block (..., n, c).
    *arrays : arrays of shape (..., N, c_i)
    columns : int
        Width of the widest intermediate row of ``fn``, if wider than the arrays.
    """
    for a in arrays:
        if not isinstance(a, np.ndarray):
            return fn(*arrays)
    blocks = _blocks(columns, *arrays)
    if len(blocks) == 1:
        return fn(*arrays)

    def fill(rows: slice) -> None:
        out[..., rows, :] = fn(*[a[..., rows, :] for a in arrays])

    with one_thread:
        first = fn(*[a[..., blocks[0], :] for a in arrays])
        out = np.empty((*first.shape[:-2], arrays[0].shape[-2], first.shape[-1]), first.dtype)
        out[..., blocks[0], :] = first
        for _ in each_block(fill, blocks[1:]):
            pass
    return out


def map_columns(fn: Callable[[Array], Array], matrix: Array) -> Array:
    """Apply ``fn``, which acts column by column, to the columns of a matrix (m, n)."""
    if not isinstance(matrix, np.ndarray):
        return fn(matrix)
    n = matrix.shape[1]
    blocks = [slice(i, min(i + WIDE, n)) for i in range(0, n, WIDE)]
    if len(blocks) < PARALLEL_BLOCKS:
        return fn(matrix)

    def fill(cols: slice) -> None:
        out[:, cols] = fn(matrix[:, cols])

    with one_thread:
        first = fn(matrix[:, blocks[0]])
        out = np.empty((first.shape[0], n), first.dtype)
        out[:, blocks[0]] = first
        for _ in each_block(fill, blocks[1:]):
            pass
    return out


def sum_rows(fn: Callable[..., tuple[Array, ...]], *arrays: Array) -> tuple[Any, ...]:
    """Sum the small arrays that ``fn`` returns for blocks of rows, in float64.

    Blocks are added in order, so that results do not depend on thread timing.

    Parameters
    ----------
    fn : callable
        Maps blocks (..., n, c_i) to a tuple of arrays whose shapes do not depend on n.
    *arrays : arrays of shape (..., N, c_i)
    """
    for a in arrays:
        if not isinstance(a, np.ndarray):
            return fn(*arrays)
    blocks = _blocks(1, *arrays)
    if len(blocks) == 1:
        return tuple([np.asarray(part, dtype=np.float64) for part in fn(*arrays)])
    totals: list[np.ndarray] = []
    with one_thread:
        for parts in each_block(lambda rows: fn(*[a[..., rows, :] for a in arrays]), blocks):
            if not totals:
                totals = [np.array(part, dtype=np.float64) for part in parts]
            else:
                for total, part in zip(totals, parts, strict=True):
                    total += part
    return tuple(totals)


def _blocks(columns: int, *arrays: Array) -> list[slice]:
    """Cut axis −2 into slices; ``columns`` is the width of the widest intermediate row."""
    n, batch, width = 0, 1, columns
    for a in arrays:
        *front, rows, wide = a.shape
        n, batch, width = max(n, rows), max(batch, math.prod(front)), max(width, wide)
    step = max(16, BLOCK_BYTES // max(width * arrays[0].itemsize * batch, 1))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def each_block(
    fn: Callable[[Any], Any], blocks: Sequence[Any], least: int = PARALLEL_BLOCKS
) -> Iterator[Any]:
    """Yield the results of ``fn`` for the blocks, in their order; in turn for fewer than least."""
    workers = cores()
    if workers == 1 or len(blocks) < least:
        yield from map(fn, blocks)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(_alone(fn), blocks)


@contextmanager
def shared_out(blocks: Sequence[Any]) -> Iterator[Callable[[Callable[[Any], Any]], None]]:
    """Yield a function that applies another one to every block, on threads that stay for all calls.

    For algorithms of many steps, each of which needs all blocks of the one before.
    """
    workers = cores()
    if workers == 1 or len(blocks) < PARALLEL_BLOCKS:

        def in_turn(fn: Callable[[Any], Any]) -> None:
            for block in blocks:
                fn(block)

        yield in_turn
        return
    with one_thread, ThreadPoolExecutor(workers) as pool:

        def at_once(fn: Callable[[Any], Any]) -> None:
            left = deque(blocks)

            def share(_: int) -> None:
                while True:
                    try:
                        block = left.popleft()
                    except IndexError:
                        return
                    fn(block)

            list(pool.map(_alone(share), range(workers)))

        yield at_once


def on_cores(fn: Callable[[int, int], Any]) -> list[Any]:
    """Call ``fn(worker, workers)`` once per core, in threads with one BLAS thread each."""
    workers = cores()
    with one_thread, ThreadPoolExecutor(workers) as pool:
        return list(pool.map(_alone(lambda worker: fn(worker, workers)), range(workers)))


def _alone(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Run ``fn`` in other threads as in this one, each with one BLAS thread."""
    context = copy_context()  # for the caller's np.errstate

    def run(item: Any) -> Any:
        with one_thread:
            return context.copy().run(fn, item)

    return run


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
