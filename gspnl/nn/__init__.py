r"""Nonlocal blocks as trainable graph filters: the torch bridge.

A feature map (B, C, \*spatial) is a graph signal: its N positions are the nodes, compared by a
kernel of the core. A block adds a filtered signal to its input, :math:`Y = X + norm(F(A, X W_g))`.
"""

from gspnl.nn.block import BLOCKS, Block
from gspnl.nn.creating import create
from gspnl.nn.files import load, save
from gspnl.nn.folding import fold
from gspnl.nn.listing import describe
from gspnl.nn.presets import (
    A2,
    CC,
    CGNL,
    GSNL,
    NL,
    NS,
    SNL,
    Chebyshev,
    Linear,
    Spectral,
)
from gspnl.nn.surgery import insert, remove

__all__ = [
    "A2",
    "BLOCKS",
    "CC",
    "CGNL",
    "GSNL",
    "NL",
    "NS",
    "SNL",
    "Block",
    "Chebyshev",
    "Linear",
    "Spectral",
    "create",
    "describe",
    "fold",
    "insert",
    "load",
    "remove",
    "save",
]
