"""Exact filters: through the Gram matrix where W is low rank, else through all eigenpairs."""

from __future__ import annotations

import numpy as np

from gspnl._array import Array, carries_gradient, float64, to_numpy
from gspnl.chebyshev.certificate import resolve
from gspnl.chebyshev.series import Series
from gspnl.chebyshev.target import evaluate, make_target
from gspnl.decompositions import Decompositions
from gspnl.errors import GspnlError
from gspnl.gram import exact_core, expand
from gspnl.responses import Response
from gspnl.weights import LowRank


def exact(parts: Decompositions, response: Response | Array, Z: Array) -> Array:
    """g(L) Z: through the Gram matrix where W is low rank, else through all eigenpairs."""
    affinity = parts.affinity
    if not callable(response):
        to_numpy(affinity.left)  # values per eigenvalue carry no gradient, and say so
        return parts.spectrum.filter(Z, response)
    if affinity.symmetric_core and carries_gradient(affinity.left):
        return _differentiable(parts, response, Z)
    if isinstance(affinity.weights, LowRank) and affinity.symmetric_core:
        small, heads = parts.small(affinity.weights, Z)
        core = exact_core(small, response, affinity.limits)
        if core is not None:
            middle, alone = (float(v) for v in evaluate(response, np.array([1.0, 0.0])))
            return expand(affinity, affinity.weights, middle, alone, core, Z, heads)
    spectrum = parts.spectrum
    return spectrum.filter(Z, evaluate(response, to_numpy(float64(spectrum.eigenvalues))))


def _differentiable(parts: Decompositions, response: Response, Z: Array) -> Array:
    r"""g(L) Z as the series that is g to rounding: right in value and in gradient.

    The gradient of an eigendecomposition has poles :math:`1/(μ_i - μ_j)`, so it is wrong or NaN
    where eigenvalues meet, as they do on every low-rank graph; a polynomial has none.
    """
    engine = parts.deflated(0)
    span = (0.0, 2.0) if parts.affinity.nonnegative else engine.interval
    resolved = resolve(make_target(response, span, None))
    if resolved is None:
        raise GspnlError(
            f"the gradient of an exact filter needs a response that resolves into a series, and "
            f"{response!r} jumps or is too sharp; use a smooth one, or detach the features"
        )
    alone = float(evaluate(response, np.zeros(1))[0])
    return engine.polynomial(Series(resolved.coefficients, span), np.zeros(0), alone, Z)
