"""A tiny data set and backbone in the registries, for tests of the loop; run, it is ``gspnl``.

Where the package has no real ``Batches``, ``load``, ``create`` or ``place``, plain ones stand in.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import gspnl.train.backbones as backbones
import gspnl.train.data as data
from gspnl.nn import insert
from gspnl.registry import Registry
from gspnl.train.data import DATASETS, Data, DataError

HOOKS = {}  # call of the network in training → what a test wants done then
SAMPLES, TESTS, CLASSES, SIZE = 40, 12, 4, 8


@dataclass(frozen=True)
class Split:
    images: torch.Tensor
    labels: np.ndarray
    bad: tuple[int, ...] = ()

    def name(self, index):
        return f"record {index}"

    def read(self, index):
        if index in self.bad:
            raise DataError(f"record {index} is damaged")
        return self.images[index]

    def take(self, indices):
        return None if self.bad else self.images[torch.as_tensor(np.asarray(indices))]


def split(count, seed, bad=()):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 128, (count, 3, SIZE, SIZE))
    images[np.arange(count), labels % 3, :4] += 40 * (labels > 1)[:, None, None] + 60
    return Split(torch.from_numpy(images.astype(np.uint8)), labels.astype(np.int64), bad)


def open_tiny(path, *, skip_bad=False):
    bad = (3,) if os.environ.get("TINY_BAD") else ()
    moments = (0.3, 0.3, 0.3), (0.2, 0.2, 0.2)
    names = tuple(f"class {i}" for i in range(CLASSES))
    return Data("tiny", names, split(SAMPLES, 0, bad), split(TESTS, 1), *moments)


Base = getattr(backbones, "Backbone", nn.Module)


class Tiny(Base):
    """Convolution, batch norm and dropout, twice: all kinds of state."""

    def __init__(self, *, classes, channels=3, slow=0.0, poison=-1, drop=0.2):
        places = {"stage1": ("body.0",), "sp3": ("body.0",)}
        if Base is nn.Module:
            super().__init__()
            self.places, self.default_place = places, "stage1"
        else:
            super().__init__(
                classes=classes, channels=channels, dimensions=2, places=places,
                default_place="stage1",
            )  # fmt: skip
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


@dataclass
class PlainBatches:
    split: Split
    batch_size: int
    augmentation: tuple
    mean: tuple
    std: tuple
    seed: int
    epoch: int
    shuffle: bool
    start: int = 0
    rank: int = 0
    world: int = 1
    drop_last: bool = False
    skip_bad: bool = False

    def __post_init__(self):
        self.skipped = []

    def __iter__(self):
        n, b = len(self.split.labels), self.batch_size
        order = np.arange(n)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(n)
        for first in range(self.start * b, n - n % b if self.drop_last else n, b):
            own = np.array_split(order[first : first + b], self.world)[self.rank]
            kept = []
            for i in own:
                if i in self.split.bad and not self.skip_bad:
                    self.split.read(i)
                if i in self.split.bad:
                    self.skipped.append(self.split.name(i))
                else:
                    kept.append(i)
            images = self.split.images[kept].float() / 255
            mean, std = torch.tensor(self.mean), torch.tensor(self.std)
            images = (images - mean[:, None, None]) / std[:, None, None]
            yield images, torch.from_numpy(self.split.labels[kept])


def plain_create(name, *, classes, channels=3, **options):
    return backbones.BACKBONES[name](classes=classes, channels=channels, **options)


def plain_place(model, block, where=None, *, reduction=2, units=None, **block_options):
    name = model.places[where or model.default_place][0]
    units = {"sp3": 3}.get(where, 1) if units is None else units
    return insert(
        model, {name: (block, {"inner": 8 // reduction, "units": units, **block_options})}
    )


if not hasattr(data, "Batches"):
    data.Batches = PlainBatches
    data.load = lambda name, path=None, *, skip_bad=False: DATASETS[name](path, skip_bad=skip_bad)
if not hasattr(backbones, "create"):
    backbones.BACKBONES = Registry("backbone")
    backbones.create, backbones.place = plain_create, plain_place
if "tiny" not in DATASETS:
    DATASETS.register("tiny")(open_tiny)
    backbones.BACKBONES.register("tiny")(Tiny)

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
    sys.exit(main(sys.argv[1:]))
