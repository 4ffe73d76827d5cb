"""Exact filters: by the Gram matrix, by a series that is g to rounding, or by all eigenpairs."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, carries_gradient, float64, to_numpy
from gspnl.affinity.weights import LowRank
from gspnl.chebyshev.certificate import resolve
from gspnl.chebyshev.series import Series
from gspnl.chebyshev.target import make_target
from gspnl.errors import GspnlError
from gspnl.filters.cache import SMALL, Decompositions
from gspnl.filters.lowrank_engine import exact_core, expand
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate


def exact(parts: Decompositions, response: Response | Array, Z: Array) -> Array:
    """g(L) Z, to rounding; the way depends on the graph and the response alone.

    Low rank: through the Gram matrix. More than :data:`~gspnl.filters.cache.SMALL` nodes and a
    response that resolves on [0, 2] in at most N terms: by that series, without eigenvectors. Else,
    and for values ω: through all eigenpairs.
    """
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
    elif affinity.symmetric_core and affinity.nonnegative and affinity.n_nodes > SMALL:
        series = _resolved(response, (0.0, 2.0))
        if series is not None and series.order < affinity.n_nodes:
            return _by_series(parts, response, series, Z)
    spectrum = parts.spectrum
    return spectrum.filter(Z, evaluate(response, to_numpy(float64(spectrum.eigenvalues))))


def _differentiable(parts: Decompositions, response: Response, Z: Array) -> Array:
    r"""g(L) Z by series: right in value and in gradient.

    The gradient of an eigendecomposition has poles :math:`1/(μ_i - μ_j)`, so it is wrong or NaN
    where eigenvalues meet, as they do on every low-rank graph; a polynomial has none.
    """
    whole = parts.affinity.nonnegative
    series = _resolved(response, (0.0, 2.0) if whole else parts.deflated(0).interval)
    if series is None:
        raise GspnlError(
            f"the gradient of an exact filter needs a response that resolves into a series, and "
            f"{response!r} jumps or is too sharp; use a smooth one, or detach the features"
        )
    return _by_series(parts, response, series, Z)


def _resolved(response: Response, span: tuple[float, float]) -> Series | None:
    """The series that is g to rounding, or None where there is none."""
    found = resolve(make_target(response, span, None))
    return None if found is None else Series(found.coefficients, span)


def _by_series(parts: Decompositions, response: Response, series: Series, Z: Array) -> Array:
    alone = float(evaluate(response, np.zeros(1))[0])
    return parts.deflated(0).polynomial(series, np.zeros(0), alone, Z)
