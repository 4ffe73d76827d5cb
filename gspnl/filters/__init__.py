"""Filtering a signal by a response: exactly, or by a Chebyshev series with a certificate."""

from gspnl.filters.chebyshev import ChebyshevFilter, chebyshev_filter
from gspnl.filters.exact import exact

__all__ = ["ChebyshevFilter", "chebyshev_filter", "exact"]
