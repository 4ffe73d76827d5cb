r"""Compute π from products with Aᵀ, by GMRES.

:math:`(I - A^T + v 1^T)\,π = v` has π as its only solution, for any v of sum 1, also where A is
periodic. From a first solution s, :math:`π = s∘y` with y near 1 is solved for y, twice and from
random starts: so entries of any size have relative errors, and the two tell what these are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from gspnl._base.products import Products
from gspnl.affinity.stationary.closed_classes import closed_classes_of, single_class
from gspnl.errors import ConvergenceError

KRYLOV = 64  # directions between two restarts
CYCLES = 32  # restarts
AGREEMENT = 1e-10  # largest difference of two solutions, and 1,000 units of rounding
ROUGH = 100.0  # residual of π that is accepted, in units of the rounding asked for
COUNTED = 8  # closed classes that are told apart by products
LEAST = 1e-290  # ratio to the largest entry below which entries are not refined


def by_products(A: Products, rounding: float, irreducible: bool = False) -> tuple[np.ndarray, bool]:
    """Return π, and whether it is determined to :data:`AGREEMENT`.

    Raises
    ------
    ReducibleError
        Unless there is one closed class, as ``irreducible`` states.
    """
    n = A.n
    live, rng = np.ones(n, dtype=bool), np.random.default_rng(0)
    pi = _solved(A, np.full(n, 1 / n), live, np.full(n, 1 / n), rounding)
    if not irreducible:
        classes = closed_classes_of(A, pi, COUNTED)
        live = np.zeros(n, dtype=bool)
        live[single_class(classes, more=len(classes) == COUNTED)] = True
    gap = np.inf
    for _ in range(2):
        scale = np.where(live, pi, 0.0)
        for _ in range(2):  # sums of terms ≥ 0: small entries get the digits of large ones
            scale = np.where(live, np.maximum(A.transpose(scale[:, None])[:, 0], 0.0), 0.0)
        scale /= scale.sum()
        scale = np.where(live, np.maximum(scale, LEAST * scale.max()), 0.0)
        pi = _solved(A, scale, live, scale * (0.5 + rng.random(n)), rounding)
        gap = float(np.abs(pi - scale).sum())
    return pi, gap <= AGREEMENT + 1000 * rounding


@dataclass(frozen=True, eq=False)
class JumpChain:
    """Products of the walk that moves at every step: A without its diagonal, rows summing to 1.

    Its stationary distribution is (1 − a_ii) π_i, to a factor. It mixes faster where nodes keep
    much of their weight.

    Parameters
    ----------
    of : Products
        Of A.
    stay : array of shape (N,)
        a_ii < 1.
    """

    of: Products
    stay: np.ndarray

    @property
    def n(self) -> int:
        """N."""
        return self.of.n

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute the product with Z."""
        return np.asarray((self.of.apply(Z) - self.stay[:, None] * Z) / (1 - self.stay[:, None]))

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute the product of the transpose with Z."""
        Y = Z / (1 - self.stay[:, None])
        return np.asarray(self.of.transpose(Y) - self.stay[:, None] * Y)


def refined(
    A: Products, rough: Products, rounding: float, cycles: int
) -> tuple[np.ndarray, float] | None:
    """Return π of an irreducible A, and its distance Σ|π − π̂| from that of a rough copy of A.

    The rough copy, as in float32, takes most of the products; it may be A. The distance tells how
    well π is determined. None where the residual is not small after ``cycles`` restarts.
    """
    n = A.n
    live, even = np.ones(n, dtype=bool), np.full(n, 1 / n)
    enough = float(np.finfo(np.float32).eps)
    first = scale = _solved(rough, even, live, even, enough, cycles)
    for _ in range(2):
        scale = np.maximum(A.transpose(scale[:, None])[:, 0], 0.0)
        scale /= scale.sum()
    scale = np.maximum(scale, LEAST * scale.max())
    pi = _solved(A, scale, live, scale, rounding, cycles)
    if float(np.abs(A.transpose(pi[:, None])[:, 0] - pi).sum()) > ROUGH * rounding:
        return None
    return pi, float(np.abs(pi - first).sum())


def _solved(
    A: Products,
    scale: np.ndarray,
    live: np.ndarray,
    start: np.ndarray,
    rounding: float,
    cycles: int = CYCLES,
) -> np.ndarray:
    """Solve for π in units of ``scale``, which has sum 1 and is 0 outside of ``live``."""
    units = np.where(live, 1 / np.where(live, scale, 1.0), 0.0)

    def system(y: np.ndarray) -> np.ndarray:
        x = scale * y
        return np.asarray(y - units * A.transpose(x[:, None])[:, 0] + live * x.sum())

    load = live.astype(np.float64)
    first = units * start
    enough = 4 * rounding * float(np.linalg.norm(load))
    y, _ = solve(system, load, first / (scale * first).sum(), enough, cycles)
    x: np.ndarray = np.maximum(scale * y, 0.0)
    x /= x.sum()
    return x


def solve(
    system: Callable[[np.ndarray], np.ndarray],
    load: np.ndarray,
    start: np.ndarray,
    enough: float,
    cycles: int = CYCLES,
) -> tuple[np.ndarray, float]:
    """Restart GMRES until the residual is ``enough``, or hardly falls; return it as well."""
    n = len(load)
    operator = LinearOperator((n, n), matvec=lambda x: system(x.ravel()), dtype=np.float64)
    x, size = start, float(np.linalg.norm(load - system(start)))
    for _ in range(cycles):
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
