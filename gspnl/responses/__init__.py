r"""Responses :math:`g(\lambda)` of spectral filters; they know no graph.

λ is an eigenvalue of the Laplacian L = I − A, in [0, 2]: 0 is the constant mode, 1 the modes that
A annihilates, 2 is reached only on a bipartite component. A response is any callable on arrays of
λ; those here also say where they jump, which the Chebyshev certificate needs to know.
"""

from gspnl.responses.base import RESPONSES, Response
from gspnl.responses.ideal import band_pass, high_pass, low_pass
from gspnl.responses.operators import gsnl, nl, ns, snl
from gspnl.responses.parse import parse
from gspnl.responses.smooth import (
    heat,
    smooth_band_pass,
    smooth_high_pass,
    smooth_low_pass,
    tikhonov,
)

__all__ = [
    "RESPONSES",
    "Response",
    "band_pass",
    "gsnl",
    "heat",
    "high_pass",
    "low_pass",
    "nl",
    "ns",
    "parse",
    "smooth_band_pass",
    "smooth_high_pass",
    "smooth_low_pass",
    "snl",
    "tikhonov",
]
