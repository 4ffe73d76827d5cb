"""Data sets in their published formats, and what is done to a batch of them."""

from gspnl.train.data.base import DATASETS, Data, DataError, Split

__all__ = ["DATASETS", "Data", "DataError", "Split"]
