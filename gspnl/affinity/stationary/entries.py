"""Compute π from the entries of A: by elimination, else by Krylov methods or a sparse LU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import splu

from gspnl._base.censoring import stationary_by_elimination
from gspnl.affinity.stationary.closed_classes import closed_classes, single_class
from gspnl.affinity.stationary.krylov import by_products, undetermined
from gspnl.errors import InputError

ELIMINATED = 2048  # nodes up to which entries are eliminated at once, which takes 0.2 s
ROWS = 1e-3  # distance of sums of rows from 1 that half precision explains


def of_entries(A: Any, rounding: float) -> np.ndarray:
    """Compute π of a dense or sparse A; see :func:`.stationary_distribution`."""
    A = checked(A, rounding)
    if A.shape[0] <= ELIMINATED:
        return eliminated(A)
    nodes = single_class(closed_classes(A))
    inner = A if len(nodes) == A.shape[0] else A[nodes][:, nodes]
    found, agreed = by_products(StoredProducts(inner), rounding, irreducible=True)
    if not agreed:
        found = _grounded(inner, found) if scipy.sparse.issparse(A) else eliminated(inner)
    pi = np.zeros(A.shape[0])
    pi[nodes] = found
    return pi


def checked(A: Any, rounding: float) -> Any:
    """Return A in float64 and without entries that rounding made negative, or raise."""
    if A.ndim != 2 or A.shape[0] != A.shape[1] or 0 in A.shape:
        raise InputError(f"A has shape {A.shape}; a random walk has an (N, N) matrix, N ≥ 1")
    A = A.astype(np.float64)
    entries = A if isinstance(A, np.ndarray) else A.data
    sums = np.asarray(A.sum(1)).ravel()
    if not np.isfinite(sums).all():
        raise InputError("A has entries that are not finite; a random walk has rows that sum to 1")
    least = float(entries.min(initial=0.0))
    if least < -64 * rounding:
        raise InputError(f"A has negative entries, down to {least:.3g}; pass np.maximum(A, 0)")
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > ROWS:
        raise InputError(
            f"row {worst} of A sums to {sums[worst]:.6g}, and those of a random walk to 1; divide "
            "each row by its sum"
        )
    np.maximum(entries, 0.0, out=entries)
    return A


def eliminated(A: Any) -> np.ndarray:
    """Compute π by elimination within the only closed class."""
    A = A if isinstance(A, np.ndarray) else A.toarray()
    nodes = single_class(closed_classes(A))
    pi = np.zeros(len(A))
    pi[nodes] = stationary_by_elimination(A[np.ix_(nodes, nodes)])
    return pi


def _grounded(A: Any, guess: np.ndarray) -> np.ndarray:
    """Solve for the nodes other than that of largest π, by a sparse LU factorisation."""
    n, top = A.shape[0], int(np.argmax(guess))
    rest = np.delete(np.arange(n), top)
    inner = (scipy.sparse.eye_array(n) - A).tocsr()[rest][:, rest]
    pi = np.ones(n)
    pi[rest] = np.maximum(splu(inner.T.tocsc()).solve(np.asarray(A[[top]].todense())[0, rest]), 0)
    if not np.isfinite(pi).all():
        raise undetermined()
    out: np.ndarray = pi / pi.sum()
    return out


@dataclass(frozen=True, eq=False)
class StoredProducts:
    """Products of a stored A."""

    matrix: Any

    @property
    def n(self) -> int:
        return int(self.matrix.shape[0])

    def apply(self, Z: np.ndarray) -> np.ndarray:
        return np.asarray(self.matrix @ Z)

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        return np.asarray((Z.T @ self.matrix).T)
