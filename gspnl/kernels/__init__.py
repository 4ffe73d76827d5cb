"""Affinities f(x_i, x_j): how alike two nodes are."""

from gspnl.kernels.anchors import Anchors
from gspnl.kernels.base import KERNELS, Kernel, check_embedding, make_kernel
from gspnl.kernels.exponential import RBF, EmbeddedGaussian, Exponential, Gaussian
from gspnl.kernels.maps import FEATURE_MAPS
from gspnl.kernels.pairwise import Concatenation, Cosine, Dot

__all__ = [
    "FEATURE_MAPS",
    "KERNELS",
    "RBF",
    "Anchors",
    "Concatenation",
    "Cosine",
    "Dot",
    "EmbeddedGaussian",
    "Exponential",
    "Gaussian",
    "Kernel",
    "check_embedding",
    "make_kernel",
]
