"""Storage of a sparse W by its nonzero entries."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.array import Array
from gspnl._base.rows import each_block
from gspnl.affinity.weights.base import Weights
from gspnl.errors import InputError

SHARED = 4_000_000  # entries times columns above which a product is shared out over threads
ROWS = 8192  # rows of a block: measured
FEW = 3  # columns up to which products with one column each are faster
ENTRY = 70  # operations of a dense product in the time of one entry and column: measured


@dataclass(frozen=True, eq=False)
class Sparse(Weights):
    """A sparse matrix by rows, of one graph: products cost O(nnz).

    Parameters
    ----------
    stored : csr_array of shape (N, N)
        float32 or float64.
    log_factor : float
        See :class:`~gspnl.affinity.weights.base.Weights`.
    order : array of shape (N,), optional
        The node of each row and column of ``stored``, where near rows have near neighbours:
        products then read signals from the cache.
    """

    stored: Any
    log_factor: float = 0.0
    order: np.ndarray | None = None

    @cached_property
    def matrix(self) -> Any:
        """W with rows and columns in the order of the nodes."""
        return self.stored if self.order is None else _unsorted(self.stored, self.order)

    @cached_property
    def blocks(self) -> list[tuple[slice, Any]]:
        """Blocks of rows of ``stored``, which share its memory."""
        return row_blocks(self.stored)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("stored", "log_factor", "order")}

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored.shape)

    @property
    def like(self) -> Array:
        return self.stored.data

    @property
    def sparse(self) -> Any:
        return self.matrix

    @property
    def entries(self) -> int:
        return int(self.stored.nnz)

    @property
    def lanczos_block(self) -> int:
        return 2  # one random column alone misses an end of the band in one graph of a hundred

    def matmul(self, Z: Array) -> Array:
        if Z.ndim != 2:
            columns = np.moveaxis(Z, -2, 0)
            out = self.matmul(columns.reshape(len(columns), -1))
            return np.moveaxis(out.reshape(columns.shape), 0, -2)
        if self.order is None:
            return self._product(Z)
        sorted_ = self._product(Z[self.order])
        out = np.empty_like(sorted_)
        out[self.order] = sorted_
        return out

    def _product(self, Z: np.ndarray) -> np.ndarray:
        """Compute the product with signals in the order of the rows."""
        if self.stored.nnz * Z.shape[1] < SHARED:
            return times(self.stored, Z)
        Z = in_columns(Z)
        out = np.empty(Z.shape, np.result_type(self.stored.dtype, Z.dtype))

        def fill(block: tuple[slice, Any]) -> None:
            out[block[0]] = times(block[1], Z)

        for _ in each_block(fill, self.blocks):
            pass
        return out

    def rows(self, index: Array) -> Array:
        return self.matrix[index].toarray()

    def operations(self, columns: int) -> float:
        return float(ENTRY * self.stored.nnz * columns)

    def item(self, index: tuple[int, ...]) -> Sparse:
        return self


def in_columns(Z: np.ndarray) -> np.ndarray:
    """Store few columns one after the other, as :func:`times` reads them."""
    return np.asfortranarray(Z) if Z.shape[1] <= FEW else Z


def times(matrix: Any, Z: np.ndarray) -> np.ndarray:
    """Multiply a sparse matrix and signals (N, c), few of them column by column."""
    if Z.shape[1] > FEW:
        return np.asarray(matrix @ Z)
    layout: Any = "C" if Z.flags.c_contiguous else "F"
    shape = (matrix.shape[0], Z.shape[1])
    out = np.empty(shape, np.result_type(matrix.dtype, Z.dtype), layout)
    for j in range(Z.shape[1]):
        out[:, j] = matrix @ Z[:, j]
    return out


def row_blocks(matrix: Any) -> list[tuple[slice, Any]]:
    """Cut a csr_array into blocks of rows that share its memory."""
    n, columns = matrix.shape
    step = min(ROWS, max(1, n // 16))
    blocks = []
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        ends = matrix.indptr[rows.start : rows.stop + 1]
        part = slice(ends[0], ends[-1])
        stored = (matrix.data[part], matrix.indices[part], ends - ends[0])
        shape = (rows.stop - rows.start, columns)
        blocks.append((rows, scipy.sparse.csr_array(stored, shape=shape)))
    return blocks


def _unsorted(matrix: Any, order: np.ndarray) -> Any:
    """Return a symmetric or directed matrix with rows and columns in the order of the nodes."""
    place = np.empty(len(order), dtype=matrix.indices.dtype)
    place[order] = np.arange(len(order), dtype=place.dtype)
    rows = matrix[place]
    columns = order.astype(place.dtype)[rows.indices]
    out = scipy.sparse.csr_array((rows.data, columns, rows.indptr), shape=matrix.shape)
    out.sort_indices()
    return out


def sparse_floats(W: Any) -> Any:
    """Return a scipy.sparse matrix or array as a CSR copy without explicit zeros."""
    if W.dtype.kind not in "biuf" or (W.dtype.itemsize < 4 and W.dtype.kind == "f"):
        raise InputError(f"W has dtype {W.dtype}; pass real float32 or float64")
    data = getattr(W, "data", None)
    if isinstance(data, np.ndarray) and not data.dtype.isnative:  # SciPy has no arithmetic for it
        W = copy(W)
        W.data = data.astype(data.dtype.newbyteorder("="))
    dtype = W.dtype if W.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    csr: Any = scipy.sparse.csr_array(W, dtype=dtype, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr
