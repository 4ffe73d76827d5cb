"""Approximations of exponential kernels, with certified error bounds."""

from gspnl.affinity.approximation.base import Approximation
from gspnl.affinity.approximation.build import (
    METHODS,
    Request,
    approximate,
    basis_of,
    make_request,
)
from gspnl.affinity.approximation.choice import choose_way
from gspnl.affinity.approximation.points import check_supported

__all__ = [
    "METHODS",
    "Approximation",
    "Request",
    "approximate",
    "basis_of",
    "check_supported",
    "choose_way",
    "make_request",
]
