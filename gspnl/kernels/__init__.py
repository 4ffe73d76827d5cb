"""Affinities f(x_i, x_j): how alike two nodes are."""

from gspnl.kernels.anchors import Anchors
from gspnl.kernels.base import KERNELS, Kernel, check_embedding, make_kernel
from gspnl.kernels.maps import FEATURE_MAPS
from gspnl.kernels.pairwise import (
    RBF,
    Concatenation,
    Cosine,
    Dot,
    EmbeddedGaussian,
    Gaussian,
)

__all__ = [
    "FEATURE_MAPS",
    "KERNELS",
    "RBF",
    "Anchors",
    "Concatenation",
    "Cosine",
    "Dot",
    "EmbeddedGaussian",
    "Gaussian",
    "Kernel",
    "check_embedding",
    "make_kernel",
]
