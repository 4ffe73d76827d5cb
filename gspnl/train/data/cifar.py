"""CIFAR-10 and CIFAR-100 as published: a folder or an archive of binary files or of pickles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gspnl.train.data.archives import Source, open_source
from gspnl.train.data.pickles import unpickle
from gspnl.train.data.registry import DATASETS, Data, DataError, data_errors
from gspnl.train.data.splits import MemorySplit

LIMIT = 256 * 2**20  # bytes of a file; the largest, CIFAR-100's train.bin, has 154 million
PIXELS = 3 * 32 * 32


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
CIFAR100 = Cifar(
    name="cifar100",
    classes=100,
    folders=("cifar-100-binary", "cifar-100-python"),
    metas=("fine_label_names.txt", "meta"),
    train=("train",),
    test=("test",),
    keys=("fine_labels", "fine_label_names"),
    label_bytes=2,
    label=1,
    records=(50_000, 10_000),
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)
CIFAR100_COARSE = replace(
    CIFAR100,
    name="cifar100_coarse",
    classes=20,
    metas=("coarse_label_names.txt", "meta"),
    keys=("coarse_labels", "coarse_label_names"),
    label=0,
)


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

    def split(files: tuple[str, ...], expected: int) -> MemorySplit:
        images, labels, names = [], [], []
        for file in (place + file + end for file in files):
            records = _binary_records if end else _pickled_records
            pixels, every = records(cifar, source.read(file, LIMIT), file, expected)
            good = _good_records(file, every, expected, cifar.classes, skip_bad, skipped)
            images.append(pixels[good])
            labels.append(every[good])
            names += [f"{file}, record {number}" for number in good]
        samples = torch.from_numpy(np.concatenate(images).reshape(-1, 3, 32, 32))
        return MemorySplit(samples, np.concatenate(labels), names.__getitem__)

    read_names = _binary_names if end else _pickled_names
    classes = read_names(cifar, source.read(meta, LIMIT), meta)
    if len(classes) != cifar.classes:
        raise _bad(f"{meta!r} has {len(classes)} names for {cifar.classes} classes")
    train, test = split(cifar.train, cifar.records[0]), split(cifar.test, cifar.records[1])
    return Data(cifar.name, tuple(classes), train, test, cifar.mean, cifar.std, tuple(skipped))


def _bad(problem: str) -> DataError:
    return DataError(f"{problem}; download it again")


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
        left_out = "or leave out what is bad: --skip-bad, or skip_bad=True"
        raise DataError(f"{bad[0]}{more}; download it again, {left_out}")
    if wrong.all():
        raise _bad(f"{file!r} has no good record")
    skipped += bad
    return np.flatnonzero(~wrong)


def _binary_records(
    cifar: Cifar, content: bytes, file: str, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 3072) and labels (n,) of records of a few bytes of labels and 3,072 pixels."""
    size = cifar.label_bytes + PIXELS
    if len(content) > most * size:
        raise _bad(f"{file!r} has {len(content):,} bytes, more than {most:,} records of {size:,}")
    count = len(content) // size
    rows = np.frombuffer(content, np.uint8, count * size).reshape(count, size)
    return rows[:, cifar.label_bytes :], rows[:, cifar.label].astype(np.int64)


def _pickled_records(
    cifar: Cifar, content: bytes, file: str, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 3072) and labels (n,) of a pickled dict."""
    key = cifar.keys[0]
    pixels, labels = _unpickled(content, file, "data", key)
    if not (isinstance(pixels, np.ndarray) and pixels.ndim == 2 and pixels.shape[1] == PIXELS):
        raise _bad(f"'data' of {file!r} is no array of shape (n, {PIXELS})")
    if not (isinstance(labels, list) and all(type(label) is int for label in labels)):
        raise _bad(f"{key!r} of {file!r} is no list of integers")
    if len(labels) != len(pixels):
        raise _bad(f"{file!r} has {len(pixels):,} images and {len(labels):,} labels")
    if len(labels) > most:
        raise _bad(f"{file!r} has {len(labels):,} images, more than {most:,}")
    return pixels, np.array(labels, np.int64)


def _binary_names(cifar: Cifar, content: bytes, file: str) -> list[str]:
    with data_errors(f"{file!r} is no text", "download it again"):
        return [line.strip() for line in content.decode().splitlines() if line.strip()]


def _pickled_names(cifar: Cifar, content: bytes, file: str) -> list[str]:
    (names,) = _unpickled(content, file, cifar.keys[1])
    if not (isinstance(names, list) and all(isinstance(name, (str, bytes)) for name in names)):
        raise _bad(f"{cifar.keys[1]!r} of {file!r} is no list of names")
    return [_text(name) for name in names]


def _unpickled(content: bytes, file: str, *keys: str) -> list[Any]:
    """Values of a pickled dict, whose keys Python 2 wrote as bytes."""
    table = unpickle(content, file)
    if not isinstance(table, dict):
        raise _bad(f"{file!r} holds a {type(table).__name__}, not a dict")
    table = {_text(key): value for key, value in table.items()}
    for key in keys:
        if key not in table:
            raise _bad(f"{file!r} has no {key!r}, but {str(list(table))[:200]}")
    return [table[key] for key in keys]


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


for each in (CIFAR10, CIFAR100, CIFAR100_COARSE):
    DATASETS.register(each.name)(partial(open_cifar, each))
