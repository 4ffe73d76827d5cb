r"""Stationary distribution of an irreducible Markov chain by elimination without subtractions.

States are eliminated in turn: the chain that is watched on the others has transitions
:math:`A_{rr} + A_{rb}(I - A_{bb})^{-1}A_{br}`, sums of products of numbers ≥ 0. Every entry of π,
however small, has a relative error of about 2 N units of rounding, and the diagonal is not read
[1]_.

References
----------
.. [1] W. Grassmann, M. Taksar and D. Heyman, Regenerative analysis and steady state distributions
   for Markov chains, Operations Research 33, 1985; C. O'Cinneide, Entrywise perturbation theory and
   error analysis for Markov chains, Numer. Math. 65, 1993.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from gspnl.errors import ConvergenceError

BLOCK = 64  # states eliminated at once


def stationary_by_elimination(A: np.ndarray) -> np.ndarray:
    """Compute π with πᵀA = πᵀ and sum 1, (n,), of an irreducible A ≥ 0 of shape (n, n).

    Raises
    ------
    ConvergenceError
        Where transitions between parts of the chain underflow.
    """
    for size in (BLOCK, 1):  # one by one where entries span too much within a block
        x = _by_blocks(A.astype(np.float64), size)
        if np.isfinite(x).all():
            return x
    raise ConvergenceError(
        "the stationary distribution is lost: some transitions between parts of the graph "
        "underflow; raise temperature= or sigma=, or take the parts as graphs of their own"
    )


def _by_blocks(A: np.ndarray, size: int) -> np.ndarray:
    """Eliminate all states but the last, which overwrites A, and substitute back."""
    n = len(A)
    blocks = [slice(i, min(i + size, n - 1)) for i in range(0, n - 1, size)]
    x = np.zeros(n)
    x[-1] = 1.0
    with np.errstate(all="ignore"):  # what leaves the range is checked in the result
        for block in blocks:
            _censor(A[block.start :, block.start :], block.stop - block.start)
        for block in reversed(blocks):
            x[block] = x[block.stop :] @ A[block.stop :, block]
            x /= x.max()
        x /= x.sum()
    return x


def _censor(A: np.ndarray, b: int) -> None:
    """Eliminate the first b states in place; A[b:, :b] becomes expected visits to them."""
    inner = A[:b, :b].copy()
    np.fill_diagonal(inner, 0.0)
    outer = A[:b, b:]
    leak = outer.sum(1)
    diagonal = np.empty(b)
    for i in range(b):
        tail = inner[i, i + 1 :]
        diagonal[i] = tail.sum() + leak[i]
        inner[i + 1 :, i] /= diagonal[i]
        share = inner[i + 1 :, i]
        inner[i + 1 :, i + 1 :] += share[:, None] * tail
        leak[i + 1 :] += share * leak[i]
    # I − A_bb = lower · upper with off-diagonal entries ≤ 0: substitution adds terms of one sign.
    lower = np.eye(b) - np.tril(inner, -1)
    upper = np.diag(diagonal) - np.triu(inner, 1)
    visits = solve_triangular(upper, A[b:, :b].T, trans=1, check_finite=False)
    visits = solve_triangular(
        lower, visits, trans=1, lower=True, unit_diagonal=True, check_finite=False
    ).T
    A[b:, b:] += visits @ outer
    A[b:, :b] = visits
