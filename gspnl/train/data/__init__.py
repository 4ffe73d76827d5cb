"""Data sets in their published formats, and what is done to a batch of them."""

# Importing a data set's module registers it.
from gspnl.train.data import cifar, class_folders, digits  # noqa: F401
from gspnl.train.data.augmentations import AUGMENTATIONS, Augmentation, Chain, chain, normalise
from gspnl.train.data.base import DATASETS, Data, DataError, Split
from gspnl.train.data.batches import Batches
from gspnl.train.data.loading import load
from gspnl.train.data.memory import MemorySplit

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Augmentation",
    "Batches",
    "Chain",
    "Data",
    "DataError",
    "MemorySplit",
    "Split",
    "chain",
    "load",
    "normalise",
]
