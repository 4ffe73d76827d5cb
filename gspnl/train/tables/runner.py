"""Run the networks of some tables: each run once, seed by seed, resumed where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl._base import files
from gspnl._base.validate import whole_number
from gspnl.errors import BusyError, FileError
from gspnl.train.interrupts import Stopped, record_signals
from gspnl.train.recipes import Recipe
from gspnl.train.tables.data_check import check_path, check_same_data, data_path, weights_path
from gspnl.train.tables.existing import Folder
from gspnl.train.tables.pages import write_tables
from gspnl.train.tables.plan import BUSY, Plan, plan_tables
from gspnl.train.tables.table import Tables

log = logging.getLogger(__name__)

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
    train: Train | None = None,
) -> Tables:
    """Run or resume the networks of some tables, and write the tables.

    Runs go seed by seed, backbones first, so that unfinished tables can be compared. A finished run
    is not repeated, a stopped one resumes from its checkpoint, and a failed one does not stop the
    others. Equal networks of several tables are one run. Several processes may work on the same
    ``out`` at once, each with one thread: a run locked by another process is skipped. Progress is
    logged.

    Parameters
    ----------
    tables, protocol, out, seeds, seed, only
        As in :func:`plan_tables`.
    data : path
        For "mini" a folder or zip of class folders; for "paper" the folder that holds the data sets
        under their published names.
    skip_bad : bool
        Leave damaged samples out, counted.
    device, threads : optional
        As in :func:`gspnl.train.train`.
    train : callable, optional
        Used for each run in place of :func:`gspnl.train.train`.

    Returns
    -------
    Tables
        The tables that were asked for; the files show everything in the folder.

    Raises
    ------
    InputError
        As :func:`plan_tables`; without data, with the names of those needed; for a device that is
        not available.
    FileError
        If data or folders are missing, or existing results are damaged or of other data.
    Stopped
        A KeyboardInterrupt after SIGTERM or Ctrl-C; results and pages are written first.
    """
    plan = plan_tables(tables, protocol, out=out, seeds=seeds, seed=seed, only=only)
    runs = plan.asked
    path = check_path(data, list(runs.values()))
    plan.page()  # damaged results, and results of other data, raise before anything runs
    if train is None:
        from gspnl.train.distributed import join

        if threads is not None:
            whole_number("threads", threads, 1)
        with join(device):  # raises for a device that is not available
            pass
        check_same_data(runs, plan.folder, path, skip_bad=skip_bad)
        train = default_train()
    files.make_folder(plan.folder.path, "name another --out")
    options = {"skip_bad": skip_bad, "device": device, "threads": threads}
    busy: list[str] = []
    with record_signals() as wish:
        try:
            for i, (name, run) in enumerate(runs.items(), 1):
                if wish.signum:
                    raise Stopped(wish.signum, f"run {i} of {len(runs)}")
                if plan.folder.result(name) is not None:
                    continue
                try:
                    if plan.folder.keep(name, run) is not None:
                        continue
                    log.info("[%d/%d] %s; %s", i, len(runs), name, plan.progress().left)
                    _run(name, run, path, plan.folder, train, **options)
                except BusyError:
                    busy.append(name)
                    log.info("%s is %s", name, BUSY)
                except Exception as error:  # any failure of a run leaves the others to do
                    reason = " ".join(f"{error}".split()) or type(error).__name__
                    plan.folder.fail(name, reason)
                    log.info("%s failed: %s", name, reason)
                else:
                    write_tables(plan.page(busy), plan.folder.path)
        finally:
            write_tables(plan.page(busy), plan.folder.path)
    return plan.tables(busy)


def tables_so_far(plan: Plan) -> Tables:
    """Keep the results of finished runs, write the tables, and return them; nothing is run."""
    with record_signals():  # a signal waits until all pages are written
        for name, run in plan.runs.items():
            if plan.folder.result(name) is None:
                plan.folder.keep(name, run)
        write_tables(plan.page(), plan.folder.path)
    return plan.tables()


def default_train() -> Train:
    """The training loop, imported when something is to be trained."""
    from gspnl.train import train

    return train


def _run(name: str, run: Recipe, data: Path, folder: Folder, train: Train, **options: Any) -> None:
    """Run or resume one network, and keep its numbers."""
    options |= {"data": data_path(run, data), "pretrained": weights_path(run, data)}
    out = folder.run(name)
    try:
        train(run, out=out, resume=True, **options)
    except Stopped as stop:
        if stop.finished:
            folder.keep(name, run)
        raise
    if folder.keep(name, run) is None:
        raise FileError(f"{str(out)!r} has no result after its training; move it to run this again")
