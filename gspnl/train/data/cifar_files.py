"""Parse the files of the CIFAR sets: fixed-size binary records, or pickles of a dict of lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.train.data.pickles import unpickle
from gspnl.train.data.registry import DataError

PIXELS = 3 * 32 * 32
Records = tuple[np.ndarray, np.ndarray]  # pixels (n, 3072) and labels (n,)


def binary_records(content: bytes, file: str, most: int, label_bytes: int, label: int) -> Records:
    """Records of ``label_bytes`` bytes, of which ``label`` is the class, and 3,072 pixels."""
    size = label_bytes + PIXELS
    if len(content) > most * size:
        raise DataError(
            f"{file!r} has {len(content):,} bytes, more than {most:,} records of {size:,}: it is "
            "no file of the published set; download it again"
        )
    count = len(content) // size
    rows = np.frombuffer(content, np.uint8, count * size).reshape(count, size)
    return rows[:, label_bytes:], rows[:, label].astype(np.int64)


def binary_names(content: bytes, file: str) -> list[str]:
    """Names of the classes, a line each."""
    try:
        return [line.strip() for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{file!r} is no text: {error}; download it again") from error


def pickled_records(content: bytes, file: str, most: int, key: str) -> Records:
    """The array "data" and the list ``key`` of a pickled dict."""
    table = _table(content, file, "data", key)
    pixels, labels = table["data"], table[key]
    if not (isinstance(pixels, np.ndarray) and pixels.ndim == 2 and pixels.shape[1] == PIXELS):
        raise DataError(f"'data' of {file!r} is no array of shape (n, {PIXELS}); download it again")
    if not (isinstance(labels, list) and all(type(label) is int for label in labels)):
        raise DataError(f"{key!r} of {file!r} is no list of integers; download it again")
    if len(labels) != len(pixels):
        raise DataError(
            f"{file!r} has {len(pixels):,} images and {len(labels):,} labels; download it again"
        )
    if len(labels) > most:
        raise DataError(
            f"{file!r} has {len(labels):,} images, more than {most:,}: it is no file of the "
            "published set; download it again"
        )
    return pixels, np.array(labels, np.int64)


def pickled_names(content: bytes, file: str, key: str) -> list[str]:
    """Names of the classes, a list in a pickled dict."""
    names = _table(content, file, key)[key]
    if not (isinstance(names, list) and all(isinstance(name, (str, bytes)) for name in names)):
        raise DataError(f"{key!r} of {file!r} is no list of names; download it again")
    return [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]


def _table(content: bytes, file: str, *keys: str) -> dict[Any, Any]:
    """The pickled dict with its keys, which Python 2 wrote as bytes, as text."""
    table = unpickle(content, file)
    if not isinstance(table, dict):
        raise DataError(f"{file!r} holds a {type(table).__name__}, not a dict; download it again")
    table = {key.decode("latin-1") if isinstance(key, bytes) else key: table[key] for key in table}
    for key in keys:
        if key not in table:
            raise DataError(
                f"{file!r} has no {key!r}, but {str(list(table))[:200]}; download it again"
            )
    return table
