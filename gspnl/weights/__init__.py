"""Storages of the weight matrix W, one a file."""

from gspnl.weights.base import STORAGES, Weights
from gspnl.weights.dense import Dense
from gspnl.weights.hollow import Hollow
from gspnl.weights.lowrank import LowRank

__all__ = ["STORAGES", "Dense", "Hollow", "LowRank", "Weights"]
