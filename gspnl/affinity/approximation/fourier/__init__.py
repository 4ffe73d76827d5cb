"""Gaussian sums by nonuniform fast Fourier transforms: W z in O(N), with a certificate."""

from gspnl.affinity.approximation.fourier.build import fourier
from gspnl.affinity.approximation.fourier.weights import FourierSum

__all__ = ["FourierSum", "fourier"]
