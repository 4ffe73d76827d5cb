"""Running a grid: every run once, seed by seed, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl._base.validate import whole_number
from gspnl.errors import BusyError, FileError
from gspnl.train.interrupts import Stopped, record_signals
from gspnl.train.recipes import Recipe
from gspnl.train.tables.folder import Folder, make
from gspnl.train.tables.planning import BUSY, Plan, Tables, plan_tables
from gspnl.train.tables.sameness import see_same
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
    tables, protocol, out, seeds, seed, only
        As in :func:`plan_tables`.
    data : path
        For "mini" a folder or zip of class folders; for "paper" the folder that holds the data sets
        under their published names.
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
        Those that were asked for; ``left`` says which runs are not done, and why. The files show
        all that there is in the folder.

    Raises
    ------
    InputError
        For unknown tables, protocols or blocks, and a device that is not here; without data,
        saying which are needed; for a folder that holds tables of another protocol.
    FileError
        If data or folders are missing or cannot be written, or numbers that are kept are damaged,
        or of other data.
    Stopped
        A KeyboardInterrupt: SIGTERM or Ctrl-C came, in a run or between two, and what is done has
        been written.
    """
    plan = plan_tables(tables, protocol, out=out, seeds=seeds, seed=seed, only=only)
    runs = plan.asked
    path = checked(data, runs.values())
    plan.page()  # what is damaged, or of other data, is refused before anything runs
    if train is None:
        see_machine(device, threads)
        see_same(runs, plan.folder, path, skip_bad=skip_bad)
        train = default_train()
    make(plan.folder.path)
    options = {"skip_bad": skip_bad, "device": device, "threads": threads}
    busy: list[str] = []
    with record_signals() as wish:
        try:
            for i, (name, run) in enumerate(runs.items(), 1):
                if wish.signum:
                    raise Stopped(wish.signum, f"run {i} of {len(runs)}")
                if plan.folder.result(run) is not None:
                    continue
                try:
                    if plan.folder.keep(run) is not None:
                        continue
                    say(f"[{i}/{len(runs)}] {name}; {plan.progress().left}")
                    _one(run, path, plan.folder, train, **options)
                except BusyError:
                    busy.append(name)
                    say(f"{name} is {BUSY}")
                except Exception as error:  # whatever it is, other runs can do without this one
                    reason = " ".join(f"{error}".split()) or type(error).__name__
                    plan.folder.fail(run, reason)
                    say(f"{name} failed: {reason}")
                else:
                    write_tables(plan.page(busy), plan.folder, pictures=False)
        finally:
            write_tables(plan.page(busy), plan.folder)
    return plan.tables(busy)


def tables_so_far(plan: Plan) -> Tables:
    """Take over what has finished, write the tables, and return them; nothing is run."""
    with record_signals():  # a page is whole, and of the same runs as the others
        make(plan.folder.path)
        for run in plan.runs.values():
            if plan.folder.result(run) is None:
                plan.folder.keep(run)
        write_tables(plan.page(), plan.folder)
    return plan.tables()


def see_machine(device: str | None, threads: int | None) -> None:
    """See that a run could begin here: what is wrong is told once, and not by every run."""
    from gspnl.train.distributed import join

    if threads is not None:
        whole_number("threads", threads, 1)
    with join(device):
        pass


def default_train() -> Train:
    """The training loop, imported when something is to be trained."""
    from gspnl.train import train

    return train


def _one(run: Recipe, data: Path, folder: Folder, train: Train, **options: Any) -> None:
    """Do a run, or the rest of it, and keep its numbers."""
    out = folder.run(run)
    try:
        train(
            run,
            data=source(run, data),
            out=out,
            pretrained=weights(run, data),
            resume=True,
            **options,
        )
    except Stopped as stop:
        if stop.finished:
            folder.keep(run)
        raise
    if folder.keep(run) is None:
        raise FileError(f"{str(out)!r} has no result after its training; move it to run this again")
