"""Runs that are compared were on the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gspnl.errors import FileError, GspnlError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.folder import Folder
from gspnl.train.tables.keys import plain
from gspnl.train.tables.sources import source


def fingerprints(folder: Folder) -> dict[str, tuple[Path, str]]:
    """What finished runs were on, by data set: a file that says so, and the fingerprint.

    Raises
    ------
    FileError
        If two runs on one data set have different fingerprints.
    """
    found: dict[str, tuple[Path, str]] = {}
    for path, result in folder.results():
        recipe, now = result["recipe"], result.get("data")
        if not isinstance(now, str):
            continue
        first, data = found.setdefault(
            _set(recipe.get("data"), recipe.get("data_options")), (path, now)
        )
        if data != now:
            raise FileError(
                f"{str(path)!r} was measured on other data ({now}) than {str(first)!r} ({data}), "
                "and runs on different data are not compared; move one of them away, and its "
                "folder in 'runs' with it"
            )
    return found


def see_same(runs: Mapping[str, Recipe], folder: Folder, data: Path, *, skip_bad: bool) -> None:
    """See that runs still to be done would be on the data of those that are.

    Data that are missing or damaged are passed by where there are others: their runs fail and say
    so, and the others go on.

    Parameters
    ----------
    runs : mapping of str to Recipe
        Done or not.
    folder : Folder
    data : Path
        What ``--data`` names.
    skip_bad : bool

    Raises
    ------
    GspnlError
        If the data are others, or if no run that is left has data that can be opened.
    """
    from gspnl.train.data import fingerprint
    from gspnl.train.session import open_data

    before = fingerprints(folder)
    first: dict[str, Recipe] = {}  # once is enough
    for run in runs.values():
        if folder.result(run) is None:
            first.setdefault(_set(run.data, plain(run)["data_options"]), run)
    faults = []
    for which, run in first.items():
        try:
            here = fingerprint(open_data(run, source(run, data), skip_bad))
        except GspnlError as fault:
            faults.append(fault)
            continue
        path, there = before.get(which, (None, here))
        if here != there:
            raise FileError(
                f"{str(path)!r} was measured on other data ({there}) than {str(data)!r} ({here}), "
                "and runs on different data are not compared; name another --out"
            )
    if faults and len(faults) == len(first):
        raise faults[0]


def _set(name: Any, options: Any) -> str:
    """A data set with its options."""
    return json.dumps([name, options or {}], sort_keys=True)
