"""A tiny data set and backbone for tests of the loop; run, it is ``gspnl`` with them."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gspnl.train.backbones import BACKBONES, Backbone
from gspnl.train.data import DATASETS, Data, DataError

HOOKS = {}  # number of a call of the network in training → what a test does at it
SAMPLES, TESTS, CLASSES, SIZE = 40, 12, 4, 8


@dataclass(frozen=True)
class Split:
    images: torch.Tensor
    labels: np.ndarray
    bad: tuple[int, ...] = ()
    kind: str = "record"

    def name(self, index):
        return f"{self.kind} {index}"

    def read(self, index):
        if index in self.bad:
            raise DataError(f"{self.name(index)} is damaged")
        return self.images[index]

    def take(self, indices):
        return None if self.bad else self.images[torch.as_tensor(np.asarray(indices))]


def split(count, seed, bad=(), kind="record"):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 128, (count, 3, SIZE, SIZE))
    images[np.arange(count), labels % 3, :4] += 40 * (labels > 1)[:, None, None] + 60
    return Split(torch.from_numpy(images.astype(np.uint8)), labels.astype(np.int64), bad, kind)


def open_tiny(path, *, skip_bad=False):
    train = split(SAMPLES, 0, damaged("TINY_BAD"))
    test = split(TESTS, 1, damaged("TINY_BAD_TESTS"), "test record")
    moments = (0.3, 0.3, 0.3), (0.2, 0.2, 0.2)
    names = tuple(f"class {i}" for i in range(CLASSES))
    return Data("tiny", names, train, test, *moments)


def damaged(variable):
    """Numbers in the environment, as "3,17"."""
    return tuple(int(number) for number in os.environ.get(variable, "").split(",") if number)


class Tiny(Backbone):
    """Convolution, batch norm and dropout, twice: all kinds of state."""

    def __init__(self, *, classes, channels=3, slow=0.0, poison=-1, drop=0.2):
        places = {"stage1": ("body.0",), "sp3": ("body.0",)}
        super().__init__(
            classes=classes, channels=channels, dimensions=2, places=places, default_place="stage1"
        )
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        body = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(body, nn.Dropout(drop), nn.Conv2d(8, 8, 3, 1, 1))
        self.fc = nn.Linear(8, classes)
        self.slow, self.poison, self.calls = slow, poison, 0

    def forward(self, x):
        time.sleep(self.slow)
        scores = self.fc(self.body(self.stem(x)).flatten(2).mean(2))
        self.calls += self.training
        if self.training:
            HOOKS.get(self.calls, lambda: None)()
        return scores * float("nan") if self.calls == self.poison else scores


@contextmanager
def registered():
    """Register both as "tiny" for a time: other tests go through all names of the registries."""
    DATASETS.register("tiny")(open_tiny)
    BACKBONES.register("tiny")(Tiny)
    try:
        yield
    finally:
        DATASETS.unregister("tiny")
        BACKBONES.unregister("tiny")


@contextmanager
def logged(act):
    """Call ``act`` with each line that gspnl logs."""
    handler, logger = logging.Handler(), logging.getLogger("gspnl")
    handler.emit = lambda record: act(record.getMessage())
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


FIELDS = {
    "data": "tiny",
    "backbone": "tiny",
    "block": "snl",
    "epochs": 2,
    "batch_size": 16,
    "augmentation": (),
    "learning_rate": 0.05,
}

if __name__ == "__main__":
    from gspnl.cli import main

    torch.set_num_threads(int(os.environ.get("TINY_THREADS", "1")))
    with registered():
        sys.exit(main(sys.argv[1:]))
