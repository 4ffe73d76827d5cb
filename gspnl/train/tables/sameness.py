"""Runs that are compared were on the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gspnl.errors import FileError
from gspnl.train.recipes.base import Recipe
from gspnl.train.tables.folder import Folder
from gspnl.train.tables.keys import plain
from gspnl.train.tables.sources import source


def fingerprints(runs: Mapping[str, Recipe], folder: Folder) -> dict[str, tuple[Path, str]]:
    """What finished runs were on, by data set: a file that says so, and the fingerprint.

    Raises
    ------
    FileError
        If two runs on one data set have different fingerprints.
    """
    found: dict[str, tuple[Path, str]] = {}
    for run in runs.values():
        result = folder.result(run)
        if result is None or not isinstance(result.get("data"), str):
            continue
        path, data = found.setdefault(_set(run), (folder.kept(run), result["data"]))
        if data != result["data"]:
            raise FileError(
                f"{str(folder.kept(run))!r} was measured on other data ({result['data']}) than "
                f"{str(path)!r} ({data}), and runs on different data are not compared; move one of "
                "them away"
            )
    return found


def see_same(runs: Mapping[str, Recipe], folder: Folder, data: Path, *, skip_bad: bool) -> None:
    """See that runs still to be done would be on the data of those that are.

    Parameters
    ----------
    runs : mapping of str to Recipe
        All, done or not.
    folder : Folder
    data : Path
        What ``--data`` names.
    skip_bad : bool

    Raises
    ------
    FileError
        If the data are others.
    """
    from gspnl.train.data import fingerprint
    from gspnl.train.session import opened

    before = fingerprints(runs, folder)
    seen: set[str] = set()
    for run in runs.values():
        if folder.result(run) is not None or _set(run) in seen or _set(run) not in before:
            continue
        seen.add(_set(run))
        path, there = before[_set(run)]
        here = fingerprint(opened(run, source(run, data), skip_bad))
        if here != there:
            raise FileError(
                f"{str(path)!r} was measured on other data ({there}) than {str(data)!r} ({here}), "
                "and runs on different data are not compared; name another --out"
            )


def _set(run: Recipe) -> str:
    return json.dumps([run.data, plain(run)["data_options"]], sort_keys=True)
