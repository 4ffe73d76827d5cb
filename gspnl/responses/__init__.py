r"""Responses :math:`g(\lambda)` of spectral filters, independent of any graph.

λ is an eigenvalue of the Laplacian L = I − A, in [0, 2] for non-negative weights (of L = D − W, in
[0, 2 max d], for normalization="combinatorial"): 0 for the
constant mode, 1 for modes that A annihilates, 2 only on a bipartite component. A response is any
callable on arrays of λ; those of this module also declare their jumps for Chebyshev certificates.
"""

from gspnl.responses.attention import attnscale, chebyshev, contranorm, featscale, gfsa
from gspnl.responses.base import RESPONSES, Response
from gspnl.responses.composite import complement, dilated, quotient, scaled, shifted
from gspnl.responses.halves import held, papadakis, regular, simoncelli
from gspnl.responses.ideal import band_pass, high_pass, low_pass
from gspnl.responses.operators import gsnl, nl, ns, snl
from gspnl.responses.parse import parse
from gspnl.responses.points import tabulated
from gspnl.responses.smooth import (
    heat,
    smooth_band_pass,
    smooth_high_pass,
    smooth_low_pass,
    tikhonov,
    wave,
)
from gspnl.responses.wavelets import (
    abspline,
    mexican_hat,
    meyer,
    meyer_scaling,
    quartic_low_pass,
    simple_tight,
    simple_tight_scaling,
)
from gspnl.responses.windows import expwin, half_cosine, itersine, rectangular

__all__ = [
    "RESPONSES",
    "Response",
    "abspline",
    "attnscale",
    "band_pass",
    "chebyshev",
    "complement",
    "contranorm",
    "dilated",
    "expwin",
    "featscale",
    "gfsa",
    "gsnl",
    "half_cosine",
    "heat",
    "held",
    "high_pass",
    "itersine",
    "low_pass",
    "mexican_hat",
    "meyer",
    "meyer_scaling",
    "nl",
    "ns",
    "papadakis",
    "parse",
    "quartic_low_pass",
    "quotient",
    "rectangular",
    "regular",
    "scaled",
    "shifted",
    "simoncelli",
    "simple_tight",
    "simple_tight_scaling",
    "smooth_band_pass",
    "smooth_high_pass",
    "smooth_low_pass",
    "snl",
    "tabulated",
    "tikhonov",
    "wave",
]
