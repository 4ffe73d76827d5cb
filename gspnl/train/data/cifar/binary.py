"""The binary form: label bytes, then 3,072 pixels, and so on."""

from __future__ import annotations

import numpy as np

from gspnl.train.data.base import DataError
from gspnl.train.data.cifar.batch import PIXELS
from gspnl.train.data.cifar.published import Published


def parse_records(
    content: bytes, file: str, published: Published, expected: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 3072) and labels (n,) of the whole records of a file."""
    size = published.label_bytes + PIXELS
    whole = len(content) // size
    if len(content) > expected * size:
        raise DataError(
            f"{file!r} has {len(content):,} bytes, more than {expected:,} records of {size:,}: it "
            "is no file of the published set; download it again"
        )
    rows = np.frombuffer(content, np.uint8, whole * size).reshape(whole, size)
    return rows[:, published.label_bytes :], rows[:, published.label].astype(np.int64)


def parse_names(content: bytes, file: str, published: Published) -> list[str]:
    """Names of the classes, a line each."""
    try:
        return [line.strip() for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{file!r} is no text: {error}; download it again") from error
