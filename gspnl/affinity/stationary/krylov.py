"""Compute π from products with Aᵀ, by GMRES from two starts, whose difference is the error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from gspnl._base.products import Products
from gspnl.affinity.stationary.closed_classes import closed_classes_of, single_class
from gspnl.errors import ConvergenceError

KRYLOV = 64  # directions between two restarts
CYCLES = 32  # restarts
AGREEMENT = 1e-10  # largest difference of two solutions, and 1,000 units of rounding
COUNTED = 8  # closed classes that are told apart by products


def by_products(A: Products, rounding: float, irreducible: bool = False) -> tuple[np.ndarray, bool]:
    r"""Solve :math:`(I - A^T + v 1^T)\,π = v`, v uniform, from two starts; tell if they agree."""
    n = A.n

    def system(x: np.ndarray) -> np.ndarray:
        return np.asarray(x - A.transpose(x[:, None])[:, 0] + x.sum() / n)

    found = []
    for start in (np.ones(n), np.random.default_rng(0).random(n)):
        x, _ = solve(system, np.full(n, 1 / n), start / start.sum(), 4 * rounding / np.sqrt(n))
        x = np.maximum(x, 0.0)
        found.append(x / x.sum())
    pi = found[0]
    if not irreducible:
        classes = closed_classes_of(A, pi, COUNTED)
        nodes = single_class(classes, more=len(classes) == COUNTED)
        transient = np.ones(n, dtype=bool)
        transient[nodes] = False
        for part in found:
            part[transient] = 0.0
    agreed = np.abs(found[0] - found[1]).sum() <= AGREEMENT + 1000 * rounding
    for _ in range(2):  # sums of terms ≥ 0: small entries get the digits of large ones
        pi = np.maximum(A.transpose(pi[:, None])[:, 0], 0.0)
        pi /= pi.sum()
    return pi, bool(agreed)


def solve(
    system: Callable[[np.ndarray], np.ndarray], load: np.ndarray, start: np.ndarray, enough: float
) -> tuple[np.ndarray, float]:
    """Restart GMRES until the residual is ``enough``, or hardly falls; return it as well."""
    n = len(load)
    operator = LinearOperator((n, n), matvec=lambda x: system(x.ravel()), dtype=np.float64)
    x, size = start, float(np.linalg.norm(load - system(start)))
    for _ in range(CYCLES):
        if size <= enough:
            break
        best, _ = gmres(operator, load, x0=x, rtol=0.0, atol=enough, restart=KRYLOV, maxiter=1)
        left = float(np.linalg.norm(load - system(best)))
        if not left < size:
            break
        slow = left > size / 2
        x, size = best, left
        if slow:
            break
    return x, size


def undetermined() -> ConvergenceError:
    """Return the error of a π that products do not determine."""
    return ConvergenceError(
        "the stationary distribution is hardly determined by products with A: λ = 1 is all but "
        "repeated, as where parts of the graph exchange next to nothing; take the parts as graphs "
        "of their own, or raise temperature= or sigma="
    )
