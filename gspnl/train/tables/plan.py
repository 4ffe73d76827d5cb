"""Plan the runs of some tables, and read the results that exist of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import isnan, nan
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import Any

from gspnl._base.validate import whole_number
from gspnl.errors import FileError, InputError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.data_check import fingerprints
from gspnl.train.tables.existing import Folder
from gspnl.train.tables.grid import BACKBONE, GRIDS, Grid, without_block
from gspnl.train.tables.grids import PROTOCOLS
from gspnl.train.tables.pages import commands
from gspnl.train.tables.table import Tables, table_so_far

MOST_SEEDS = 10_000
FAILED, BUSY = "failed", "being done by another process"
NOT_ASKED, NOT_RUN = "not asked for by --only", "not run yet"


@dataclass(frozen=True)
class Progress:
    """States of runs by name."""

    states: dict[str, str]  #: "done", "failed: …", "7 of 12 epochs" or "to do"
    seconds_left: float | None  #: None if no finished run has the data and backbone of the others

    @property
    def left(self) -> str:
        """The number of finished runs and the time left, in words."""
        count = sum(state == "done" for state in self.states.values())
        done = f"{count} of {len(self.states)} runs done"
        if count == len(self.states):
            return done
        if self.seconds_left is None:
            return f"{done}, time left unknown yet"
        return f"{done}, about {duration(self.seconds_left)} left"


@dataclass(frozen=True)
class Plan:
    """Tables that were asked for, and their runs; made by :func:`plan_tables`."""

    protocol: str
    grids: tuple[Grid, ...]
    seeds: tuple[int, ...]
    folder: Folder
    only: tuple[str, ...] = ()  #: blocks that are to be run; none: all

    @cached_property
    def runs(self) -> dict[str, Recipe]:
        """Every run of the tables by name, once: seed by seed, backbones first."""
        runs: dict[str, Recipe] = {}
        for seed, grid in product(self.seeds, self.grids):
            for row in grid.rows:
                if row.recipe.block and (name := row.baseline_id(seed)) not in runs:
                    runs[name] = without_block(row.run(seed))
                if (name := row.run_id(seed)) not in runs:
                    runs[name] = row.run(seed)
        return runs

    @cached_property
    def asked(self) -> dict[str, Recipe]:
        """The runs that are to be done: of the blocks that were asked for, and backbones."""
        wanted = {None, *(self.only or [run.block for run in self.runs.values()])}
        return {name: run for name, run in self.runs.items() if run.block in wanted}

    def tables(self, busy: Iterable[str] = ()) -> Tables:
        """The tables that were asked for, so far; ``busy`` are runs of other processes."""
        return self._tables([(grid, self.seeds) for grid in self.grids], busy)

    def page(self, busy: Iterable[str] = ()) -> Tables:
        """Every table written before, and every seed that has results."""
        grids = {grid.name: grid for grid in self.grids}
        for name in self.folder.tables(self.protocol):
            if name not in grids:
                grids[name] = GRIDS[name](self.protocol)
        shown = []
        for grid, found in zip(grids.values(), self.folder.seeds(grids.values()), strict=True):
            asked = self.seeds if grid in self.grids or not found else ()
            shown.append((grid, tuple(sorted({*asked, *found}))))
        return self._tables(shown, busy)

    def progress(self) -> Progress:
        """States of the runs that are to be done, and an estimate of the time left."""
        states: dict[str, str] = {}
        epochs: dict[str, int] = {}  # left
        paces: dict[tuple[object, ...], list[float]] = {}  # seconds an epoch
        for name, run in self.asked.items():
            if (result := self.folder.result(name)) is not None:
                states[name] = "done"
                for kind in _kinds(run) if result.get("seconds") else ():
                    paces.setdefault(kind, []).append(result["seconds"] / run.epochs)
                continue
            done, reason = self.folder.epochs(name), self.folder.failure(name)
            states[name] = f"{done} of {run.epochs} epochs" if done else "to do"
            states[name] = states[name] if reason is None else f"failed: {reason}"
            epochs[name] = max(run.epochs - done, 0)
        seconds = 0.0
        for name, count in epochs.items():
            known = [paces[kind] for kind in _kinds(self.asked[name]) if kind in paces]
            seconds += count * fmean(known[0]) if known else nan
        return Progress(states, None if isnan(seconds) else seconds)

    def _tables(self, shown: Sequence[tuple[Grid, tuple[int, ...]]], busy: Iterable[str]) -> Tables:
        results: dict[str, dict[str, Any] | None] = {}
        for grid, seeds in shown:
            for seed, row in product(seeds, grid.rows):
                for name in (row.baseline_id(seed), row.run_id(seed)):
                    results[name] = self.folder.result(name)
        left, failed = {}, {}
        for name in [name for name, result in results.items() if result is None]:
            left[name] = NOT_RUN
            if (reason := self.folder.failure(name)) is not None:
                left[name], failed[name] = FAILED, reason
            if name in self.runs and name not in self.asked:
                left[name] = NOT_ASKED
        left |= {name: BUSY for name in busy if name in left}
        fingerprints(self.folder)  # raises for runs on different data
        tables = tuple([table_so_far(grid, seeds, results, failed) for grid, seeds in shown])
        origin = commands(self.protocol, tables, [grid.name for grid in self.grids], self.only)
        return Tables(self.protocol, tables, failed, left, origin)


def plan_tables(
    tables: Iterable[str | int] = (),
    protocol: str = "paper",
    *,
    out: str | PathLike[str],
    seeds: int = 3,
    seed: int = 0,
    only: Sequence[str] = (),
) -> Plan:
    """Plan the runs of some tables.

    Parameters
    ----------
    tables : iterable of str or int
        Of :data:`GRIDS`: 2 to 9, "parameters", "orders", "depth"; none: those of the protocol.
    protocol : str
        "paper" or "mini".
    out : path
        The folder of the runs. The results of finished runs in it are copied to its ``results``.
    seeds, seed : int
        The number of seeds, at least 1, and the first.
    only : sequence of str
        Run only these blocks, and backbones.

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
    seeds = whole_number("seeds", seeds, 1, MOST_SEEDS)
    seed = whole_number("seed", seed, 0, 2**63 - 1 - MOST_SEEDS)
    asked = (tables,) if isinstance(tables, (str, int)) else tables
    names = dict.fromkeys(str(name) for name in asked) or chosen.tables
    grids = tuple(GRIDS[name](protocol) for name in names)
    blocks = {row.block for grid in grids for row in grid.rows}
    for name in only:
        if name not in blocks:
            raise InputError(
                f"only={name!r} is no block of these tables; take some of "
                f"{', '.join(sorted(blocks - {BACKBONE}))}"
            )
    folder = Folder(Path(out))
    if folder.path.exists() and not folder.path.is_dir():
        raise FileError(f"{str(folder.path)!r} is a file, and tables are a folder; name another")
    for other in PROTOCOLS:
        if other != protocol and (others := folder.tables(other)):
            raise InputError(
                f"{str(folder.path)!r} holds tables of the protocol {other!r} ({', '.join(others)})"
                f", and {protocol!r} is asked for; name another --out for it"
            )
    return Plan(protocol, grids, tuple(range(seed, seed + seeds)), folder, tuple(only))


def _kinds(run: Recipe) -> tuple[tuple[object, ...], ...]:
    """The kinds of run that the pace of a run is estimated from, the most alike first."""
    kind = (run.data, run.backbone, run.block, run.place, run.units)
    return kind, kind[:3], kind[:2]


def duration(seconds: float) -> str:
    """A time that people can read, in its two largest units."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"
