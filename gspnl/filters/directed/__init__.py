"""Directed graphs: spectra and filters of a row-stochastic A that is not reversible."""

from gspnl.filters.directed.core import MatrixProducts
from gspnl.filters.directed.filter import DirectedFilter
from gspnl.filters.directed.graphs import directed_spectrum
from gspnl.filters.directed.record import DirectedSpectrum
from gspnl.filters.directed.spectrum import directed_spectrum_of

__all__ = [
    "DirectedFilter",
    "DirectedSpectrum",
    "MatrixProducts",
    "directed_spectrum",
    "directed_spectrum_of",
]
