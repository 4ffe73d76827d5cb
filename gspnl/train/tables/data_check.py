"""Locate the data of runs, and check that runs to be compared use the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl.errors import FileError, GspnlError, InputError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.existing import Folder, read
from gspnl.train.tables.grid import plain

#: Folders and archives of the data sets under their published names.
PUBLISHED: dict[str, tuple[str, ...]] = {
    "cifar10": (
        "cifar-10-batches-bin", "cifar-10-batches-py",
        "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz",
    ),
    "cifar100": (
        "cifar-100-binary", "cifar-100-python",
        "cifar-100-binary.tar.gz", "cifar-100-python.tar.gz",
    ),
    "cub200": ("CUB_200_2011",),
    "ucf101": ("UCF-101", "ucfTrainTestlist"),
}  # fmt: skip
BESIDE = {"ucf101"}  # videos and lists are two folders; the data set opens the one they lie in
OTHER = "and runs on different data are not compared;"


def data_path(recipe: Recipe, data: Path) -> Path:
    """The path that ``train`` opens for a recipe, in the folder of ``--data``."""
    names = PUBLISHED.get(recipe.data)
    if names is None:
        return data
    for folder in (data, *(data / name for name in names)):
        if folder.name in names and folder.exists():
            return folder.parent if recipe.data in BESIDE else folder
    wanted = " or ".join(map(repr, names))
    if not data.is_dir():
        raise FileError(
            f"{str(data)!r} is not the folder that holds {wanted}, which {recipe.data!r} is read "
            "from; name it, or for class folders of your own pass --protocol mini"
        )
    raise FileError(
        f"{str(data)!r} holds no data for {recipe.data!r}; put {wanted}, as published, into it"
    )


def weights_path(recipe: Recipe, data: Path) -> Path | None:
    """The file of a recipe's pretrained weights, None if it starts from none."""
    path = None if recipe.pretrained is None else data / recipe.pretrained
    if path is not None and not path.is_file():
        raise FileError(
            f"{str(path)!r} is missing: {recipe.backbone} starts from pretrained weights; put "
            "their state dict there"
        )
    return path


def check_path(data: str | PathLike[str] | None, recipes: Sequence[Recipe]) -> Path:
    """``--data`` as a path; an error that names the data sets of the recipes if it is not there."""
    if data is not None and Path(data).exists():
        return Path(data)
    wanted: dict[str, None] = {}
    for recipe in recipes:
        names = PUBLISHED.get(recipe.data, ())
        both = " and ".join(names if recipe.data in BESIDE else names[:1])
        wanted[f"{both} ({recipe.data})"] = None
        if recipe.pretrained is not None:
            wanted[f"{recipe.pretrained} (weights for {recipe.backbone})"] = None
    needed = f"a folder that holds {', '.join(wanted)}"
    if any(recipe.data not in PUBLISHED for recipe in recipes):
        needed = "a folder or zip with train/CLASS/ and test/CLASS/ of images"
    if data is None:
        raise InputError(f"no data given; pass --data, {needed}")
    raise FileError(f"--data {str(data)!r} does not exist; name {needed}")


def fingerprints(folder: Folder) -> dict[str, tuple[Path, str]]:
    """One result and fingerprint of each data set of finished runs; FileError for two of them."""
    found: dict[str, tuple[Path, str]] = {}
    for path in sorted(folder.path.glob("results/*.json")):
        result = read(path)
        now = result.get("data")
        if not isinstance(now, str):
            continue
        first, before = found.setdefault(_data_set(result["recipe"]), (path, now))
        if before != now:
            raise FileError(
                f"{str(path)!r} was measured on other data ({now}) than {str(first)!r} ({before}), "
                f"{OTHER} move one of them away, and its folder in 'runs' with it"
            )
    return found


def check_same_data(
    runs: Mapping[str, Recipe], folder: Folder, data: Path, *, skip_bad: bool
) -> None:
    """Raise if runs still to be done would use other data than finished runs.

    Missing or damaged data raise only if no data set can be opened; else their runs fail.
    """
    from gspnl.train.data import fingerprint
    from gspnl.train.session import open_data

    before = fingerprints(folder)
    first: dict[str, Recipe] = {}  # one run of each data set
    for name, run in runs.items():
        if folder.result(name) is None:
            first.setdefault(_data_set(plain(run)), run)
    faults = []
    for data_set, run in first.items():
        try:
            here = fingerprint(open_data(run, data_path(run, data), skip_bad))
        except GspnlError as fault:
            faults.append(fault)
            continue
        path, there = before.get(data_set, (None, here))
        if here != there:
            raise FileError(
                f"{str(path)!r} was measured on other data ({there}) than {str(data)!r} ({here}), "
                f"{OTHER} name another --out"
            )
    if faults and len(faults) == len(first):
        raise faults[0]


def _data_set(recipe: Mapping[str, Any]) -> str:
    """The data set of a recipe's fields, with its options."""
    return json.dumps([recipe.get("data"), recipe.get("data_options") or {}], sort_keys=True)
