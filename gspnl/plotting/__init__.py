"""Plots: each is ``f(object, *, ax=None)`` and returns the axes it drew on.

Without ``ax`` a figure of its own is made, ``ax.figure``, which needs no display; no plot touches
the state of pyplot.
"""

from gspnl.plotting.curves import comparison, filter_bank, responses, spectrum
from gspnl.plotting.pictures import attention, filtered, modes

__all__ = ["attention", "comparison", "filter_bank", "filtered", "modes", "responses", "spectrum"]
