r"""Solve grounded graph Laplacians by elimination without subtractions.

(diag(W 1 + κ) − W) x = b with W, κ ≥ 0 is solved from the entries of W and κ: pivots are sums of
the weights that are left, never differences, so that every digit counts even where weights differ
by hundreds of orders of magnitude [1]_. Cholesky factors of the matrix itself lose the weights that
are below the rounding of its diagonal.

References
----------
.. [1] W. Grassmann, M. Taksar and D. Heyman, Regenerative analysis and steady state distributions
   for Markov chains, Operations Research 33, 1985; M. Overton's and C. O'Cinneide's analysis:
   Entrywise perturbation theory and error analysis for Markov chains, Numer. Math. 65, 1993.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.sparse.csgraph import reverse_cuthill_mckee

BLOCK = 64  # nodes eliminated at once


def in_band(W: Any) -> tuple[np.ndarray, Any, int]:
    """Return an order of small bandwidth [1]_, a sparse W in it as COO, and its half bandwidth.

    References
    ----------
    .. [1] E. Cuthill and J. McKee, Reducing the bandwidth of sparse symmetric matrices, 1969.
    """
    order = np.asarray(reverse_cuthill_mckee(W, symmetric_mode=True))
    entries = W[order][:, order].tocoo()
    return order, entries, int(np.abs(entries.row - entries.col).max(initial=0))


def eliminate(W: np.ndarray, ground: np.ndarray, load: np.ndarray) -> np.ndarray:
    """Solve (diag(W 1 + κ) − W) x = b for a dense W, which is overwritten.

    Parameters
    ----------
    W : array of shape (n, n)
        Symmetric, ≥ 0; its diagonal is ignored.
    ground : array of shape (n,)
        κ ≥ 0; every node has a path to one with κ > 0.
    load : array of shape (n, c)
        b.
    """
    n = len(W)
    ground, load = ground.copy(), load.copy()
    for i in range(0, n, BLOCK):
        b = min(BLOCK, n - i)
        _eliminate_first(W[i:, i:], ground[i:], load[i:], b)
    x = load
    for i in range((n - 1) // BLOCK * BLOCK, -1, -BLOCK):
        j = min(i + BLOCK, n)
        x[i:j] += W[i:j, j:] @ x[j:]
    return x


def eliminate_banded(W: Any, band: int, ground: np.ndarray, load: np.ndarray) -> np.ndarray:
    """Solve the same for a sparse W, in CSR, with entries within ``band`` of the diagonal."""
    n = W.shape[0]
    width = min(n, BLOCK + band)
    window = np.zeros((width, width))
    ground, x = ground.copy(), load.copy()
    transitions = np.zeros((n, width))
    filled = 0
    for i in range(0, n, BLOCK):
        b, stop = min(BLOCK, n - i), min(n, i + width)
        size, old = stop - i, filled - i
        if old > 0:
            window[:old, :old] = window[BLOCK : BLOCK + old, BLOCK : BLOCK + old].copy()
        fresh = W[i + old : stop, i:stop].toarray()
        window[old:size, :size] = fresh
        window[:old, old:size] = fresh[:, :old].T
        filled = stop
        active = window[:size, :size]
        _eliminate_first(active, ground[i:stop], x[i:stop], b)
        transitions[i : i + b, : size - b] = active[:b, b:]
    for i in range((n - 1) // BLOCK * BLOCK, -1, -BLOCK):
        j, stop = min(i + BLOCK, n), min(n, i + width)
        x[i:j] += transitions[i:j, : stop - j] @ x[j:stop]
    return x


def _eliminate_first(W: np.ndarray, ground: np.ndarray, load: np.ndarray, b: int) -> None:
    """Eliminate the first b nodes in place; W[:b, b:] becomes their transitions to the others."""
    inner = W[:b, :b].copy()
    np.fill_diagonal(inner, 0.0)
    outer = W[:b, b:].copy()
    leak = outer.sum(1) + ground[:b]
    diagonal = np.empty(b)
    for i in range(b):
        tail = inner[i, i + 1 :]
        diagonal[i] = tail.sum() + leak[i]
        inner[i + 1 :, i] /= diagonal[i]
        share = inner[i + 1 :, i]
        inner[i + 1 :, i + 1 :] += share[:, None] * tail
        leak[i + 1 :] += share * leak[i]
    # Off-diagonal entries are ≤ 0 and right sides ≥ 0: substitution adds terms of one sign only.
    lower = np.eye(b) - np.tril(inner, -1)
    upper = np.diag(diagonal) - np.triu(inner, 1)
    both = np.concatenate([outer, ground[:b, None], load[:b]], axis=1)
    both = solve_triangular(lower, both, lower=True, unit_diagonal=True, check_finite=False)
    both = solve_triangular(upper, both, check_finite=False)
    rest = W.shape[0] - b
    moved, grounded, loaded = both[:, :rest], both[:, rest], both[:, rest + 1 :]
    W[b:, b:] += outer.T @ moved
    ground[b:] += outer.T @ grounded
    load[b:] += outer.T @ loaded
    W[:b, b:], load[:b] = moved, loaded
