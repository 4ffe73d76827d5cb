"""Run a training in a fresh process, and again after much else; print the memory of each."""

from __future__ import annotations

import sys

import torch

from gspnl.train import Recipe, train
from gspnl.train.data import Data
from support.train_tiny import BACKBONES, DATASETS, FIELDS, Tiny, split

SIDE, MIB = 256, 2**20


def large(path, *, skip_bad=False):
    """Samples of the tiny data set, of more pixels: activations outweigh all else."""
    splits = [split(16, seed) for seed in (0, 1)]
    for each in splits:
        object.__setattr__(each, "images", each.images.repeat(1, 1, SIDE // 8, SIDE // 8))
    return Data("large", tuple("abcd"), *splits, (0.3,) * 3, (0.2,) * 3)


def litter():
    """Leave what a larger run may: tensors in use, a peak of others, a cycle of garbage."""
    torch.ones(128 * MIB)  # 512 MiB
    cycle = [torch.ones(64 * MIB)]
    cycle.append(cycle)
    return torch.ones(64 * MIB)


if __name__ == "__main__":
    DATASETS.register("large")(large)
    BACKBONES.register("tiny")(Tiny)
    recipe = Recipe(**{**FIELDS, "data": "large", "epochs": 1})
    kept = None
    for name in ("fresh", "later"):
        print(train(recipe, out=f"{sys.argv[1]}/{name}", threads=1).result["peak_bytes"])
        kept = litter()
