"""Share out the time of an audit over its calls, and give each call its grid."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gspnl._base.validate import number, shown, whole_number
from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads import Deadline
from gspnl.nn.auditing.heads.masks import shape_of


class Clock:
    """A limit on the time of an audit, shared out over its calls by what they cost.

    Parameters
    ----------
    seconds : float or None
        None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = None if seconds is None else number("seconds", seconds, least=0)
        self.start = time.perf_counter()

    @property
    def left(self) -> float | None:
        """Seconds that are left; None without a limit."""
        if self.seconds is None:
            return None
        return max(0.0, self.seconds - (time.perf_counter() - self.start))

    def share(self, part: float) -> Deadline:
        """Return a deadline after a part of the time that is left."""
        return Deadline(None if self.left is None else self.left * min(1.0, part))


def cost_of(call: AttentionCall, nodes: int) -> float:
    """Return what a call costs, relative to others: N³ where matrices are dense."""
    batch, heads, n, m = shape_of(call)
    return float(batch * heads * n * m * min(max(n, m), nodes))


def grids_of(
    grid: tuple[int, int] | None, calls: Sequence[AttentionCall]
) -> list[tuple[int, int] | None]:
    """Return the grid of each call: None where it has fewer tokens than the grid has cells."""
    if grid is None:
        return [None] * len(calls)
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise InputError(f"grid={shown(grid)} must be a pair of whole numbers, height and width")
    height, width = (whole_number("grid", each, 1) for each in grid)
    sizes = [min(shape_of(call)[2:]) for call in calls]
    if height * width > max(sizes):
        raise InputError(
            f"grid={(height, width)} has {height * width:,} cells, and no attention has as many "
            f"tokens (at most {max(sizes):,}); pass height and width in tokens"
        )
    return [(height, width) if height * width <= size else None for size in sizes]


def without_grid(
    grids: Sequence[tuple[int, int] | None], calls: Sequence[AttentionCall]
) -> list[str]:
    """Say which calls are too small for the grid."""
    return [
        f"{call.layer or 'the network'}: distances are those of a sequence, as it has fewer tokens "
        "than the grid has cells"
        for grid, call in zip(grids, calls, strict=True)
        if grid is None
    ]
