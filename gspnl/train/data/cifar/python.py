"""The python form: pickles of a dict with an array and lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.train.data.base import DataError
from gspnl.train.data.cifar.batch import PIXELS
from gspnl.train.data.cifar.published import Published
from gspnl.train.data.pickles import unpickle


def parse_records(
    content: bytes, file: str, published: Published, expected: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 3072) and labels (n,) of the dict in a file."""
    table = _table(content, file)
    pixels, labels = (_entry(table, key, file) for key in ("data", published.python.key))
    if not (isinstance(pixels, np.ndarray) and pixels.ndim == 2 and pixels.shape[1] == PIXELS):
        raise DataError(f"'data' of {file!r} is no array of shape (n, {PIXELS}); download it again")
    if not (isinstance(labels, list) and all(type(label) is int for label in labels)):
        raise DataError(
            f"{published.python.key!r} of {file!r} is no list of integers; download it again"
        )
    if len(labels) != len(pixels):
        raise DataError(
            f"{file!r} has {len(pixels):,} images and {len(labels):,} labels; download it again"
        )
    if len(labels) > expected:
        raise DataError(
            f"{file!r} has {len(labels):,} images, more than {expected:,}: it is no file of the "
            "published set; download it again"
        )
    return pixels, np.array(labels, np.int64)


def parse_names(content: bytes, file: str, published: Published) -> list[str]:
    """Names of the classes, a list in the dict of a file."""
    names = _entry(_table(content, file), published.python.meta_key, file)
    if not (isinstance(names, list) and all(isinstance(name, (str, bytes)) for name in names)):
        raise DataError(
            f"{published.python.meta_key!r} of {file!r} is no list of names; download it again"
        )
    return [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]


def _table(content: bytes, file: str) -> dict[Any, Any]:
    table = unpickle(content, file)
    if not isinstance(table, dict):
        raise DataError(f"{file!r} holds a {type(table).__name__}, not a dict; download it again")
    return table


def _entry(table: dict[Any, Any], key: str, file: str) -> Any:
    """The value of a key, which Python 2 wrote as bytes."""
    for name in (key, key.encode()):
        if name in table:
            return table[name]
    raise DataError(f"{file!r} has no {key!r}, but {str(list(table))[:200]}; download it again")
