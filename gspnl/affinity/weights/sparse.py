"""Storage of a sparse W by its nonzero entries."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.array import Array
from gspnl.affinity.weights.base import Weights
from gspnl.errors import InputError

FEW = 3  # columns up to which products with one column each are faster
ENTRY = 70  # operations of a dense product in the time of one entry and column: measured


@dataclass(frozen=True, eq=False)
class Sparse(Weights):
    """A sparse matrix by rows, of one graph: products cost O(nnz).

    Parameters
    ----------
    matrix : csr_array of shape (N, N)
        float32 or float64.
    log_factor : float
        See :class:`~gspnl.affinity.weights.base.Weights`.
    """

    matrix: Any
    log_factor: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.matrix.shape)

    @property
    def like(self) -> Array:
        return self.matrix.data

    @property
    def sparse(self) -> Any:
        return self.matrix

    @property
    def lanczos_block(self) -> int:
        return 2  # one random column alone misses an end of the band in one graph of a hundred

    def matmul(self, Z: Array) -> Array:
        if Z.ndim == 2 and Z.shape[1] <= FEW:
            out = np.empty(Z.shape, np.result_type(self.matrix.dtype, Z.dtype))
            for j in range(Z.shape[1]):
                out[:, j] = self.matrix @ Z[:, j]
            return out
        if Z.ndim == 2:
            return np.asarray(self.matrix @ Z)
        columns = np.moveaxis(Z, -2, 0)
        out = self.matrix @ columns.reshape(len(columns), -1)
        return np.moveaxis(np.asarray(out).reshape(columns.shape), 0, -2)

    def rows(self, index: Array) -> Array:
        return self.matrix[index].toarray()

    def operations(self, columns: int) -> float:
        return float(ENTRY * self.matrix.nnz * columns)

    def item(self, index: tuple[int, ...]) -> Sparse:
        return self


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
