r"""Partial Cholesky factors of a kernel matrix, K ≈ F Fᵀ with E = K − F Fᵀ ≥ 0."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from gspnl._base.array import check_fits
from gspnl._base.rows import map_rows
from gspnl.affinity.approximation.points import Points

BLOCK = 128  # pivots proposed at once
NEGLIGIBLE = 64 * np.finfo(np.float64).eps  # tr E / tr K below which E is rounding
DEPENDENT = 1e-10  # E_ii / K_ii below which a landmark depends on the others
PATIENCE = 50  # rounds without a new pivot


class PivotedFactor:
    r"""Factor F that grows by pivots P, :math:`K_{:P} = F F_P^T`.

    Parameters
    ----------
    points : Points
    seed : int
    randomly : bool
        Draw pivots in proportion to the diagonal of E (randomly pivoted Cholesky [1]_, a block at a
        time by rejection [2]_); else uniformly (Nyström).

    References
    ----------
    .. [1] Y. Chen, E. N. Epperly, J. A. Tropp and R. J. Webber, Randomly pivoted Cholesky:
       practical approximation of a kernel matrix with few entry evaluations, 2023.
    .. [2] E. N. Epperly, J. A. Tropp and R. J. Webber, Embrace rejection: kernel matrix
       approximation by accelerated randomly pivoted Cholesky, 2024.
    """

    def __init__(self, points: Points, seed: int, *, randomly: bool) -> None:
        self.points = points
        self.randomly = randomly
        self.rng = np.random.default_rng(seed)
        self.diagonal = points.diagonal()
        self.residual = self.diagonal.copy()
        self.rank = 0
        self._order = np.zeros(0, dtype=int) if randomly else self.rng.permutation(len(points.a))
        self._buffer = np.empty((len(points.a), 0))

    @property
    def factor(self) -> np.ndarray:
        """F, (n, rank); its first k columns are the factor of rank k."""
        return self._buffer[:, : self.rank]

    @property
    def share_left(self) -> float:
        """Trace of E relative to that of K."""
        return float(self.residual.sum() / self.diagonal.sum())

    def grow(self, rank: int) -> bool:
        """Add pivots up to ``rank``; return False where E vanishes before."""
        self._reserve(rank)
        idle = 0
        while self.rank < rank:
            if self.residual.sum() <= NEGLIGIBLE * self.diagonal.sum() or idle > PATIENCE:
                return False
            pivots, threshold = self._propose()
            if not len(pivots):
                return False
            F = self.factor
            square = self.points.block(pivots, pivots) - F[pivots] @ F[pivots].T
            kept, lower, seen = _select(square, threshold, rank - self.rank)
            if not self.randomly:  # candidates that were not examined come first next time
                self._order = np.concatenate([pivots[seen:], self._order])
            idle = 0 if len(kept) else idle + 1
            if len(kept):
                self._add(pivots[kept], lower)
        return True

    def _propose(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw candidates, and the E_ii above which each is accepted."""
        if self.randomly:
            edges = np.cumsum(self.residual)
            drawn = np.searchsorted(edges, self.rng.random(BLOCK) * edges[-1], side="right")
            pivots = np.minimum(drawn, len(edges) - 1)
            return pivots, self.rng.random(BLOCK) * self.residual[pivots]
        pivots, self._order = self._order[:BLOCK], self._order[BLOCK:]
        return pivots, DEPENDENT * self.diagonal[pivots]

    def _add(self, pivots: np.ndarray, lower: np.ndarray) -> None:
        p, at, count = self.points, self.factor[pivots], len(pivots)
        right, shift = p.a[pivots], p.h[pivots]

        def fresh(a: np.ndarray, h: np.ndarray, F: np.ndarray) -> np.ndarray:
            rest = p.cross(a, h[:, 0], right, shift)
            rest -= F @ at.T
            solved: np.ndarray = solve_triangular(lower, rest.T, lower=True, check_finite=False)
            return np.concatenate([solved.T, (solved * solved).sum(0)[:, None]], axis=1)

        added = map_rows(fresh, p.a, p.h[:, None], self.factor, columns=count + 1)
        self._buffer[:, self.rank : self.rank + count] = added[:, :-1]
        self.rank += count
        self.residual = np.maximum(self.residual - added[:, -1], 0.0)
        self.residual[pivots] = 0.0

    def _reserve(self, rank: int) -> None:
        n, columns = self._buffer.shape
        if rank > columns:
            wide = min(max(rank, int(1.5 * columns)), n)
            check_fits(
                (n, wide), self._buffer, "the factor", "lower rank=, or raise tol=", copies=3
            )
            buffer = np.empty((n, wide))
            buffer[:, : self.rank] = self.factor
            self._buffer = buffer


def _select(
    square: np.ndarray, threshold: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Accept candidates in turn, if their residual is above the threshold.

    Returns their indices, the lower Cholesky factor of their part of the residual, and how many
    candidates were examined.
    """
    kept: list[int] = []
    seen = len(square)
    for i in range(len(square)):
        if len(kept) == most:
            seen = i
            break
        left = square[i, i]
        if not left > threshold[i] or not left > 0:
            square[:, i] = 0.0
            continue
        square[:, i] /= np.sqrt(left)
        column = square[i + 1 :, i]
        square[i + 1 :, i + 1 :] -= column[:, None] * column
        kept.append(i)
    chosen = np.array(kept, dtype=int)
    return chosen, np.tril(square[np.ix_(chosen, chosen)]), seen
