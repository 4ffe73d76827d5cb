"""Distances between tokens of a sequence or a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.validate import whole_number
from gspnl.errors import InputError


def check_grid(grid: Any, n: int) -> tuple[int, int] | None:
    """Return a grid (height, width) that n tokens fill, up to tokens before it; or None.

    Raises
    ------
    InputError
    """
    if grid is None:
        return None
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise InputError(f"grid={grid!r} must be None or a pair (height, width) of tokens")
    h, w = (whole_number("grid", size, 1) for size in grid)
    if h * w > n:
        raise InputError(f"grid={(h, w)} has {h * w:,} tokens and the attention {n:,}")
    return h, w


def coordinates(index: np.ndarray, grid: tuple[int, int] | None, n: int) -> np.ndarray:
    """Return coordinates of tokens, (m, 1) or (m, 2), NaN for tokens before the grid."""
    if grid is None:
        return index[:, None].astype(float)
    place = index - (n - grid[0] * grid[1])
    found = np.stack([place // grid[1], place % grid[1]], 1).astype(float)
    found[place < 0] = np.nan
    return found


def distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return Euclidean distances between coordinates, 0 where one of two has none."""
    if rows.shape[1] == 1:
        gaps: np.ndarray = np.abs(rows - columns[:, 0])
        return gaps
    square: np.ndarray = (rows[:, :1] - columns[:, 0]) ** 2 + (rows[:, 1:] - columns[:, 1]) ** 2
    np.sqrt(square, out=square)
    square[np.isnan(square)] = 0
    return square
