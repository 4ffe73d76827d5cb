"""Filters, filter banks and spectra of one graph, exact or by certified Chebyshev series."""

from gspnl.filters.bank import BankOnGraph, ChebyshevBank, bank_on_graph, chebyshev_bank
from gspnl.filters.chebyshev import ChebyshevFilter, chebyshev_filter
from gspnl.filters.filtering import filter_signals

__all__ = [
    "BankOnGraph",
    "ChebyshevBank",
    "ChebyshevFilter",
    "bank_on_graph",
    "chebyshev_bank",
    "chebyshev_filter",
    "filter_signals",
]
