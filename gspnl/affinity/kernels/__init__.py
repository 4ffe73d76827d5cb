"""Kernels f(x_i, x_j): the similarity of two nodes."""

from gspnl.affinity.kernels.anchors import Anchors
from gspnl.affinity.kernels.base import KERNELS, Kernel, check_embedding, make_kernel
from gspnl.affinity.kernels.exponential import EmbeddedGaussian, Exponential, Gaussian
from gspnl.affinity.kernels.maps import FEATURE_MAPS
from gspnl.affinity.kernels.pairwise import Concatenation, Cosine, Dot
from gspnl.affinity.kernels.rbf import RBF

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
