"""Low-rank approximations of exponential kernels, with certified error bounds."""

from gspnl.affinity.approximation.base import Approximation
from gspnl.affinity.approximation.build import METHODS, Request, approximate, make_request

__all__ = ["METHODS", "Approximation", "Request", "approximate", "make_request"]
