"""Plots, each a function ``f(object, *, ax=None)`` that returns the axes it drew on.

Without ``ax`` a plot creates a figure, ``ax.figure``, which needs no display; no plot changes the
state of pyplot. Such a figure is made, drawn and saved under fixed settings, matplotlib's defaults
at 120 dots per inch: its pixels do not depend on a matplotlibrc. On axes that are passed, the
settings of the user hold, except those that turn or resample a picture (``image.origin``,
``image.aspect``, ``image.interpolation``).
"""

from gspnl.plotting.attention_heads import head_eigenvalues, smoothing_by_depth
from gspnl.plotting.channel_weights import top_eigenvalues
from gspnl.plotting.comparison import comparison
from gspnl.plotting.curves import filter_bank, responses
from gspnl.plotting.entries import strengths
from gspnl.plotting.head_maps import head_map
from gspnl.plotting.pictures import attention, filtered, modes
from gspnl.plotting.reach import attention_range
from gspnl.plotting.spectra import spectral_density, spectrum

__all__ = [
    "attention",
    "attention_range",
    "comparison",
    "filter_bank",
    "filtered",
    "head_eigenvalues",
    "head_map",
    "modes",
    "responses",
    "smoothing_by_depth",
    "spectral_density",
    "spectrum",
    "strengths",
    "top_eigenvalues",
]
