"""Exact filters: by the Gram matrix, a series that equals g to rounding, or all eigenpairs."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, carries_gradient, float64, to_numpy
from gspnl.chebyshev.certificate import resolve
from gspnl.chebyshev.series import Series
from gspnl.chebyshev.target import make_target
from gspnl.errors import GspnlError
from gspnl.filters.cache import SpectralCache
from gspnl.filters.directed.plan import directed_filter, linear
from gspnl.filters.relative import relative_response
from gspnl.filters.spectrum import SMALL
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate


def exact_filter(cache: SpectralCache, response: Response | Array, Z: Array) -> Array:
    """Compute g(L) Z to rounding, by a method that depends on the graph and the response only.

    - Low rank: through the Gram matrix.
    - More than :data:`~gspnl.filters.spectrum.SMALL` nodes whose eigenpairs are not computed yet,
      and a response that resolves on [0, 2] in at most N terms: by that series.
    - Else, and for values ω: through all eigenpairs.
    - A directed A: by a series of A without its constant mode, where its certificate allows it.

    ``Z`` is (..., N, c), checked.
    """
    affinity = cache.affinity
    if not callable(response):
        to_numpy(affinity.left)  # raises where a gradient would be lost: ω carries none
        return cache.spectrum.multiply(Z, response)
    if not affinity.symmetric_core:
        return _directed(cache, response, Z)
    response = relative_response(affinity, response)
    if needs_series(cache):
        return differentiable(cache, response, Z)
    lowrank = cache.lowrank_engine(Z)
    if lowrank is not None:
        engine, heads = lowrank
        core = engine.exact_core(response)
        if core is not None:
            null_gain, isolated_gain = (float(v) for v in evaluate(response, np.array([1.0, 0.0])))
            return engine.expand(null_gain, isolated_gain, core, Z, heads)
    elif (
        affinity.symmetric_core
        and affinity.nonnegative
        and affinity.n_nodes > SMALL
        and not cache.has_spectrum
    ):
        series = resolved_series(response, (0.0, 2.0))
        if series is not None and series.order < affinity.n_nodes:
            return _by_series(cache, response, series, Z)
    spectrum = cache.spectrum
    return spectrum.multiply(Z, evaluate(response, to_numpy(float64(spectrum.relative))))


def _directed(cache: SpectralCache, response: Response, Z: Array) -> Array:
    """Compute g(L) Z of a directed A: a + b A, or a series that reaches rounding."""
    weights = linear(response)
    if weights is None:
        return directed_filter(cache.directed, response).apply(Z)
    a, b = weights
    return a * Z + b * cache.affinity.apply(Z)


def needs_series(cache: SpectralCache) -> bool:
    """Return whether gradients by the features are asked for, which eigenpairs do not have."""
    return cache.affinity.symmetric_core and carries_gradient(cache.affinity.left)


def differentiable(cache: SpectralCache, response: Response, Z: Array) -> Array:
    r"""Compute g(L) Z by a series, whose value and gradient are both accurate.

    The gradient of an eigendecomposition has poles :math:`1/(μ_i - μ_j)`, so it is wrong or NaN
    where eigenvalues meet, as they do on every low-rank graph; a polynomial has none.
    """
    bounded = cache.affinity.nonnegative
    series = resolved_series(response, (0.0, 2.0) if bounded else cache.deflation(0).interval)
    if series is None:
        raise GspnlError(
            f"the gradient of an exact filter needs a response that resolves into a series, and "
            f"{response!r} jumps or is too sharp; use a smooth one, or detach the features"
        )
    return _by_series(cache, response, series, Z)


def resolved_series(response: Response, interval: tuple[float, float]) -> Series | None:
    """Return the series that equals g to rounding, or None where there is none."""
    found = resolve(make_target(response, interval, None))
    return None if found is None else Series(found.coefficients, interval)


def _by_series(cache: SpectralCache, response: Response, series: Series, Z: Array) -> Array:
    isolated_gain = float(evaluate(response, np.zeros(1))[0])
    return cache.deflation(0).polynomial(series, np.zeros(0), isolated_gain, Z)
