"""Chebyshev series of responses, with certified errors."""

from gspnl.chebyshev.fits import FITS, fit
from gspnl.chebyshev.series import Series

__all__ = ["FITS", "Series", "fit"]
