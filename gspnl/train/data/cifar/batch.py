"""The records of one file, and which of them are damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gspnl.train.data.base import DataError
from gspnl.train.data.memory import MemorySplit

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Batch:
    """Records of a file: pixels uint8 (n, 3, 32, 32), labels (n,), and each one's number there."""

    file: str
    pixels: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray


def checked(
    file: str, pixels: np.ndarray, labels: np.ndarray, *, expected: int, classes: int, skip: bool
) -> tuple[Batch, list[str]]:
    """The good records of a file; lines on the others, which are errors unless skipped.

    Raises
    ------
    DataError
        If records are missing, or a label is no class.
    """
    bad = []
    if len(labels) != expected:
        bad.append(f"{file!r} has {len(labels):,} whole records of {expected:,}; it is cut off")
    wrong = (labels < 0) | (labels >= classes)
    bad += [
        f"{file!r}, record {number:,}: the label {labels[number]} is none of {classes} classes"
        for number in np.flatnonzero(wrong)
    ]
    if bad and not skip:
        more = f" (and {len(bad) - 1:,} more faults)" if len(bad) > 1 else ""
        raise DataError(
            f"{bad[0]}{more}; download it again, or leave out what is bad: --skip-bad, or "
            "skip_bad=True"
        )
    good = np.flatnonzero(~wrong)
    if good.size == 0:
        raise DataError(f"{file!r} has no good record; download it again")
    return Batch(file, pixels[good].reshape(-1, *SHAPE), labels[good], good), bad


def joined(batches: Sequence[Batch]) -> MemorySplit:
    """The records of several files as one split."""
    ends = np.cumsum([len(batch.labels) for batch in batches])

    def name(index: int) -> str:
        which = int(np.searchsorted(ends, index, side="right"))
        batch = batches[which]
        number = batch.numbers[index - (ends[which] - len(batch.labels))]
        return f"{batch.file}, record {number}"

    pixels = np.concatenate([batch.pixels for batch in batches])
    labels = np.concatenate([batch.labels for batch in batches])
    return MemorySplit(torch.from_numpy(pixels), labels, name)
