"""Numbers of a large head that one pass over its entries finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl.nn.auditing.heads.positions import coordinates, distances
from gspnl.nn.auditing.heads.tiles import Tiles


@dataclass(frozen=True, eq=False)
class RowSums:
    """Sums over rows.

    Attributes
    ----------
    entropy, distance : float
        Means over rows.
    squares : float
        ‖A‖_F².
    Y : array of shape (n, c), or None
        A V.
    zeros : bool
        Whether A has exact zeros.
    alone : int
        Rows with a single entry.
    """

    entropy: float
    distance: float
    squares: float
    Y: np.ndarray | None
    zeros: bool
    alone: int


def by_rows(tiles: Tiles, grid: tuple[int, int] | None, V: np.ndarray | None) -> RowSums:
    """Compute the scale of the rows, which all products need, and sums over rows."""
    nodes, n = tiles.case.nodes, tiles.case.total
    at, of = (coordinates(each, grid, n) for each in (nodes.rows, nodes.columns))

    def sums(rows: slice) -> tuple[float, float, float, np.ndarray | None, bool, int]:
        A, log_A = tiles.scaled_rows(rows)
        none = np.isneginf(log_A)
        zeros = bool(none.any())
        alone = int((none.sum(1) == tiles.m - 1).sum()) if zeros else 0
        distance = float(np.einsum("ij,ij->", A, distances(at[rows], of)))
        squares = float(np.einsum("ij,ij->", A, A))
        if zeros:
            log_A[A == 0] = 0.0
        entropy = -float(np.einsum("ij,ij->", A, log_A))
        return entropy, distance, squares, None if V is None else A @ V, zeros, alone

    parts = list(tiles.each(sums, tiles.row_blocks()))
    return RowSums(
        max(0.0, sum(part[0] for part in parts) / tiles.n),
        sum(part[1] for part in parts) / tiles.n,
        sum(part[2] for part in parts),
        None if V is None else np.concatenate([part[3] for part in parts]),
        any(part[4] for part in parts),
        sum(part[5] for part in parts),
    )


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over pairs of nodes.

    Attributes
    ----------
    curl : float
        Share of ‖K‖² that is no gradient; NaN where A has zeros.
    irreversible : float
        :math:`½ Σ |π_i a_ij − π_j a_ji|`; 0 without π.
    """

    curl: float
    irreversible: float


def by_pairs(tiles: Tiles, pi: np.ndarray | None, rounding: float) -> PairSums:
    """Compare a_ij and a_ji in one pass over pairs of tiles."""
    sides, _ = tiles.sides()
    pairs = [(i, j) for i in range(len(sides)) for j in range(i, len(sides))]

    def sums(pair: tuple[int, int]) -> tuple[float, float, float, np.ndarray, np.ndarray]:
        rows, columns = sides[pair[0]], sides[pair[1]]
        twice = 1 if rows is columns else 2
        there, back = tiles.log_entries(rows, columns), tiles.log_entries(columns, rows).T
        with np.errstate(invalid="ignore"):
            K = there - back
        largest = float(max(-there.min(), -back.min()))
        flow = 0.0
        if pi is not None:
            here = np.exp(there, out=there) * pi[rows, None]
            here -= np.exp(back) * pi[columns]
            flow = twice * float(np.abs(here, out=here).sum())
        return twice * float(np.einsum("ij,ij->", K, K)), flow, largest, K.sum(1), K.sum(0)

    square = flow = largest = 0.0
    means = np.zeros(tiles.n)
    for pair, part in zip(pairs, tiles.each(sums, pairs), strict=True):
        square, flow, largest = square + part[0], flow + part[1], max(largest, part[2])
        means[sides[pair[0]]] += part[3]
        if pair[0] != pair[1]:
            means[sides[pair[1]]] -= part[4]
    means /= tiles.n
    if np.sqrt(square) <= rounding * tiles.n * max(1.0, largest):
        return PairSums(0.0, min(1.0, flow / 2))
    rest = 1 - 2 * tiles.n * float((means**2).sum()) / square
    return PairSums(min(1.0, max(0.0, rest)) if np.isfinite(rest) else np.nan, min(1.0, flow / 2))
