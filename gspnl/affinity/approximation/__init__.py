"""Graphs of exponential kernels held as low rank, with a bound on what that costs."""

from gspnl.affinity.approximation.base import Approximation
from gspnl.affinity.approximation.build import METHODS, Request, approximate, make_request

__all__ = ["METHODS", "Approximation", "Request", "approximate", "make_request"]
