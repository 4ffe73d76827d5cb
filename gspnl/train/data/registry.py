"""Data sets by name: their registry, splits, errors and fingerprints."""

from __future__ import annotations

import hashlib
import inspect
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from gspnl._base.registry import Registry
from gspnl.errors import FileError, InputError

SAMPLES = 8  # of a split that are hashed, evenly spread
ARCHIVES = (zipfile.BadZipFile, tarfile.TarError)


class DataError(FileError):
    """A sample, or a file of a data set, is missing or damaged."""


@contextmanager
def data_errors(problem: str, fix: str) -> Iterator[None]:
    """Turn errors of files and archives into a DataError: the problem, its cause and the fix."""
    try:
        yield
    except DataError:
        raise
    except FileError as error:  # it has a fix of its own
        raise DataError(str(error)) from error
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, *ARCHIVES) as error:
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"{problem} ({cause}); {fix}") from error


def attempt(read: Callable[..., Tensor], *arguments: Any) -> Tensor | DataError:
    """Read a sample, or return its error."""
    try:
        return read(*arguments)
    except DataError as error:
        return error


class Split(Protocol):
    r"""Samples and their labels.

    ``labels`` are classes, int64 of shape (n,). ``name`` gives the name of a sample for errors.
    ``read`` gives one sample, uint8 of shape (C, \*spatial), or raises a :class:`DataError` with
    its name. ``take`` gives many of one size at once, (b, C, \*spatial), or None where samples must
    be read one by one.
    """

    @property
    def labels(self) -> np.ndarray: ...

    def name(self, index: int) -> str: ...

    def read(self, index: int) -> Tensor: ...

    def take(self, indices: np.ndarray) -> Tensor | None: ...


class Drawn(Split, Protocol):
    r"""A split whose samples are drawn from something longer, as clips are of videos.

    ``read`` takes ``draws`` uniforms of [0, 1) that choose the sample; without them it gives the
    middle one. A sample holds ``views`` views, one after the other along its first spatial axis, of
    shape (C, views · T, \*rest); in evaluation a network takes them one by one, and its
    probabilities are averaged. A split without these attributes has ``draws`` 0 and ``views`` 1.
    """

    @property
    def draws(self) -> int: ...

    @property
    def views(self) -> int: ...

    def read(self, index: int, u: np.ndarray | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Data:
    """A data set.

    Parameters
    ----------
    name : str
    classes : tuple of str
        In the order of the labels.
    train, test : Split
    mean, std : tuple of float
        Of each channel over the training images, of values in [0, 1].
    skipped : tuple of str
        Damaged samples that were left out when the data were opened; a line each.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()


# A function (path, *, skip_bad=False, **options) -> Data for each name.
DATASETS: Registry[Callable[..., Data]] = Registry("data set")


def load(
    name: str, path: str | PathLike[str] | None = None, *, skip_bad: bool = False, **options: Any
) -> Data:
    """Open a data set.

    Parameters
    ----------
    name : str
        A name of :data:`DATASETS`: ``"cifar10"``, ``"cifar100"`` and ``"cifar100_coarse"`` as
        published, ``"folder"`` for images in folders of their classes or a zip of these,
        ``"digits"`` of scikit-learn, ``"cub200"``, ``"ucf101"``.
    path : path, optional
        Folder or archive of its files; ``"digits"`` has none.
    skip_bad : bool
        Leave damaged samples out and list them in ``Data.skipped``; otherwise they are errors.
    **options
        Of the data set, such as ``split=2`` of :func:`ucf101`.

    Raises
    ------
    InputError
        For an unknown name or option, or a path that is missing or not asked for.
    DataError
        If a file is missing or damaged; the message names it.

    Examples
    --------
    >>> data = load("digits")
    >>> data.classes[:3], data.train.read(0).shape
    (('0', '1', '2'), torch.Size([1, 8, 8]))
    """
    if not isinstance(skip_bad, bool):
        raise InputError(f"skip_bad={skip_bad!r} must be True or False")
    opener = DATASETS[name]
    # The first parameter is the path, by whatever name.
    known = [each for each in [*inspect.signature(opener).parameters][1:] if each != "skip_bad"]
    unknown = next((option for option in options if option not in known), None)
    if unknown is not None:
        takes = ", ".join(known) or "none"
        raise InputError(f"the data set {name!r} has no option {unknown!r}; it takes {takes}")
    if path is not None and not isinstance(path, (str, PathLike)):
        raise InputError(f"path={path!r} is no path; give a text or a pathlib.Path")
    return opener(None if path is None else Path(path), skip_bad=skip_bad, **options)


def fingerprint(data: Data) -> str:
    """Hash classes, labels, means, deviations and a few samples to 16 hexadecimal digits.

    Labels are hashed in their order, with up to eight evenly spread samples of each split. The
    path has no part in it: data that are moved keep their fingerprint.

    Examples
    --------
    >>> from gspnl.train import data
    >>> digits = data.load("digits")
    >>> len(fingerprint(digits)), fingerprint(digits) == fingerprint(data.load("digits"))
    (16, True)
    """
    found = hashlib.sha256(json.dumps(data.classes).encode())
    for value in (*data.mean, *data.std):
        found.update(f"{value:.6f} ".encode())  # digits that any machine agrees on
    for split in (data.train, data.test):
        labels = np.asarray(split.labels)
        found.update(f"{len(labels)} ".encode())
        found.update(labels.astype("<i8").tobytes())
        even = np.linspace(0, len(labels) - 1, SAMPLES if len(labels) else 0)
        for index in np.unique(even.round().astype(int)).tolist():
            sample = attempt(split.read, index)
            if isinstance(sample, DataError):  # an error, or left out, where it is used
                found.update(b"damaged")
            else:
                found.update(f"{tuple(sample.shape)} ".encode())
                found.update(sample.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
