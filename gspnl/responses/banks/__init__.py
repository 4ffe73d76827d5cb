r"""Filter banks: families of responses for analysis and synthesis, independent of any graph.

:func:`gspnl.analyze` and :func:`gspnl.synthesize` apply a bank on a graph.
"""

from gspnl.responses.banks.base import BANKS, FilterBank
from gspnl.responses.banks.diffusion import heat, tight, wave
from gspnl.responses.banks.pairs import held, papadakis, regular, simoncelli
from gspnl.responses.banks.shifted import gabor, half_cosine, itersine, modulation
from gspnl.responses.banks.wavelets import abspline, log_scales, mexican_hat, meyer, simple_tight

__all__ = [
    "BANKS",
    "FilterBank",
    "abspline",
    "gabor",
    "half_cosine",
    "heat",
    "held",
    "itersine",
    "log_scales",
    "mexican_hat",
    "meyer",
    "modulation",
    "papadakis",
    "regular",
    "simoncelli",
    "simple_tight",
    "tight",
    "wave",
]
