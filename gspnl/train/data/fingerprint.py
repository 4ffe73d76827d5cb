"""Fingerprints of data sets, which tell one from another."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from gspnl.train.data.registry import Data, DataError

SAMPLES = 8  # of a split that are hashed, evenly spread


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
            try:
                sample = split.read(index)
            except DataError:  # an error, or left out, where it is used
                found.update(b"damaged")
            else:
                found.update(f"{tuple(sample.shape)} ".encode())
                found.update(sample.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
