"""What was asked for: tables, their runs, and what there is of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from gspnl.errors import InputError
from gspnl.train.recipes.base import Recipe
from gspnl.train.tables.base import GRIDS, Grid
from gspnl.train.tables.folder import Folder
from gspnl.train.tables.progress import Progress
from gspnl.train.tables.protocols import PROTOCOLS
from gspnl.train.tables.rows import Table, collect, unique
from gspnl.train.tables.writing import written


@dataclass(frozen=True)
class Tables:
    """Some tables so far.

    Parameters
    ----------
    protocol : str
    tables : tuple of Table
    failed : dict of str to str
        By the key of a run, why its last attempt failed.
    """

    protocol: str
    tables: tuple[Table, ...]
    failed: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """Tables that were asked for, and their runs.

    Parameters
    ----------
    protocol : str
    grids : tuple of Grid
    seeds : tuple of int
    folder : Folder
    """

    protocol: str
    grids: tuple[Grid, ...]
    seeds: tuple[int, ...]
    folder: Folder

    @property
    def runs(self) -> dict[str, Recipe]:
        """Every run once, in the order they are done."""
        return unique(self.grids, self.seeds)

    def tables(self) -> Tables:
        """What there is so far."""
        tables = tuple(collect(grid, self.protocol, self.folder, self.seeds) for grid in self.grids)
        failed = {
            name: reason
            for name, run in self.runs.items()
            if self.folder.result(run) is None and (reason := self.folder.failure(run))
        }
        return Tables(self.protocol, tables, failed)

    def page(self) -> Tables:
        """The same with the tables that were written before: all there is to show."""
        names = [grid.name for grid in self.grids]
        there = [name for name in GRIDS if written(self.folder.path, self.protocol, name)]
        others = [GRIDS[name](self.protocol) for name in there if name not in names]
        return replace(self, grids=(*self.grids, *others)).tables()

    def progress(self) -> Progress:
        """What is done, and an estimate of the rest."""
        return Progress.of(self.runs, self.folder)


def plan_tables(
    tables: Iterable[str | int] = (),
    protocol: str = "paper",
    *,
    out: str | PathLike[str],
    data: str | PathLike[str] | None = None,
    seeds: int = 3,
    seed: int = 0,
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
    data : path, optional
        What the runs are on; tells runs on different folders apart.
    seeds : int
        How many, at least 1.
    seed : int
        The first, at least 0.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For an unknown table or protocol, or a wrong number of seeds.

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
    own_name = any(row.recipe.data == "folder" for grid in grids for row in grid.rows)
    folder = Folder(Path(out), Path(data).name if data is not None and own_name else None)
    return Plan(protocol, grids, tuple(range(seed, seed + seeds)), folder)
