"""Storages of the weight matrix W, one a file."""

from gspnl.weights.base import STORAGES, Weights
from gspnl.weights.dense import Dense
from gspnl.weights.exponential import TiledExponential
from gspnl.weights.hollow import Hollow
from gspnl.weights.lowrank import LowRank
from gspnl.weights.sorted import Sorted
from gspnl.weights.tiled import Tiled

__all__ = [
    "STORAGES",
    "Dense",
    "Hollow",
    "LowRank",
    "Sorted",
    "Tiled",
    "TiledExponential",
    "Weights",
]
