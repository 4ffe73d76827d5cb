"""Storages of the weight matrix W: dense, low rank, tiled, sorted, sparse."""

from gspnl.affinity.weights.added_loops import AddedLoops
from gspnl.affinity.weights.base import STORAGES, Weights
from gspnl.affinity.weights.dense import Dense
from gspnl.affinity.weights.exponential import TiledExponential
from gspnl.affinity.weights.lowrank import LowRank, low_rank
from gspnl.affinity.weights.no_self_loops import NoSelfLoops
from gspnl.affinity.weights.sorted import Sorted
from gspnl.affinity.weights.tiled import Tiled

__all__ = [
    "STORAGES",
    "AddedLoops",
    "Dense",
    "LowRank",
    "NoSelfLoops",
    "Sorted",
    "Tiled",
    "TiledExponential",
    "Weights",
    "low_rank",
]
