"""Compute π of a row-stochastic matrix, given by its entries or its products."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.blas import on_one_thread
from gspnl._base.memory import available_memory
from gspnl.affinity.stationary.entries import checked, eliminated, of_entries
from gspnl.affinity.stationary.krylov import by_products, undetermined

DENSE = 1024  # nodes up to which products are turned into entries
EPS = float(np.finfo(np.float64).eps)
LARGE = 16_384  # nodes up to which elimination is a way out: a minute


@on_one_thread
def stationary_distribution(A: Any, rounding: float = EPS) -> np.ndarray:
    """Compute π of a row-stochastic A, (N,), in NumPy and float64.

    Parameters
    ----------
    A : array or sparse matrix of shape (N, N), or Products
        ≥ 0, with rows that sum to 1; what rounding makes negative counts as 0.
    rounding : float
        Relative rounding of the products.

    Returns
    -------
    array of shape (N,)
        0 at transient nodes.

    Raises
    ------
    ReducibleError
        If A has several closed classes; the error has their nodes as ``classes``.
    InputError
        If A is not square, finite, ≥ 0, or its rows do not sum to 1.
    ConvergenceError
        If π is not determined to 1e-10, as where λ = 1 is all but repeated.

    Examples
    --------
    >>> import numpy as np
    >>> stationary_distribution(np.array([[0.5, 0.5], [0.25, 0.75]]))
    array([0.33333333, 0.66666667])
    """
    if scipy.sparse.issparse(A) or isinstance(A, np.ndarray):
        return of_entries(A, rounding)
    if A.n <= DENSE:
        return of_entries(A.apply(np.eye(A.n)), rounding)
    found, agreed = by_products(A, rounding)
    if agreed:
        return found
    if A.n <= LARGE and _fits(A.n):
        return eliminated(checked(A.apply(np.eye(A.n)), rounding))
    raise undetermined()


def _fits(n: int) -> bool:
    free = available_memory()
    return free is None or 3 * 8 * n * n <= 0.9 * free
