"""What was asked for: tables, their runs, and what there is of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from gspnl.errors import InputError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.base import BACKBONE, GRIDS, Grid
from gspnl.train.tables.commands import commands
from gspnl.train.tables.folder import Folder
from gspnl.train.tables.progress import Progress
from gspnl.train.tables.protocols import PROTOCOLS
from gspnl.train.tables.rows import Table, collect, unique
from gspnl.train.tables.sameness import fingerprints
from gspnl.train.tables.standing import of_one_protocol, seeds_of, written

FAILED, BUSY, NOT_ASKED, NOT_RUN = (
    "failed",
    "being done by another process",
    "not asked for by --only",
    "not run yet",
)


@dataclass(frozen=True)
class Tables:
    """Some tables so far.

    Parameters
    ----------
    protocol : str
    tables : tuple of Table
    failed : dict of str to str
        By the key of a run, why its last attempt failed.
    left : dict of str to str
        By the key of a run that is not done, why: "failed", "being done by another process", "not
        asked for by --only" or "not run yet".
    commands : tuple of str
        What makes these tables.
    """

    protocol: str
    tables: tuple[Table, ...]
    failed: dict[str, str]
    left: dict[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Tables that were asked for, and their runs.

    Parameters
    ----------
    protocol : str
    grids : tuple of Grid
    seeds : tuple of int
    folder : Folder
    only : tuple of str
        The blocks that are to be run; empty: all.
    """

    protocol: str
    grids: tuple[Grid, ...]
    seeds: tuple[int, ...]
    folder: Folder
    only: tuple[str, ...] = ()

    @property
    def runs(self) -> dict[str, Recipe]:
        """Every run of the tables once, in the order they are done."""
        return unique(self.grids, self.seeds)

    @property
    def asked(self) -> dict[str, Recipe]:
        """Those of them that are to be done: of the blocks that were asked for, and backbones."""
        return {
            name: run
            for name, run in self.runs.items()
            if not self.only or run.block is None or run.block in self.only
        }

    def tables(self, busy: Iterable[str] = ()) -> Tables:
        """What there is so far of what was asked for; ``busy`` are runs others are at."""
        return self._tables([(grid, self.seeds) for grid in self.grids], busy)

    def page(self, busy: Iterable[str] = ()) -> Tables:
        """All there is to show: every table written before, every seed that has results."""
        names = {grid.name for grid in self.grids}
        before = [name for name in written(self.folder, self.protocol) if name not in names]
        others = [GRIDS[name](self.protocol) for name in before]
        there = {grid.name: seeds_of(grid, self.folder) for grid in (*self.grids, *others)}
        shown = [(grid, tuple(sorted({*self.seeds, *there[grid.name]}))) for grid in self.grids]
        shown += [(grid, there[grid.name] or self.seeds) for grid in others]
        return self._tables(shown, busy)

    def progress(self) -> Progress:
        """What is done of the runs that are to be done, and an estimate of the rest."""
        return Progress.of(self.asked, self.folder)

    def _tables(self, shown: Sequence[tuple[Grid, tuple[int, ...]]], busy: Iterable[str]) -> Tables:
        tables = tuple(collect(grid, self.protocol, self.folder, seeds) for grid, seeds in shown)
        runs: dict[str, Recipe] = {}
        for grid, seeds in shown:
            runs |= unique((grid,), seeds)
        fingerprints(self.folder)  # of runs on different data no table is made
        missing = {name: run for name, run in runs.items() if self.folder.result(run) is None}
        notes = {name: self.folder.failure(run) for name, run in missing.items()}
        why = {name: NOT_RUN if note is None else FAILED for name, note in notes.items()}
        asked = self.asked
        why |= {name: NOT_ASKED for name in self.runs if name in why and name not in asked}
        why |= {name: BUSY for name in busy if name in why}
        return Tables(
            self.protocol,
            tables,
            {name: note for name, note in notes.items() if note is not None},
            why,
            commands(self.protocol, tables, [grid.name for grid in self.grids], self.only),
        )


def plan_tables(
    tables: Iterable[str | int] = (),
    protocol: str = "paper",
    *,
    out: str | PathLike[str],
    seeds: int = 3,
    seed: int = 0,
    only: Sequence[str] = (),
) -> Plan:
    """Say which runs some tables are made of.

    Parameters
    ----------
    tables : iterable of str or int
        Of :data:`GRIDS`: 2 to 9, "parameters", "orders", "depth"; none: those of the protocol.
    protocol : str
        "paper" or "mini".
    out : path
        The folder of the runs. Finished runs that lie in it are moved into its ``results``.
    seeds : int
        How many, at least 1.
    seed : int
        The first, at least 0.
    only : sequence of str
        Of these blocks alone, and backbones.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For an unknown table, protocol or block, a wrong number of seeds, or a folder that holds
        tables of another protocol.

    Examples
    --------
    >>> plan_tables([5, "orders"], "mino", out="tables")
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: unknown protocol 'mino'; did you mean 'mini'? Available: mini, paper.
    """
    chosen = PROTOCOLS[protocol]
    for value, name, least in ((seeds, "seeds", 1), (seed, "seed", 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name}={value!r} must be a whole number ≥ {least}")
    if isinstance(tables, (str, int)):
        tables = (tables,)
    names = tuple(dict.fromkeys(str(name) for name in tables)) or chosen.tables
    grids = tuple(GRIDS[name](protocol) for name in names)
    _known(only, grids)
    folder = Folder(Path(out))
    of_one_protocol(folder, protocol)
    return Plan(protocol, grids, tuple(range(seed, seed + seeds)), folder, tuple(only))


def _known(only: Sequence[str], grids: Sequence[Grid]) -> None:
    blocks = {row.block for grid in grids for row in grid.rows}
    for name in only:
        if name not in blocks:
            raise InputError(
                f"only={name!r} is no block of these tables; take some of "
                f"{', '.join(sorted(blocks - {BACKBONE}))}"
            )
