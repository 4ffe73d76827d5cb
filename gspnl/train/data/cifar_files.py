"""The files of the CIFAR sets: fixed-size binary records, or pickles of a dict of lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl.train.data.pickles import unpickle
from gspnl.train.data.registry import DataError

PIXELS = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way in which a set is published: a folder, its files and the one with the classes."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str

    def records(self, content: bytes, file: str, expected: int) -> tuple[np.ndarray, np.ndarray]:
        """Read pixels (n, 3072) and labels (n,) of a file of ``expected`` records."""
        raise NotImplementedError

    def names(self, content: bytes, file: str) -> list[str]:
        """Read the names of the classes."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Published:
    """A set of 3 × 32 × 32 images [1]_.

    ``records`` are those of a file of the training split and of one of the test split; ``mean``
    and ``std`` are of each channel over the training images, of values in [0, 1].

    References
    ----------
    .. [1] A. Krizhevsky, Learning multiple layers of features from tiny images, 2009;
       https://www.cs.toronto.edu/~kriz/cifar.html describes the files.
    """

    name: str
    classes: int
    forms: tuple[Form, ...]
    records: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Binary(Form):
    """Records of ``label_bytes`` bytes, of which ``label`` is the class, and 3,072 pixels."""

    label_bytes: int
    label: int

    def records(self, content: bytes, file: str, expected: int) -> tuple[np.ndarray, np.ndarray]:
        size = self.label_bytes + PIXELS
        if len(content) > expected * size:
            raise DataError(
                f"{file!r} has {len(content):,} bytes, more than {expected:,} records of {size:,}: "
                "it is no file of the published set; download it again"
            )
        count = len(content) // size
        rows = np.frombuffer(content, np.uint8, count * size).reshape(count, size)
        return rows[:, self.label_bytes :], rows[:, self.label].astype(np.int64)

    def names(self, content: bytes, file: str) -> list[str]:
        try:
            return [line.strip() for line in content.decode().splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise DataError(f"{file!r} is no text: {error}; download it again") from error


@dataclass(frozen=True, kw_only=True)
class Python(Form):
    """Pickles of a dict with the array "data" and the list ``key`` of labels."""

    key: str
    meta_key: str

    def records(self, content: bytes, file: str, expected: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = _entries(content, file, "data", self.key)
        if not (isinstance(pixels, np.ndarray) and pixels.ndim == 2 and pixels.shape[1] == PIXELS):
            raise DataError(
                f"'data' of {file!r} is no array of shape (n, {PIXELS}); download it again"
            )
        if not (isinstance(labels, list) and all(type(label) is int for label in labels)):
            raise DataError(f"{self.key!r} of {file!r} is no list of integers; download it again")
        if len(labels) != len(pixels):
            raise DataError(
                f"{file!r} has {len(pixels):,} images and {len(labels):,} labels; download it again"
            )
        if len(labels) > expected:
            raise DataError(
                f"{file!r} has {len(labels):,} images, more than {expected:,}: it is no file of "
                "the published set; download it again"
            )
        return pixels, np.array(labels, np.int64)

    def names(self, content: bytes, file: str) -> list[str]:
        (names,) = _entries(content, file, self.meta_key)
        if not (isinstance(names, list) and all(isinstance(name, (str, bytes)) for name in names)):
            raise DataError(f"{self.meta_key!r} of {file!r} is no list of names; download it again")
        return [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]


def _entries(content: bytes, file: str, *keys: str) -> list[Any]:
    """Values of the dict in a pickle, whose keys Python 2 wrote as bytes."""
    table = unpickle(content, file)
    if not isinstance(table, dict):
        raise DataError(f"{file!r} holds a {type(table).__name__}, not a dict; download it again")
    table = {key.decode("latin-1") if isinstance(key, bytes) else key: table[key] for key in table}
    for key in keys:
        if key not in table:
            raise DataError(
                f"{file!r} has no {key!r}, but {str(list(table))[:200]}; download it again"
            )
    return [table[key] for key in keys]


def good_records(
    file: str, labels: np.ndarray, expected: int, classes: int, skip_bad: bool
) -> tuple[np.ndarray, list[str]]:
    """Numbers of the valid records, and lines on the others and on missing ones, or an error."""
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
    good = np.flatnonzero(~wrong)
    if good.size == 0:
        raise DataError(f"{file!r} has no good record; download it again")
    return good, bad
