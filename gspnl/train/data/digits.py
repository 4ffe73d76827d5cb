"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gspnl.errors import InputError, MissingExtraError
from gspnl.train.data.randomness import uniforms
from gspnl.train.data.registry import DATASETS, Data
from gspnl.train.data.splits import MemorySplit, moments

TEST = 0.2  # of each class


@DATASETS.register("digits")
def digits(path: Path | None = None, *, skip_bad: bool = False) -> Data:
    """Open 1,797 digits of 8 × 8 pixels in 17 greys [1]_; nothing is downloaded.

    A fifth of each class, the same one always, is for testing.

    .. [1] E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI machine
       learning repository, 1998.
    """
    if path is not None:
        raise InputError(f"'digits' are in no file, but path={str(path)!r} was given; leave it out")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("'digits' needs scikit-learn; pip install scikit-learn") from error
    bunch = load_digits()
    samples = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None])
    labels = np.asarray(bunch.target, np.int64)
    drawn = uniforms(0, 0, len(labels), 1)[:, 0]
    tested = np.zeros(len(labels), bool)
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        order = of_class[np.argsort(drawn[of_class], kind="stable")]
        tested[order[: round(TEST * len(order))]] = True

    def split(rows: np.ndarray) -> MemorySplit:
        return MemorySplit(samples[rows], labels[rows], lambda index: f"digit {rows[index]}")

    mean, std = moments([samples[~tested]])
    train, test = split(np.flatnonzero(~tested)), split(np.flatnonzero(tested))
    return Data("digits", tuple("0123456789"), train, test, mean, std)
