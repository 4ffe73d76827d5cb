"""A folder or zip of class folders: split/class/image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gspnl.train.data.base import DATASETS, Data, DataError
from gspnl.train.data.files import FileSplit
from gspnl.train.data.opening import open_splits
from gspnl.train.data.sources import Source, open_source

SUFFIXES = (".jpg", ".jpeg", ".png")
TESTS = ("test", "val")  # the first of them that is there is what is tested on
LAYOUT = "train/CLASS/*.png and test/CLASS/*.png (or val/; .jpg as well)"


@DATASETS.register("folder")
def folder(path: Path | None, *, skip_bad: bool = False) -> Data:
    """Open images in folders that have the names of their classes; a zip of them is as good.

    Classes and files are in the order of their names. Images of one size that fit in 2 GiB are
    decoded now, and a damaged one is found now; others are read when they are asked for, and mean
    and deviation are then of at most 4,096 training images, evenly spaced.

    Parameters
    ----------
    path : path
        Of a folder, zip or tar.gz with ``train`` and ``test`` (or ``val``) in it, perhaps one
        folder further down.
    skip_bad : bool
        Leave out images that cannot be decoded and files that are no images, and list them in
        ``skipped``.

    Raises
    ------
    DataError
        If a split is missing, a class has no image, the splits have other classes, or an image is
        damaged; with ``skip_bad`` still for all but the last.
    """
    source = open_source(path, LAYOUT)
    files, folders = list(source.files()), list(source.folders())
    root = _root(source, folders)
    test = next((name for name in TESTS if root + name in folders), None)
    if test is None or f"{root}train" not in folders:
        there = sorted({name.removeprefix(root).split("/")[0] for name in folders})
        missing = ["train"] * ("train" not in there) + ["test"] * (test is None)
        raise DataError(
            f"{source.path!r} has no folder {' and no '.join(map(repr, missing))}: it has "
            f"{', '.join(there[:8]) or 'no folder at all'}; what is read is {LAYOUT}"
        )
    skipped: list[str] = []
    splits = []
    for split in ("train", test):
        place = f"{root}{split}/"
        classes = _classes(source.path, place, folders)
        pictures, strange = _pictures(source, place, files, classes)
        if strange and not skip_bad:
            raise DataError(
                f"{strange[0]}; move or remove it, or leave such files out: --skip-bad, or "
                "skip_bad=True"
            )
        skipped += strange
        splits.append((classes, pictures))
    (classes, train), (others, tested) = splits
    _same_classes(source.path, classes, others, test)
    return open_splits("folder", classes, train, tested, skipped, skip_bad=skip_bad)


def _root(source: Source, folders: Iterable[str]) -> str:
    """The one folder that holds everything, as zips often have."""
    tops = [name for name in folders if "/" not in name]
    inner = len(tops) == 1 and tops[0] != "train" and tops[0] not in TESTS
    return f"{tops[0]}/" if inner else ""


def _classes(path: str, place: str, folders: Iterable[str]) -> tuple[str, ...]:
    inside = [name.removeprefix(place) for name in folders if name.startswith(place)]
    classes = tuple(sorted(name for name in inside if "/" not in name))
    if not classes:
        raise DataError(f"{place!r} of {path!r} has no class folders; what is read is {LAYOUT}")
    return classes


def _pictures(
    source: Source, place: str, files: Iterable[str], classes: tuple[str, ...]
) -> tuple[FileSplit, list[str]]:
    """Images below a split, and lines on files that are none."""
    number = {name: index for index, name in enumerate(classes)}
    names, labels, strange = [], [], []
    for name in files:
        kind, _, rest = name.removeprefix(place).partition("/")
        if not name.startswith(place):
            continue
        if not rest:
            strange.append(f"{name!r} of {source.path!r} is in no class folder")
        elif not name.lower().endswith(SUFFIXES):
            strange.append(f"{name!r} of {source.path!r} is no image ({', '.join(SUFFIXES)})")
        else:
            names.append(name)
            labels.append(number[kind])
    empty = sorted(set(number.values()) - set(labels))
    if empty:
        raise DataError(
            f"the class folder {place + classes[empty[0]]!r} of {source.path!r} has no image; add "
            "some, or remove the folder from every split"
        )
    return FileSplit(source, names, labels), strange


def _same_classes(path: str, train: tuple[str, ...], test: tuple[str, ...], split: str) -> None:
    only = [
        f"{name!r} is in {here} only"
        for here, names, others in (("train", train, test), (split, test, train))
        for name in sorted(set(names) - set(others))
    ]
    if only:
        raise DataError(
            f"the splits of {path!r} have other classes: {', '.join(only[:6])}; give each class a "
            "folder in both"
        )
