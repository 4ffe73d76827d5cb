"""Running a grid: every run once, seed by seed, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl.errors import BusyError, InputError
from gspnl.train.recipes.base import Recipe
from gspnl.train.tables.base import BACKBONE
from gspnl.train.tables.folder import Folder, make
from gspnl.train.tables.planning import Plan, Tables, plan_tables
from gspnl.train.tables.sources import checked, source, weights
from gspnl.train.tables.writing import write_tables

Train = Callable[..., Any]


def run_tables(
    tables: Iterable[str | int] = (),
    protocol: str = "paper",
    *,
    data: str | PathLike[str] | None,
    out: str | PathLike[str],
    seeds: int = 3,
    seed: int = 0,
    only: Sequence[str] = (),
    skip_bad: bool = False,
    device: str | None = None,
    threads: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    train: Train | None = None,
) -> Tables:
    """Run or resume the networks of some tables, and write the tables.

    Runs go seed by seed, backbones first, so that tables so far mean something. One that has
    finished is not run again, one that was stopped goes on from its checkpoint, and one that fails
    does not stop the others. Equal networks of several tables are one run. Several processes may
    work on the same ``out`` at once, each with a thread: a run that one is at, the others pass by.

    Parameters
    ----------
    tables, protocol, out, seeds, seed
        As in :func:`plan_tables`.
    data : path
        For "mini" a folder or zip of class folders; for "paper" the folder that holds the data sets
        under their published names.
    only : sequence of str
        Run these blocks alone, and backbones.
    skip_bad : bool
        Leave damaged samples out, counted.
    device : str, optional
        Where to train, as :func:`gspnl.train.train` takes it.
    threads : int, optional
        On the CPU; default: as torch has it.
    say : callable
        Takes lines of progress.
    train : callable, optional
        What does a run, in place of :func:`gspnl.train.train`.

    Returns
    -------
    Tables

    Raises
    ------
    InputError
        For unknown tables, protocols or blocks; without data, saying which are needed.
    FileError
        If data or folders are missing or cannot be written.
    KeyboardInterrupt
        If a run was asked to stop, after what is done has been written.
    """
    plan = plan_tables(tables, protocol, out=out, data=data, seeds=seeds, seed=seed)
    _known(only, plan)
    runs = {
        name: run
        for name, run in plan.runs.items()
        if not only or run.block is None or run.block in only
    }
    path = checked(data, runs.values())
    make(plan.folder.path)
    train = train or default_train()
    failed = {}
    try:
        for i, (name, run) in enumerate(runs.items(), 1):
            if plan.folder.result(run) is not None:
                continue
            try:
                if plan.folder.keep(run) is not None:
                    continue
                say(f"[{i}/{len(runs)}] {name}; {plan.progress().left}")
                _one(
                    run,
                    path,
                    plan.folder,
                    train,
                    skip_bad=skip_bad,
                    device=device,
                    threads=threads,
                    say=say,
                )
            except BusyError:
                say(f"{name} is being done by another process")
            except Exception as error:  # whatever it is, other runs can do without this one
                reason = " ".join(f"{error}".split()) or type(error).__name__
                failed[name] = reason
                plan.folder.fail(run, reason)
                say(f"{name} failed: {reason}")
            else:
                write_tables(plan.page(), plan.folder.path, each=False)
    finally:
        write_tables(plan.page(), plan.folder.path)
    found = plan.tables()
    return replace(found, failed={**found.failed, **failed})


def default_train() -> Train:
    """The training loop, imported when something is to be trained."""
    from gspnl.train import train

    return train


def _one(
    run: Recipe, data: Path, folder: Folder, train: Train, *, say: Callable[[str], None],
    **options: Any,
) -> None:  # fmt: skip
    """Do a run, or the rest of it."""
    train(
        run,
        data=source(run, data),
        out=folder.run(run),
        pretrained=weights(run, data),
        resume=True,
        say=say,
        **options,
    )
    if folder.keep(run) is None:  # it was asked to stop
        raise KeyboardInterrupt


def _known(only: Sequence[str], plan: Plan) -> None:
    blocks = {row.block for grid in plan.grids for row in grid.rows}
    for name in only:
        if name not in blocks:
            raise InputError(
                f"only={name!r} is no block of these tables; take some of "
                f"{', '.join(sorted(blocks - {BACKBONE}))}"
            )


def tables_so_far(plan: Plan) -> Tables:
    """Take over what has finished, write the tables, and return them; nothing is run."""
    make(plan.folder.path)
    for run in plan.runs.values():
        if plan.folder.result(run) is None:
            plan.folder.keep(run)
    write_tables(plan.page(), plan.folder.path)
    return plan.tables()
