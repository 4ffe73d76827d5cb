"""Images in folders of their classes, split/class/image, in a folder or an archive."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from gspnl.train.data.archives import Source, open_source
from gspnl.train.data.names import composed
from gspnl.train.data.registry import DATASETS, Data, DataError, Split, attempt
from gspnl.train.data.splits import FileSplit, MemorySplit, moments

SUFFIXES = (".jpg", ".jpeg", ".png")
TESTS = ("test", "val")  # the first of them that is there is what is tested on
LAYOUT = "train/CLASS/*.png and test/CLASS/*.png (or val/; .jpg as well)"
MEMORY = 2 * 2**30  # bytes of both splits together
SAMPLE = 4_096  # images for mean and deviation where not all are decoded
CHUNK = 256  # images that wait decoded


@DATASETS.register("folder")
def folder(path: Path | None, *, skip_bad: bool = False) -> Data:
    """Open images in folders that have the names of their classes; a zip of them is as good.

    Classes and files are in the order of their names. Images of one size that fit in 2 GiB are
    decoded now, and a damaged one is found now; others are decoded when they are read, and mean
    and deviation are then of at most 4,096 training images, evenly spaced.

    Links are followed, except those that lead back to a folder they are in. Names are compared in
    Unicode's composed form (NFC). Zips may divide the parts of names by backslashes; names outside
    of an archive are errors.

    ``path`` is a folder, zip or tar.gz with ``train`` and ``test`` (or ``val``) in it, perhaps one
    folder further down. ``skip_bad`` leaves out images that cannot be decoded and files that are
    no images, and lists them in ``skipped``; missing splits and classes are always errors.
    """
    source = open_source(path, LAYOUT)
    files, every = source.tree()
    tops = [name for name in every if "/" not in name]
    inner = len(tops) == 1 and tops[0] not in ("train", *TESTS)  # as zips often have
    root = f"{tops[0]}/" if inner else ""
    test = next((name for name in TESTS if root + name in every), None)
    if test is None or f"{root}train" not in every:
        there = sorted({name.removeprefix(root).split("/")[0] for name in every})
        missing = ["train"] * ("train" not in there) + ["test"] * (test is None)
        raise DataError(
            f"{source.path!r} has no folder {' and no '.join(map(repr, missing))}: it has "
            f"{', '.join(there[:8]) or 'no folder at all'}; what is read is {LAYOUT}"
        )
    skipped: list[str] = []
    classes, train = _list_images(source, files, every, f"{root}train/", skipped)
    others, tested = _list_images(source, files, every, f"{root}{test}/", skipped)
    if skipped and not skip_bad:
        more = f" (and {len(skipped) - 1:,} more files)" if len(skipped) > 1 else ""
        raise DataError(
            f"{skipped[0]}{more}; remove it, or leave it out: --skip-bad, or skip_bad=True"
        )
    only = [f"{name!r} is in train only" for name in classes if name not in others]
    only += [f"{name!r} is in {test} only" for name in others if name not in classes]
    if only:
        raise DataError(
            f"the splits of {source.path!r} have other classes: {', '.join(only[:6])}; give each "
            "class a folder in both"
        )
    return _load_splits(classes, train, tested, skipped, skip_bad)


def _list_images(
    source: Source, files: list[str], folders: list[str], place: str, bad: list[str]
) -> tuple[tuple[str, ...], FileSplit]:
    """Classes and images of a split; lines on files that are no images go to ``bad``."""
    inside = [name.removeprefix(place) for name in folders if name.startswith(place)]
    classes = tuple(sorted({composed(name) for name in inside if "/" not in name}))
    if not classes:
        raise DataError(
            f"{place!r} of {source.path!r} has no class folders; what is read is {LAYOUT}"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    found: dict[str, int] = {}
    other: dict[int, Counter[str]] = {}
    for name in sorted(files, key=composed):
        kind, below, _ = name.removeprefix(place).partition("/")
        if not name.startswith(place):
            continue
        if not below:
            bad.append(f"{name!r} of {source.path!r} is in no class folder")
        elif not name.lower().endswith(SUFFIXES):
            suffix = PurePosixPath(name).suffix or "no suffix"
            other.setdefault(numbers[composed(kind)], Counter())[suffix] += 1
            bad.append(
                f"{name!r} of {source.path!r} is no image that is read: it has {suffix}, and read "
                f"are {', '.join(SUFFIXES)}"
            )
        else:
            found[name] = numbers[composed(kind)]
    empty = sorted({*range(len(classes))} - {*found.values()})
    if empty:
        unread = ", ".join(f"{n:,} of {suffix}" for suffix, n in other.get(empty[0], {}).items())
        fix = f"it has {unread}: convert them to PNG or JPEG" if unread else "add some"
        raise DataError(
            f"the class folder {place + classes[empty[0]]!r} of {source.path!r} has no image with "
            f"{', '.join(SUFFIXES)}; {fix}, or remove the folder from every split"
        )
    return classes, FileSplit(source, list(found), list(found.values()))


def _load_splits(
    classes: tuple[str, ...], train: FileSplit, test: FileSplit, skipped: list[str], skip_bad: bool
) -> Data:
    """Make the data set, its splits in memory where they are of one size and there is room."""
    room = MEMORY
    splits: list[Split] = []
    for files in (train, test):
        bad: dict[int, str] = {}
        images: Iterable[Tensor]
        loaded = _load(files, room, bad, skip_bad)
        if loaded is not None:
            images = [loaded.take(np.arange(len(loaded.labels)))]
            room -= images[0].numel()
        else:
            even = np.linspace(0, len(files.files) - 1, min(SAMPLE, len(files.files)))
            indices = even.astype(int).tolist()
            images = (image[None] for _, image in _read(files, indices, bad, skip_bad))
        if files is train:
            mean, std = moments(images)
        split = files.without(bad) if loaded is None else loaded
        absent = set(files.labels.tolist()) - set(split.labels.tolist())
        if absent:
            first = files.name(files.labels.tolist().index(min(absent)))
            raise DataError(
                f"no image of the class {classes[min(absent)]!r} can be decoded ({first!r} and all "
                "others); replace them"
            )
        skipped += [bad[index] for index in sorted(bad)]
        splits.append(split)
    return Data("folder", classes, splits[0], splits[1], mean, std, tuple(skipped))


def _load(files: FileSplit, room: int, bad: dict[int, str], skip_bad: bool) -> MemorySplit | None:
    """All images of a split, or None if they have several sizes or are too many."""
    samples: Tensor | None = None
    good: list[int] = []
    for index, image in _read(files, range(len(files.files)), bad, skip_bad):
        if samples is None:
            if image.numel() * len(files.files) > room:
                return None
            samples = torch.empty((len(files.files), *image.shape), dtype=torch.uint8)
        if image.shape != samples.shape[1:]:
            return None
        samples[len(good)] = image
        good.append(index)
    if samples is None:
        return None
    return MemorySplit(samples[: len(good)], files.labels[good], lambda i: files.name(good[i]))


def _read(
    files: FileSplit, indices: Sequence[int], bad: dict[int, str], skip_bad: bool
) -> Iterator[tuple[int, Tensor]]:
    """Decode in order on all cores; put the errors of damaged images into ``bad``, or raise."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(indices), CHUNK):
            part = indices[start : start + CHUNK]
            images = pool.map(partial(attempt, files.read), part)
            for index, image in zip(part, images, strict=True):
                if isinstance(image, Tensor):
                    yield index, image
                elif skip_bad:
                    bad[index] = str(image)
                else:
                    raise image
