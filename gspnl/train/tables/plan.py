"""Plan the runs of some tables, and read the results that exist of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from statistics import fmean

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.data_check import fingerprints
from gspnl.train.tables.existing import Folder
from gspnl.train.tables.grid import BACKBONE, GRIDS, Grid, unique_runs
from gspnl.train.tables.pages import commands
from gspnl.train.tables.protocols import PROTOCOLS
from gspnl.train.tables.table import Tables, table_so_far

FAILED, BUSY, NOT_ASKED, NOT_RUN = (
    "failed",
    "being done by another process",
    "not asked for by --only",
    "not run yet",
)


@dataclass(frozen=True)
class Progress:
    """States of runs by name.

    Parameters
    ----------
    states : dict of str to str
        "done", "failed: …", "7 of 12 epochs" or "to do".
    seconds_left : float or None
        Estimated from the runs that are done; None while none is, or if all have another backbone.
    """

    states: dict[str, str]
    seconds_left: float | None

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

    @cached_property
    def runs(self) -> dict[str, Recipe]:
        """Every run of the tables once, in the order they are done."""
        return unique_runs(self.grids, self.seeds)

    @cached_property
    def asked(self) -> dict[str, Recipe]:
        """The runs that are to be done: of the blocks that were asked for, and backbones."""
        return {
            name: run
            for name, run in self.runs.items()
            if not self.only or run.block is None or run.block in self.only
        }

    def tables(self, busy: Iterable[str] = ()) -> Tables:
        """The tables that were asked for, so far; ``busy`` are runs of other processes."""
        return self._tables([(grid, self.seeds) for grid in self.grids], busy)

    def page(self, busy: Iterable[str] = ()) -> Tables:
        """Every table written before, and every seed that has results."""
        names = [grid.name for grid in self.grids]
        before = [name for name in self.folder.tables(self.protocol) if name not in names]
        grids = [*self.grids, *[GRIDS[name](self.protocol) for name in before]]
        shown = []
        for grid, seeds in zip(grids, self.folder.seeds(grids), strict=True):
            asked = self.seeds if grid.name in names or not seeds else ()
            shown.append((grid, tuple(sorted({*asked, *seeds}))))
        return self._tables(shown, busy)

    def progress(self) -> Progress:
        """States of the runs that are to be done, and an estimate of the time left."""
        results = {name: self.folder.result(name) for name in self.asked}
        paces: dict[tuple[str, ...], list[float]] = {}
        for name, result in results.items():
            if result is not None and result.get("seconds"):
                for like in _alike(self.asked[name]):
                    paces.setdefault(like, []).append(result["seconds"] / self.asked[name].epochs)
        states: dict[str, str] = {}
        left: list[float | None] = []
        for name, run in self.asked.items():
            if results[name] is not None:
                states[name] = "done"
                continue
            epochs, reason = self.folder.epochs(name), self.folder.failure(name)
            states[name] = f"{epochs} of {run.epochs} epochs" if epochs else "to do"
            if reason is not None:
                states[name] = f"failed: {reason}"
            pace = next((fmean(paces[like]) for like in _alike(run) if like in paces), None)
            left.append(None if pace is None else pace * max(run.epochs - epochs, 0))
        known = [seconds for seconds in left if seconds is not None]
        return Progress(states, sum(known) if len(known) == len(left) else None)

    def _tables(self, shown: Sequence[tuple[Grid, tuple[int, ...]]], busy: Iterable[str]) -> Tables:
        names: dict[str, None] = {}
        for grid, seeds in shown:
            for seed in seeds:
                for row in grid.rows:
                    names |= {row.baseline_id(seed): None, row.run_id(seed): None}
        results = {name: self.folder.result(name) for name in names}
        notes = {name: self.folder.failure(name) for name in names if results[name] is None}
        tables = [table_so_far(grid, seeds, results, notes.get) for grid, seeds in shown]
        fingerprints(self.folder)  # raises for runs on different data
        why = {name: NOT_RUN if note is None else FAILED for name, note in notes.items()}
        why |= {name: NOT_ASKED for name in self.runs if name in why and name not in self.asked}
        why |= {name: BUSY for name in busy if name in why}
        return Tables(
            self.protocol,
            tuple(tables),
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
    """Plan the runs of some tables.

    Parameters
    ----------
    tables : iterable of str or int
        Of :data:`GRIDS`: 2 to 9, "parameters", "orders", "depth"; none: those of the protocol.
    protocol : str
        "paper" or "mini".
    out : path
        The folder of the runs. Finished runs that lie in it are moved into its ``results``.
    seeds : int
        The number of seeds, at least 1.
    seed : int
        The first seed, at least 0.
    only : sequence of str
        Run only these blocks, and backbones.

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
    seeds, seed = whole_number("seeds", seeds, 1), whole_number("seed", seed)
    if isinstance(tables, (str, int)):
        tables = (tables,)
    names = tuple(dict.fromkeys(str(name) for name in tables)) or chosen.tables
    grids = tuple(GRIDS[name](protocol) for name in names)
    blocks = {row.block for grid in grids for row in grid.rows}
    for name in only:
        if name not in blocks:
            raise InputError(
                f"only={name!r} is no block of these tables; take some of "
                f"{', '.join(sorted(blocks - {BACKBONE}))}"
            )
    folder = Folder(Path(out))
    folder.check_protocol(protocol)
    return Plan(protocol, grids, tuple(range(seed, seed + seeds)), folder, tuple(only))


def _alike(run: Recipe) -> tuple[tuple[str, ...], ...]:
    """The kinds of runs that the pace of a run is estimated from, the most alike first."""
    size = (run.data, run.backbone)
    block = (*size, str(run.block))
    return (*block, str(run.place), str(run.units)), block, size


def why_left(left: Iterable[str]) -> str:
    """The number of runs that are left, by reason.

    Examples
    --------
    >>> why_left(["failed", "not run yet", "failed"])
    '3 runs are left: 2 failed, 1 not run yet'
    """
    reasons = Counter(left)
    number = "1 run is" if reasons.total() == 1 else f"{reasons.total()} runs are"
    return f"{number} left: {', '.join(f'{n} {reason}' for reason, n in reasons.items())}"


def duration(seconds: float) -> str:
    """A time that people can read.

    Examples
    --------
    >>> duration(40), duration(300), duration(9000), duration(400_000)
    ('40 s', '5 min', '2 h 30 min', '4 d 15 h')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"
