"""Plan a Chebyshev filter of a graph: interval, series and certificate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gspnl._base.array import Array
from gspnl._base.blas import on_one_thread
from gspnl._base.validate import number, on_signals
from gspnl.affinity.affinity import Affinity
from gspnl.chebyshev import FITS, Series
from gspnl.chebyshev.certificate import MAX_DEGREE, Resolved, certify, resolve
from gspnl.chebyshev.families import apply_series
from gspnl.chebyshev.recurrence import scaled
from gspnl.chebyshev.target import check_order, make_target
from gspnl.errors import InputError, NonsymmetricError
from gspnl.filters.bounds import (
    FULL,
    approximation_error,
    balanced,
    band_eigenvalues,
    rounding,
    spectrum_error,
)
from gspnl.filters.cache import SpectralCache
from gspnl.filters.deflation import Deflation
from gspnl.filters.directed.filter import DirectedFilter
from gspnl.filters.directed.plan import directed_filter
from gspnl.filters.relative import relative_response, relative_series, unit_of
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate, make_interval

BAND_PRODUCTS = 40  # products with a sparse W, and their overhead, that finding its band takes
LARGE = 10_000  # nodes of a sparse graph above which an order is not worth a band
ROUNDING = 1e-9  # how far an eigenvalue may lie outside the interval that a user gives


@dataclass(frozen=True, eq=False)
class ChebyshevFilter:
    r"""A polynomial filter of one graph, planned once and applied to any number of signals.

    Attributes
    ----------
    series : Series
        p, over the band of λ left after deflation.
    error_bound : float
        Certified bound of :math:`\|T^{-1}(g(L) - F)Z\| / \|T^{-1} Z\|`, rounding included; inf
        where there is none. On an approximate graph L is that of the kernel itself, and
        :attr:`approximation_error` is included; without a certificate (random features, a ``bound``
        of inf) L is that of the approximate graph.
    deflated : array of shape (m,)
        λ of the modes that are filtered exactly.
    gains : array of shape (m,)
        g at these λ.
    isolated_gain : float
        Gain of isolated nodes.
    affinity : Affinity
    deflation : Deflation or None
        The graph without the deflated modes; None for a softmax graph.
    approximation_error : float
        Bound of the difference of g(L) between the kernel's graph and an approximate one.
    """

    series: Series
    error_bound: float
    deflated: np.ndarray
    gains: np.ndarray
    isolated_gain: float
    affinity: Affinity
    deflation: Deflation | None
    approximation_error: float = 0.0

    @property
    def order(self) -> int:
        """K."""
        return self.series.order

    def __call__(self, Z: Array) -> Array:
        """Filter Z (..., N, c), or (N,)."""
        return on_signals(self.apply, Z, self.affinity.weights.shape, self.affinity.left)

    def apply(self, Z: Array) -> Array:
        """Filter signals (..., N, c) that have been checked."""
        if self.deflation is None:
            step = scaled(self.series.interval, self.affinity.apply)
            return apply_series(step, self.series, Z)
        series = self.series
        if self.affinity.unit is not None:
            series = relative_series(self.affinity, series)
        return self.deflation.polynomial(series, self.gains, self.isolated_gain, Z)

    def __repr__(self) -> str:
        lo, hi = self.series.interval
        return (
            f"ChebyshevFilter(order {self.order} on [{lo:.4g}, {hi:.4g}], {len(self.deflated)} "
            f"deflated, error ≤ {self.error_bound:.2g})"
        )


@on_one_thread
def chebyshev_filter(
    cache: SpectralCache,
    response: Response | Array,
    *,
    order: int | None = None,
    tol: float | None = None,
    method: str = "interpolate",
    deflate: int | bool | None = None,
    interval: tuple[float, float] | None = None,
    allow_nonsymmetric: bool = False,
    shared: bool = False,
) -> ChebyshevFilter | DirectedFilter:
    """Plan a Chebyshev filter of a given order, or of the least order that is certified to ``tol``.

    See :meth:`gspnl.FeatureGraph.filter` for the parameters. A ``shared`` filter takes the band of
    the graph as its interval, so that several filters have one recurrence.
    """
    if (order is None) == (tol is None):
        raise InputError("pass one of order= and tol=")
    if order is not None:
        check_order(order)
    else:
        tol = number("tol", tol, above=0)
    FITS[method]
    if not cache.affinity.symmetric_core:
        return _nonsymmetric(
            cache, response, order, tol, method, interval, allow_nonsymmetric, deflate, shared
        )
    if not callable(response) and method == "interpolate":
        method = "least_squares"  # values on the spectrum: the paper's free Ω
    count = _count(deflate, free=not callable(response))
    unit = None if cache.affinity.unit is None else unit_of(cache.affinity)
    if unit is not None:
        response = relative_response(cache.affinity, response)
    deflation = cache.deflation(count)
    whole = None
    if not shared and interval is None and method == "interpolate":
        whole = _without_band(cache, deflation, response, order, tol)
    span, covered = (FULL, True) if whole else _interval(cache, deflation, interval, count)
    spectrum = band_eigenvalues(cache, count, span) if method == "least_squares" else None
    if spectrum is not None and not spectrum.eigenvalues.size:
        method, spectrum = "interpolate", None  # every mode is filtered exactly
    target = make_target(response, span, spectrum)
    if whole is None:
        target = replace(target, probes=deflation.density[0])
    gains, at_zero = np.zeros(0), None
    if callable(response):
        gains = evaluate(response, np.append(deflation.eigenvalues, [0.0] * bool(count)))
        if count:
            gains, at_zero = gains[:-1], float(gains[-1])
    resolved = whole or (resolve(target) if callable(response) else None)
    choose = whole is None and interval is None and count > 0 and cache.affinity.nonnegative

    def plan(k: int) -> ChebyshevFilter:
        theta = FITS[method](target, k)
        if choose and method == "interpolate" and order is not None:
            theta = balanced(target, theta, deflation, resolved)
        bound = float(certify(theta, resolved))
        if method == "least_squares" or not math.isfinite(bound):
            bound = spectrum_error(cache, target, theta, count)
        if not covered:
            bound = math.inf  # some λ may lie outside, by less than Lanczos resolves
        series = Series(theta, span, bound)
        # Isolated nodes have λ = 0: filtered exactly where modes are deflated.
        isolated_gain = float(series(0.0)) if at_zero is None else at_zero
        bound += rounding(deflation, target, series)
        deflated = deflation.eigenvalues
        if unit is not None:  # λ/s to λ
            deflated = unit * deflated
            series = replace(series, interval=(unit * span[0], unit * span[1]))
        return ChebyshevFilter(
            series, bound, deflated, gains, isolated_gain, cache.affinity, deflation
        )  # fmt: skip

    found = plan(int(order or 0)) if tol is None else _least_order(plan, resolved, tol)
    if cache.affinity.errors is None or target.response is None:
        return found
    off = approximation_error(deflation, target.response)
    return replace(found, error_bound=found.error_bound + off, approximation_error=off)


def _without_band(
    cache: SpectralCache,
    deflation: Deflation,
    response: Response,
    order: int | None,
    tol: float | None,
) -> Resolved | None:
    """Expand g on [0, 2] where a series there costs less than the band of the graph.

    The band of a sparse graph takes as long as some :data:`BAND_PRODUCTS` products. With ``order=``
    it is left out where g on [0, 2] is met to rounding, or the graph is large, with ``tol=`` where
    fewer products do, or where the order costs nothing, since S = F Fᵀ.
    """
    affinity = cache.affinity
    factored = affinity.weights.factored
    if not affinity.nonnegative or (affinity.weights.entries is None and not factored):
        return None
    if deflation.has_band:
        return None
    resolved = resolve(make_target(response, FULL, None))
    if resolved is None:
        return None
    if order is not None:
        large = affinity.n_nodes > LARGE and not factored
        return resolved if large or len(resolved.coefficients) - 1 <= order else None
    return resolved if factored or _least(resolved, float(tol or 0)) <= BAND_PRODUCTS else None


def _least(resolved: Resolved, tol: float) -> int:
    """Return an order below which no polynomial is within ``tol``.

    None of degree K is nearer than the root mean square of the coefficients beyond K.
    """
    squares = np.cumsum(resolved.coefficients[::-1] ** 2)[::-1] / 2
    return int(np.nonzero(np.append(squares[1:], 0.0) <= tol**2)[0][0])


def _count(deflate: int | bool | None, *, free: bool) -> int:
    """Return the number of modes to deflate: none for a free Ω, fitted on the whole spectrum."""
    if deflate is None:
        return 0 if free else 1
    if not isinstance(deflate, (int, np.integer)) or deflate < 0:
        raise InputError(f"deflate={deflate!r} must be False, True, or a number of modes ≥ 0")
    if free and deflate:
        raise InputError(
            "values ω on the spectrum are fitted without deflation; pass deflate=False"
        )
    return int(deflate)


def _interval(
    cache: SpectralCache, deflation: Deflation, interval: tuple[float, float] | None, count: int
) -> tuple[tuple[float, float], bool]:
    """Return the interval of the series over λ/s, and whether it is known to cover the others."""
    nonnegative = deflation.affinity.nonnegative
    if interval is None:
        return (deflation.interval if count or not nonnegative else FULL), True
    unit = unit_of(cache.affinity)
    lo, hi = (end / unit for end in make_interval(interval))
    if nonnegative and lo <= 0 and hi >= 2:
        return (lo, hi), True
    known = cache.cheap_spectrum
    low, high = deflation.inner_ends
    if known is not None:
        lam = band_eigenvalues(cache, count, (-math.inf, math.inf)).eigenvalues
        low, high = float(lam.min(initial=hi)), float(lam.max(initial=lo))
    if lo > low + ROUNDING or hi < high - ROUNDING:
        raise InputError(
            f"interval={interval!r} does not cover the spectrum, which reaches from "
            f"{unit * low:.6g} to {unit * high:.6g}; a Chebyshev series explodes outside its "
            "interval: widen it"
        )
    ends = deflation.ends
    return (lo, hi), known is not None or (lo <= ends[0] and ends[1] <= hi)


def _least_order(plan: Any, resolved: Resolved | None, tol: float) -> ChebyshevFilter:
    """Plan with the least order whose certificate is at most ``tol``."""
    if resolved is None:
        raise InputError(
            "the response does not resolve into a Chebyshev series (it jumps, or has a feature too "
            "sharp), so no order is certified to a tolerance; use a smooth response, or order="
        )
    best = math.inf
    for k in range(_least(resolved, tol), min(len(resolved.coefficients), MAX_DEGREE) + 2):
        found: ChebyshevFilter = plan(k)
        if found.error_bound <= tol:
            return found
        best = min(best, found.error_bound)
    raise InputError(
        f"tol={tol:g} is below what rounding allows on this graph (best certificate {best:.1e}); "
        "ask for less, or use float64 features"
    )


def _nonsymmetric(
    cache: SpectralCache,
    response: Any,
    order: int | None,
    tol: float | None,
    method: str,
    interval: tuple[float, float] | None,
    allowed: bool,
    deflate: int | bool | None,
    shared: bool,
) -> ChebyshevFilter | DirectedFilter:
    """Plan a filter of a directed A, with a bound in the stationary norm.

    A series without one, on [0, 2] or an interval that is asked for, is taken where it equals the
    response, up to order 1, and above that where it is allowed: its ‖T_k‖ grow without bound.
    """
    if deflate is not None and _count(deflate, free=False) > 1:
        cache.affinity.require_core("no real modes to deflate, but the constant one")
    if not callable(response) or method == "least_squares":
        cache.affinity.require_core("no real spectrum to give ω on")
    target = make_target(response, interval or FULL, None)
    resolved = resolve(target)
    is_linear = resolved is not None and len(resolved.coefficients) <= 2
    plain = allowed or interval is not None or method != "interpolate" or deflate in (0, False)
    if is_linear and (order is None or order >= 1):
        order = order if allowed else 1
    elif tol is not None and (plain or shared):
        raise NonsymmetricError(
            f"tol={tol:g} on a softmax graph can only be met by a response that is linear in λ "
            "(nl, ns, snl, gsnl) with these options, and in a bank; use "
            "normalization='random_walk'"
        )
    elif not plain and not shared:
        try:
            return directed_filter(cache.directed, response, order, tol)
        except NonsymmetricError as error:
            if tol is not None:
                raise NonsymmetricError(
                    f"tol={tol:g} on a softmax graph needs a response that is linear in λ (nl, ns, "
                    f"snl, gsnl), or a certificate in the stationary norm: {error}"
                ) from error
            if order is not None and order > 1:
                raise NonsymmetricError(_refused(order, str(error))) from error
    assert order is not None
    if order > 1 and not allowed:
        why = (
            "its A is not similar to a symmetric matrix; leave out method=, interval= and "
            "deflate=False for a filter with a bound in the stationary norm"
        )
        raise NonsymmetricError(_refused(order, why))
    theta = FITS[method](target, order)
    # sup |g − p| bounds nothing for a matrix that is not normal, unless g is p.
    is_polynomial = resolved is not None and len(resolved.coefficients) - 1 <= order
    bound = float(certify(theta, resolved)) if is_polynomial else math.inf
    series = Series(theta, target.interval, bound)
    bound += 64 * cache.affinity.eps * float(np.abs(theta).sum())
    if tol is not None and bound > tol:
        raise NonsymmetricError(
            f"tol={tol:g} is below rounding, {bound:.1e}, on this graph; ask for less, or use "
            "float64 features"
        )
    return ChebyshevFilter(series, bound, np.zeros(0), np.zeros(0), 0.0, cache.affinity, None)


def _refused(order: int, why: str) -> str:
    return (
        f"order={order} on a softmax graph: {why}; or use order ≤ 1; a series without a bound, "
        "whose ‖T_k‖ grow (8·10⁶ was met at k = 20), is taken with allow_nonsymmetric=True"
    )
