"""Data sets in their published formats, and what is done to a batch of them."""

# Importing a data set's module registers it.
from gspnl.train.data import cifar, class_folders, digits  # noqa: F401
from gspnl.train.data.augmentations import AUGMENTATIONS, Augmentation, Chain, chain, normalise
from gspnl.train.data.base import DATASETS, Data, DataError, Drawn, Split
from gspnl.train.data.batches import Batches
from gspnl.train.data.cub import cub200
from gspnl.train.data.fingerprint import fingerprint
from gspnl.train.data.images import decode
from gspnl.train.data.loading import load
from gspnl.train.data.memory import MemorySplit
from gspnl.train.data.ucf import ucf101
from gspnl.train.data.videos import read_clip

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Augmentation",
    "Batches",
    "Chain",
    "Data",
    "DataError",
    "Drawn",
    "MemorySplit",
    "Split",
    "chain",
    "cub200",
    "decode",
    "fingerprint",
    "load",
    "normalise",
    "read_clip",
    "ucf101",
]
