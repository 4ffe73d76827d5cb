"""Images in files: decoded now where they fit in memory, else when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from gspnl.train.data.base import Data, DataError, Split
from gspnl.train.data.files import FileSplit
from gspnl.train.data.memory import MemorySplit
from gspnl.train.data.statistics import Moments

MEMORY = 2 * 2**30  # bytes of both splits together
SAMPLE = 4_096  # images that mean and deviation are taken of where not all are decoded
CHUNK = 256  # images that wait decoded


def open_splits(
    name: str,
    classes: tuple[str, ...],
    train: FileSplit,
    test: FileSplit,
    skipped: Sequence[str] = (),
    *,
    skip_bad: bool,
) -> Data:
    """Make a data set of images in files.

    A split of one size that fits in memory is decoded now; any other is read when it is asked for.
    Mean and deviation are of all decoded training images, or else of an even sample of them.

    Raises
    ------
    DataError
        If an image is damaged, or all of a class are.
    """
    lines = list(skipped)
    moments = Moments()
    ready: list[Split] = []
    room = MEMORY
    for files in (train, test):
        bad: dict[int, str] = {}
        split: MemorySplit | FileSplit | None = _held(files, room, bad, skip_bad)
        if isinstance(split, MemorySplit):
            everything = split.take(np.arange(len(split.labels)))
            room -= everything.numel()
            if files is train:
                moments.add(everything)
        else:
            if files is train:
                even = np.linspace(0, len(files.files) - 1, min(SAMPLE, len(files.files)))
                for _, picture in _pictures(files, even.astype(int).tolist(), bad, skip_bad):
                    moments.add(picture[None])
            split = files.without(bad)
        _check_classes(split, classes, files)
        lines += [bad[index] for index in sorted(bad)]
        ready.append(split)
    return Data(name, classes, ready[0], ready[1], moments.mean, moments.std, tuple(lines))


def _held(files: FileSplit, room: int, bad: dict[int, str], skip_bad: bool) -> MemorySplit | None:
    """All images in memory, or None if they have several sizes or are too many."""
    samples: Tensor | None = None
    kept: list[int] = []
    for index, picture in _pictures(files, range(len(files.files)), bad, skip_bad):
        if samples is None:
            if picture.numel() * len(files.files) > room:
                return None
            samples = torch.empty((len(files.files), *picture.shape), dtype=torch.uint8)
        if picture.shape != samples.shape[1:]:
            return None
        samples[len(kept)] = picture
        kept.append(index)
    if samples is None:
        return None
    return MemorySplit(samples[: len(kept)], files.labels[kept], lambda i: files.name(kept[i]))


def _pictures(
    files: FileSplit, indices: Sequence[int], bad: dict[int, str], skip_bad: bool
) -> Iterator[tuple[int, Tensor]]:
    """Decode in order on all cores; what is damaged is an error, or put into ``bad``."""

    def attempt(index: int) -> Tensor | DataError:
        try:
            return files.read(index)
        except DataError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(indices), CHUNK):
            part = indices[start : start + CHUNK]
            for index, picture in zip(part, pool.map(attempt, part), strict=True):
                if isinstance(picture, Tensor):
                    yield index, picture
                elif skip_bad:
                    bad[index] = str(picture)
                else:
                    raise picture


def _check_classes(split: Split, classes: tuple[str, ...], files: FileSplit) -> None:
    left = np.bincount(split.labels, minlength=len(classes))
    if not left.all():
        name = classes[int(np.argmin(left))]
        first = int(np.flatnonzero(files.labels == classes.index(name))[0])
        raise DataError(
            f"no image of the class {name!r} can be decoded ({files.name(first)!r} and all others);"
            " replace them"
        )
