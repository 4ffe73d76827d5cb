"""Data sets in their published formats, and what is done to a batch of them."""

from gspnl.train.data.base import DATASETS, Data, DataError, Drawn, Split
from gspnl.train.data.cub import cub200
from gspnl.train.data.images import decode
from gspnl.train.data.ucf import ucf101
from gspnl.train.data.videos import read_clip

__all__ = [
    "DATASETS",
    "Data",
    "DataError",
    "Drawn",
    "Split",
    "cub200",
    "decode",
    "read_clip",
    "ucf101",
]
