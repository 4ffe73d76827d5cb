"""CIFAR-10 and CIFAR-100 as published: a folder or an archive of binary files or of pickles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gspnl.train.data.archives import Source, open_source
from gspnl.train.data.cifar_files import (
    binary_names,
    binary_records,
    pickled_names,
    pickled_records,
)
from gspnl.train.data.registry import DATASETS, Data, DataError
from gspnl.train.data.splits import MemorySplit

LIMIT = 256 * 2**20  # bytes of a file; the largest, CIFAR-100's train.bin, has 154 million


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """A set of 3 × 32 × 32 images [1]_, in a binary and a python form.

    Binary files have the names of the others and ``.bin``; their records have ``label_bytes``, of
    which ``label`` is the class. ``records`` are those of a training file and of a test file;
    ``mean`` and ``std`` are of each channel over the training images, of values in [0, 1].

    .. [1] A. Krizhevsky, Learning multiple layers of features from tiny images, 2009;
       https://www.cs.toronto.edu/~kriz/cifar.html describes the files.
    """

    name: str
    classes: int
    folders: tuple[str, str]  # binary, python
    metas: tuple[str, str]  # files of the classes' names
    train: tuple[str, ...]
    test: tuple[str, ...]
    keys: tuple[str, str]  # of labels and classes in the pickles
    label_bytes: int
    label: int
    records: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CIFAR10 = Cifar(
    name="cifar10",
    classes=10,
    folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
    metas=("batches.meta.txt", "batches.meta"),
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
    keys=("labels", "label_names"),
    label_bytes=1,
    label=0,
    records=(10_000, 10_000),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)


def _cifar100(name: str, classes: int, label: int, kind: str) -> Cifar:
    """CIFAR-100 with its fine or its coarse labels."""
    return Cifar(
        name=name,
        classes=classes,
        folders=("cifar-100-binary", "cifar-100-python"),
        metas=(f"{kind}_label_names.txt", "meta"),
        train=("train",),
        test=("test",),
        keys=(f"{kind}_labels", f"{kind}_label_names"),
        label_bytes=2,
        label=label,
        records=(50_000, 10_000),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )


CIFAR100 = _cifar100("cifar100", 100, 1, "fine")
CIFAR100_COARSE = _cifar100("cifar100_coarse", 20, 0, "coarse")


def open_cifar(cifar: Cifar, path: Path | None, *, skip_bad: bool = False) -> Data:
    """Open a CIFAR set in its binary or its python form.

    ``path`` is the folder with the files, the folder that holds that folder, or the published
    archive. ``skip_bad`` leaves out records with invalid labels and those missing at the end of a
    binary file, and lists them in ``skipped``; a pickle that is cut off stays an error.
    """
    folders = " or ".join(f"{folder}/" for folder in cifar.folders)
    source = open_source(path, f"the files of {folders}, or the archive of one")
    for folder, meta, end in zip(cifar.folders, cifar.metas, (".bin", ""), strict=True):
        for place in ("", f"{folder}/"):
            # Any of the files shows the form, so that a missing one is reported as such.
            if any(source.has(place + file + end) for file in (*cifar.train, *cifar.test)):
                return _read_all(cifar, source, place, place + meta, end, skip_bad)
    raise DataError(
        f"{source.path!r} has neither '{cifar.train[0]}.bin' nor {cifar.train[0]!r} in it; give "
        f"the folder {folders}, the one above it or the published archive, or for folders of "
        "images the data set 'folder'"
    )


def _read_all(
    cifar: Cifar, source: Source, place: str, meta: str, end: str, skip_bad: bool
) -> Data:
    """Read all files of one form."""
    skipped: list[str] = []

    def content(file: str) -> bytes:
        found = source.read(file, LIMIT)
        if found is None:
            raise DataError(f"{source.path!r} lacks {file!r}; download it again")
        return found

    def split(files: Sequence[str], expected: int) -> MemorySplit:
        images, labels, names = [], [], []
        for file in (place + file + end for file in files):
            if end:
                size = cifar.label_bytes, cifar.label
                pixels, every = binary_records(content(file), file, expected, *size)
            else:
                pixels, every = pickled_records(content(file), file, expected, cifar.keys[0])
            good = _good_records(file, every, expected, cifar.classes, skip_bad, skipped)
            images.append(pixels[good].reshape(-1, 3, 32, 32))
            labels.append(every[good])
            names += [f"{file}, record {number}" for number in good]
        samples = torch.from_numpy(np.concatenate(images))
        return MemorySplit(samples, np.concatenate(labels), names.__getitem__)

    text = content(meta)
    classes = binary_names(text, meta) if end else pickled_names(text, meta, cifar.keys[1])
    if len(classes) != cifar.classes:
        raise DataError(
            f"{meta!r} has {len(classes)} names for {cifar.classes} classes; download it again"
        )
    train, test = split(cifar.train, cifar.records[0]), split(cifar.test, cifar.records[1])
    return Data(cifar.name, tuple(classes), train, test, cifar.mean, cifar.std, tuple(skipped))


def _good_records(
    file: str, labels: np.ndarray, expected: int, classes: int, skip_bad: bool, skipped: list[str]
) -> np.ndarray:
    """Numbers of the valid records; lines on the others go to ``skipped``, or are errors."""
    bad = []
    if len(labels) != expected:
        bad.append(f"{file!r} has {len(labels):,} whole records of {expected:,}; it is cut off")
    wrong = (labels < 0) | (labels >= classes)
    bad += [
        f"{file!r}, record {number:,}: the label {labels[number]} is none of {classes} classes"
        for number in np.flatnonzero(wrong)
    ]
    if bad and not skip_bad:
        more = f" (and {len(bad) - 1:,} more faults)" if len(bad) > 1 else ""
        raise DataError(
            f"{bad[0]}{more}; download it again, or leave out what is bad: --skip-bad, or "
            "skip_bad=True"
        )
    if wrong.all():
        raise DataError(f"{file!r} has no good record; download it again")
    skipped += bad
    return np.flatnonzero(~wrong)


for each in (CIFAR10, CIFAR100, CIFAR100_COARSE):
    DATASETS.register(each.name)(partial(open_cifar, each))
