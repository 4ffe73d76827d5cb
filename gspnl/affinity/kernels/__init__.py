"""Kernels f(x_i, x_j): the similarity of two nodes."""

from gspnl.affinity.kernels.anchors import Anchors
from gspnl.affinity.kernels.base import KERNELS, Kernel, check_embedding, make_kernel
from gspnl.affinity.kernels.exponential import RBF, EmbeddedGaussian, Exponential, Gaussian
from gspnl.affinity.kernels.maps import FEATURE_MAPS
from gspnl.affinity.kernels.pairwise import Concatenation, Cosine, Dot

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
