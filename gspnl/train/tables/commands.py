"""The commands that make what a page shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gspnl.train.tables.base import BACKBONE
from gspnl.train.tables.rows import Table


def commands(
    protocol: str, tables: Sequence[Table], asked: Sequence[str] = (), only: Sequence[str] = ()
) -> tuple[str, ...]:
    """What to type for some tables: a command for each row of seeds without gaps.

    They make all that the tables show; more, where a block has been run in some rows only.

    Parameters
    ----------
    protocol : str
    tables : sequence of Table
        With the seeds that they show.
    asked : sequence of str
        The names of those that ``only`` is about.
    only : sequence of str
        The blocks that were run last; blocks with results of an earlier call are added.

    Returns
    -------
    tuple of str
    """
    groups: dict[tuple[tuple[int, ...], tuple[str, ...]], list[Table]] = {}
    for table in tables:
        blocks = _blocks(table, only) if only and table.grid.name in asked else ()
        groups.setdefault((table.lines[0].seeds, blocks), []).append(table)
    made = []
    for (seeds, blocks), group in groups.items():
        for first, count in ranges(seeds):
            words = ["gspnl tables", *(table.grid.name for table in group)]
            words += ["--protocol", protocol, "--seeds", str(count)]
            words += ["--seed", str(first)] if first else []
            words += ["--only", ",".join(blocks)] if blocks else []
            if any(line.skipped for table in group for line in table.lines):
                words += ["--skip-bad"]
            made.append(" ".join([*words, "--data DATA"]))
    return tuple(made)


def _blocks(table: Table, only: Sequence[str]) -> tuple[str, ...]:
    """Which blocks the page shows; none, if it is all of them."""
    all_ = dict.fromkeys(line.row.block for line in table.lines if line.row.block != BACKBONE)
    there = {line.row.block for line in table.lines if line.accuracies}
    shown = tuple(block for block in all_ if block in only or block in there)
    return () if len(shown) == len(all_) else shown or (BACKBONE,)


def ranges(seeds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Rows of seeds without gaps: the first, and how many.

    Examples
    --------
    >>> list(ranges([0, 1, 2, 7]))
    [(0, 3), (7, 1)]
    """
    left = sorted(set(seeds))
    while left:
        count = next((n for n, seed in enumerate(left) if seed != left[0] + n), len(left))
        yield left[0], count
        left = left[count:]
