"""Planning a Chebyshev filter of a graph: its interval, its series, its certificate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gspnl._base.array import Array, eps
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.kernels.base import positive
from gspnl.chebyshev import FITS, Series
from gspnl.chebyshev.certificate import MAX_DEGREE, Resolved, certify, resolve
from gspnl.chebyshev.recurrence import scaled
from gspnl.chebyshev.target import check_order, make_target
from gspnl.errors import InputError, NonsymmetricError
from gspnl.filters.bounds import WHOLE, balanced, on_spectrum, rest, rounding
from gspnl.filters.cache import Decompositions
from gspnl.filters.deflation import Deflated, recurrence
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate, make_interval

ROUNDING = 1e-9  # by which an eigenvalue may lie outside a user's interval


@dataclass(frozen=True, eq=False)
class ChebyshevFilter:
    r"""A frozen polynomial filter of one graph: the same signal always gives the same answer.

    Attributes
    ----------
    series : Series
        p, over the band of λ left after deflation.
    error_bound : float
        Certified bound of :math:`\|T^{-1}(g(L) - F)Z\| / \|T^{-1} Z\|`, rounding included; inf
        where there is none.
    deflated : array of shape (m,)
        λ of the modes that are filtered exactly.
    """

    series: Series
    error_bound: float
    deflated: np.ndarray
    _affinity: Affinity
    _engine: Deflated | None
    _gains: np.ndarray
    _alone: float

    @property
    def order(self) -> int:
        """K."""
        return self.series.order

    def __call__(self, Z: Array) -> Array:
        """Filter Z (..., N, c), or (N,)."""
        affinity, engine = self._affinity, self._engine
        if engine is None:
            fn = partial(recurrence, scaled(self.series.interval, affinity.apply), self.series)
        else:
            fn = partial(engine.polynomial, self.series, self._gains, self._alone)
        return on_signals(fn, Z, affinity.weights.shape, affinity.left)

    def __repr__(self) -> str:
        lo, hi = self.series.interval
        return (
            f"ChebyshevFilter(order {self.order} on [{lo:.4g}, {hi:.4g}], {len(self.deflated)} "
            f"deflated, error ≤ {self.error_bound:.2g})"
        )


def chebyshev_filter(
    parts: Decompositions,
    response: Response | Array,
    *,
    order: int | None = None,
    tol: float | None = None,
    method: str = "interpolate",
    deflate: int | bool | None = None,
    interval: tuple[float, float] | None = None,
    allow_nonsymmetric: bool = False,
) -> ChebyshevFilter:
    """Plan a Chebyshev filter of a given order, or of the least order that is certified to ``tol``.

    See :meth:`gspnl.FeatureGraph.filter` for the parameters.
    """
    if (order is None) == (tol is None):
        raise InputError("pass one of order= and tol=")
    if order is not None:
        check_order(order)
    else:
        positive(tol, "tol")
    FITS[method]
    if not parts.affinity.symmetric_core:
        return _nonsymmetric(
            parts, response, order, tol, method, interval, allow_nonsymmetric, deflate
        )
    if not callable(response) and method == "interpolate":
        method = "least_squares"  # values on the spectrum: the paper's free Ω
    count = _count(deflate, free=not callable(response))
    engine = parts.deflated(count)
    span, covered = _span(parts, engine, interval, count)
    spectrum = rest(parts, count, span) if method == "least_squares" else None
    if spectrum is not None and not spectrum.eigenvalues.size:
        method, spectrum = "interpolate", None  # every mode is filtered exactly
    target = replace(make_target(response, span, spectrum), probes=engine.density[0])
    gains = evaluate(response, engine.eigenvalues) if callable(response) else np.zeros(0)
    resolved = resolve(target) if callable(response) else None
    choose = interval is None and count > 0 and parts.affinity.nonnegative

    def plan(k: int) -> ChebyshevFilter:
        theta = FITS[method](target, k)
        if choose and method == "interpolate" and order is not None:
            theta = balanced(target, theta, engine, resolved)
        bound = certify(theta, resolved)
        if method == "least_squares" or not math.isfinite(bound):
            bound = on_spectrum(parts, target, theta, count)
        if not covered:
            bound = math.inf  # λ may lie outside, by less than Lanczos can tell
        series = Series(theta, span, bound)
        alone = _alone(response, series, count)
        return ChebyshevFilter(
            series, bound + rounding(parts, engine, target, series),
            engine.eigenvalues, parts.affinity, engine, gains, alone,
        )  # fmt: skip

    return plan(int(order)) if order is not None else _least_order(plan, resolved, float(tol or 0))


def _count(deflate: int | bool | None, *, free: bool) -> int:
    """How many modes to deflate; a free Ω is fitted on the whole spectrum."""
    if deflate is None:
        return 0 if free else 1
    if not isinstance(deflate, (int, np.integer)) or deflate < 0:
        raise InputError(f"deflate={deflate!r} must be False, True, or a number of modes ≥ 0")
    if free and deflate:
        raise InputError(
            "values ω on the spectrum are fitted without deflation; pass deflate=False"
        )
    return int(deflate)


def _span(
    parts: Decompositions, engine: Deflated, interval: tuple[float, float] | None, count: int
) -> tuple[tuple[float, float], bool]:
    """The interval of the series, and whether it surely covers every λ but the deflated."""
    nonnegative = engine.affinity.nonnegative
    if interval is None:
        return (engine.interval if count or not nonnegative else WHOLE), True
    lo, hi = make_interval(interval)
    if nonnegative and lo <= 0 and hi >= 2:
        return (lo, hi), True
    known = parts.known_spectrum
    low, high = engine.reached
    if known is not None:
        lam = rest(parts, count, (-math.inf, math.inf)).eigenvalues
        low, high = float(lam.min(initial=hi)), float(lam.max(initial=lo))
    if lo > low + ROUNDING or hi < high - ROUNDING:
        raise InputError(
            f"interval={interval!r} does not cover the spectrum, which reaches from {low:.6g} to "
            f"{high:.6g}; a Chebyshev series explodes outside its interval: widen it"
        )
    ends = engine.ends
    return (lo, hi), known is not None or (lo <= ends[0] and ends[1] <= hi)


def _alone(response: Any, series: Series, count: int) -> float:
    """The gain of isolated nodes, λ = 0: exact where modes are deflated."""
    if count and callable(response):
        return float(evaluate(response, np.zeros(1))[0])
    return float(series(0.0))


def _least_order(plan: Any, resolved: Resolved | None, tol: float) -> ChebyshevFilter:
    """The least order whose certificate is below ``tol``."""
    if resolved is None:
        raise InputError(
            "the response does not resolve into a Chebyshev series (it jumps, or has a feature too "
            "sharp), so no order is certified to a tolerance; use a smooth response, or order="
        )
    # No polynomial of degree K is nearer than the root mean square of the coefficients beyond K.
    squares = np.cumsum(resolved.coefficients[::-1] ** 2)[::-1] / 2
    start = int(np.nonzero(np.append(squares[1:], 0.0) <= tol**2)[0][0])
    best = math.inf
    for k in range(start, min(len(resolved.coefficients), MAX_DEGREE) + 2):
        found: ChebyshevFilter = plan(k)
        if found.error_bound <= tol:
            return found
        best = min(best, found.error_bound)
    raise InputError(
        f"tol={tol:g} is below what rounding allows on this graph (best certificate {best:.1e}); "
        "ask for less, or use float64 features"
    )


def _nonsymmetric(
    parts: Decompositions,
    response: Any,
    order: int | None,
    tol: float | None,
    method: str,
    interval: tuple[float, float] | None,
    allowed: bool,
    deflate: int | bool | None,
) -> ChebyshevFilter:
    """A softmax graph: order ≤ 1 means what it says; higher ones grow without bound."""
    if deflate:
        raise NonsymmetricError("normalization='softmax' has no real modes to deflate")
    if not callable(response) or method == "least_squares":
        raise NonsymmetricError(
            "normalization='softmax' has no real spectrum to give ω on; use 'random_walk'"
        )
    target = make_target(response, interval or WHOLE, None)
    resolved = resolve(target)
    if tol is not None:
        order = 1
    assert order is not None
    if order > 1 and not allowed:
        raise NonsymmetricError(
            f"order={order} on a softmax graph: its A is not similar to a symmetric matrix, and "
            "‖T_k‖ grows without bound for k > 1 (8·10⁶ was met at k = 20); use "
            "normalization='random_walk', order ≤ 1, or allow_nonsymmetric=True"
        )
    theta = FITS[method](target, order)
    # sup |g − p| bounds nothing for a matrix that is not normal, unless g is p.
    is_polynomial = resolved is not None and len(resolved.coefficients) - 1 <= order
    bound = certify(theta, resolved) if is_polynomial else math.inf
    series = Series(theta, target.interval, bound)
    bound += 64 * eps(parts.affinity.left) * float(np.abs(theta).sum())
    if tol is not None and bound > tol:
        raise NonsymmetricError(
            "tol= on a softmax graph can only be met by a response that is linear in λ (nl, ns, "
            "snl, gsnl); use normalization='random_walk'"
        )
    return ChebyshevFilter(series, bound, np.zeros(0), parts.affinity, None, np.zeros(0), 0.0)
