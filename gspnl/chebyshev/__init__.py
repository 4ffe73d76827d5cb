"""Chebyshev series of a response, and what can be certified of them."""

from gspnl.chebyshev.fits import FITS, fit
from gspnl.chebyshev.series import Series

__all__ = ["FITS", "Series", "fit"]
