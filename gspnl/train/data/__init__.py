"""Data sets in their published formats, and the batches that a network is trained on."""

# Importing the module of a data set, or of transforms, registers them.
from gspnl.train.data import cifar, digits, folders  # noqa: F401
from gspnl.train.data.augmentations import AUGMENTATIONS, Augmentation, Chain, chain
from gspnl.train.data.batches import Batches
from gspnl.train.data.cub import cub200
from gspnl.train.data.images import decode
from gspnl.train.data.registry import DATASETS, Data, DataError, Drawn, Split, fingerprint, load
from gspnl.train.data.splits import MemorySplit
from gspnl.train.data.transforms import normalise
from gspnl.train.data.ucf import ucf101
from gspnl.train.data.video import read_clip

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
