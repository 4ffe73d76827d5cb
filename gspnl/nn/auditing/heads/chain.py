"""Stationary distribution of a dense row-stochastic matrix (until the core has it)."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components


def stationary(A: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Return π, or None and the reason."""
    n = len(A)
    inside = np.ones(n, bool)
    if A.min() <= 0:
        count, label = connected_components(csr_matrix((A > 0).astype(float)), connection="strong")
        leaves = np.zeros(count, bool)
        i, j = np.nonzero(A)
        leaves[label[i[label[i] != label[j]]]] = True
        closed = np.flatnonzero(~leaves)
        if len(closed) > 1:
            return None, f"A has {len(closed)} closed classes of nodes, each with a π of its own"
        inside = label == closed[0]
    pi = np.zeros(n)
    P = A[np.ix_(inside, inside)]
    rhs = np.zeros(len(P))
    rhs[-1] = 1
    M = (np.eye(len(P)) - P).T
    M[-1] = 1
    p = np.abs(np.linalg.solve(M, rhs))
    for _ in range(3):
        p = p @ P
        p /= p.sum()
    pi[inside] = p
    return pi, ""
