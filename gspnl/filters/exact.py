"""Exact filters: through the Gram matrix where W is low rank, else through all eigenpairs."""

from __future__ import annotations

import numpy as np

from gspnl._array import Array, float64, to_numpy
from gspnl.chebyshev.target import evaluate
from gspnl.decompositions import Decompositions
from gspnl.gram import exact_core, expand
from gspnl.responses import Response
from gspnl.weights import LowRank


def exact(parts: Decompositions, response: Response | Array, Z: Array) -> Array:
    """g(L) Z: through the Gram matrix where W is low rank, else through all eigenpairs."""
    affinity = parts.affinity
    if not callable(response):
        return parts.spectrum.filter(Z, response)
    if isinstance(affinity.weights, LowRank) and affinity.symmetric_core:
        small, heads = parts.small(affinity.weights, Z)
        core = exact_core(small, response, affinity.limits)
        if core is not None:
            middle, alone = (float(v) for v in evaluate(response, np.array([1.0, 0.0])))
            return expand(affinity, affinity.weights, middle, alone, core, Z, heads)
    spectrum = parts.spectrum
    return spectrum.filter(Z, evaluate(response, to_numpy(float64(spectrum.eigenvalues))))
