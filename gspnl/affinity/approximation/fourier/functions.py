r"""Expand the Gaussian along the last axes in functions, by a pivoted Cholesky factor.

K = F Fᵀ + E with E positive semi-definite, so :math:`|E_{ij}| ≤ \max_i E_{ii}`, and
:math:`E_{ii} = 1 - \sum_p F_{ip}^2`. Pivots are searched among points of which every other has one
nearby; the functions are then computed at all points, and so is the diagonal of E.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist

from gspnl._base.array import check_fits
from gspnl.errors import ToleranceError

TRANSFORMED = 3  # axes of transforms
MOST = 600  # functions along the last axes
CANDIDATES = 6000  # points that may become pivots
FINE = 0.25  # least distance of candidates, in σ
ROUNDS = 6  # factors, with candidates added where they leave most
GROUP = 100.0  # a group's residuals span this factor
BLOCK = 8192  # rows of a factor computed at once
ROUNDING = 16 * 2.0**-53  # rounding of an entry of F Fᵀ, for each function


@dataclass(frozen=True, eq=False)
class Group:
    r"""Functions of similar size.

    Parameters
    ----------
    functions : array of shape (N, R)
    size : float
        Largest :math:`\sum_p F_{ip}^2`.
    """

    functions: np.ndarray
    size: float


def expand(extra: np.ndarray, error: float) -> tuple[list[Group], float]:
    """Expand the Gaussian of extra coordinates (N, m) in functions, each entry within ``error``.

    Returns
    -------
    groups : list of Group
    error : float
        Bound of the error of each entry.
    """
    chosen = spread(extra)
    for _ in range(ROUNDS):
        factor, pivots, residuals = cholesky(extra[chosen], error / 4)
        check_fits(
            (len(extra), len(pivots)), extra, "the functions of the last axes",
            "take a larger sigma=, storage='tiled' or approximation='cholesky'", copies=2,
        )  # fmt: skip
        F = evaluated(extra, extra[chosen[pivots]], factor)
        left = 1 - np.einsum("ip,ip->i", F, F)
        total = max(float(left.max()), 0.0) + ROUNDING * len(pivots)
        if total <= error:
            return groups_of(F, residuals), total
        chosen = np.concatenate([chosen[pivots], np.argsort(left)[-CANDIDATES:]])
        chosen = np.unique(chosen)
    raise out_of_reach(extra.shape[1], error)


def spread(extra: np.ndarray) -> np.ndarray:
    """Choose points of which every other point has one nearby, at most CANDIDATES."""
    cell = FINE
    while True:
        cells = np.floor((extra - extra.min(axis=0)) / cell)
        chosen: np.ndarray = np.unique(cells, axis=0, return_index=True)[1]
        if len(chosen) <= CANDIDATES:
            return chosen
        cell *= 2


def cholesky(points: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factorise the Gaussian of points (n, m) with pivots until residuals are at most ``error``.

    Returns
    -------
    factor : array of shape (R, R)
        Lower triangular, of the pivots.
    pivots : array of shape (R,)
    residuals : array of shape (R,)
        Largest diagonal of the residual before each pivot.
    """
    columns = np.empty((MOST, len(points)))
    diagonal = np.ones(len(points))
    pivots: list[int] = []
    residuals: list[float] = []
    while float(diagonal.max()) > error:
        rank, pivot = len(pivots), int(diagonal.argmax())
        if rank == MOST:
            raise out_of_reach(points.shape[1], error)
        gaps = ((points - points[pivot]) ** 2).sum(axis=1)
        column = np.exp(-gaps / 2) - columns[:rank, pivot] @ columns[:rank]
        residuals.append(float(diagonal[pivot]))
        columns[rank] = column / np.sqrt(diagonal[pivot])
        diagonal = diagonal - columns[rank] ** 2
        diagonal[pivot] = 0.0
        pivots.append(pivot)
    return np.tril(columns[: len(pivots), pivots].T), np.array(pivots), np.array(residuals)


def evaluated(extra: np.ndarray, pivots: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Compute the functions at all points, (N, R)."""
    out = np.empty((len(extra), len(pivots)))
    for first in range(0, len(extra), BLOCK):
        part = slice(first, first + BLOCK)
        K = np.exp(cdist(pivots, extra[part], "sqeuclidean") / -2)
        out[part] = solve_triangular(factor, K, lower=True, check_finite=False).T
    return out


def groups_of(functions: np.ndarray, residuals: np.ndarray) -> list[Group]:
    """Split functions where residuals fall by GROUP; groups but the last have an even number."""
    level = np.floor(-np.log(residuals) / np.log(GROUP))
    ends = [e + e % 2 for e in np.flatnonzero(np.diff(level)) + 1]
    bounds = sorted({0, len(residuals), *(int(e) for e in ends if e < len(residuals))})
    groups = []
    for first, last in pairwise(bounds):
        part = np.ascontiguousarray(functions[:, first:last])
        groups.append(Group(part, float(np.einsum("ip,ip->i", part, part).max())))
    return groups


def out_of_reach(axes: int, error: float) -> ToleranceError:
    """Say that the last axes need too many functions."""
    return ToleranceError(
        f"approximation='fourier' expands {axes} of {TRANSFORMED + axes} dimensions in functions, "
        f"and entries within {error:.0e} need more than {MOST} of them here; raise sigma= or tol=, "
        "or take storage='tiled' or approximation='cholesky'"
    )
