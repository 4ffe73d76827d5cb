r"""Chebyshev series of a response, and what can be certified of them.

:math:`p(λ) = \sum_{k \le K} θ_k T_k(x)` with :math:`x = (2λ - lo - hi)/(hi - lo)`: numpy's
convention, θ₀ not halved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev as npcheb
from scipy import fft

from gspnl._array import to_numpy
from gspnl.errors import InputError
from gspnl.registry import Registry
from gspnl.responses import Response

EPS = float(np.finfo(np.float64).eps)
MAX_DEGREE = 1 << 14  # of a resolved expansion; poles as near as 2e-3 to [0, 2] are resolved

Fit = Callable[["Target", int], np.ndarray]
FITS: Registry[Fit] = Registry("method")


@dataclass(frozen=True, eq=False)
class Series:
    r"""A polynomial in λ by its Chebyshev coefficients.

    Parameters
    ----------
    coefficients : array of shape (K + 1,)
        θ₀ … θ_K of :math:`T_k((2λ - lo - hi)/(hi - lo))`.
    interval : (float, float)
        (lo, hi).
    error_bound : float
        Certified :math:`\sup |g - p|` over the interval, or over the spectrum the fit was given;
        inf where no finite certificate exists, NaN where there is no response to compare with.

    Examples
    --------
    >>> import gspnl
    >>> series = gspnl.chebyshev.fit(gspnl.responses.heat(3.0), order=8)
    >>> series.order, series.error_bound < 1e-5
    (8, True)
    """

    coefficients: np.ndarray
    interval: tuple[float, float] = (0.0, 2.0)
    error_bound: float = math.nan

    @property
    def order(self) -> int:
        """K."""
        return len(self.coefficients) - 1

    def __call__(self, lam: Any) -> np.ndarray:
        """p(λ), by Clenshaw's recurrence."""
        lo, hi = self.interval
        x = (2 * np.asarray(lam, dtype=np.float64) - (lo + hi)) / (hi - lo)
        return np.asarray(npcheb.chebval(x, self.coefficients))


@dataclass(frozen=True, eq=False)
class Target:
    """What a series is fitted to: a response on an interval, or values ω on a given spectrum."""

    response: Response | None
    interval: tuple[float, float]
    spectrum: np.ndarray | None = None
    values: np.ndarray | None = None
    multiplicities: np.ndarray | None = None

    def on(self, x: np.ndarray) -> np.ndarray:
        """G at points x of [−1, 1]."""
        lo, hi = self.interval
        return evaluate(self._callable(), (lo + hi) / 2 + (hi - lo) / 2 * x)

    def _callable(self) -> Response:
        if self.response is None:
            raise InputError(
                "values ω on a spectrum determine no polynomial elsewhere; use "
                "method='least_squares'"
            )
        return self.response


def evaluate(response: Response, lam: np.ndarray) -> np.ndarray:
    """g(λ) in float64; raises, naming the λ, where g is not finite or changes the shape."""
    values = _numbers(response(lam))
    if values.shape != lam.shape:
        if values.shape != ():
            raise InputError(
                f"the response returned shape {values.shape} for λ of shape {lam.shape}; "
                "it must work elementwise"
            )
        values = np.full(lam.shape, float(values))
    if not np.isfinite(values).all():
        first = lam[~np.isfinite(values)].flat[0]
        raise InputError(
            f"the response {response!r} is not finite on the spectrum: g({first:.6g}) = "
            f"{values[lam == first].flat[0]}; choose one that is finite on [0, 2]"
        )
    return values


def _numbers(x: Any) -> np.ndarray:
    """A scalar, a list or an array of any library, as float64 NumPy."""
    return np.asarray(x if isinstance(x, (int, float, list, tuple, np.generic)) else to_numpy(x),
                      dtype=np.float64)  # fmt: skip


def nodes(n: int) -> np.ndarray:
    """The n zeros of T_n, descending."""
    return np.asarray(np.cos(np.pi * (np.arange(n) + 0.5) / n))


def interpolation_coefficients(values: np.ndarray) -> np.ndarray:
    """Coefficients of the interpolant of values at :func:`nodes`, by one DCT."""
    n = len(values)
    c = np.asarray(fft.dct(values, type=2)) / n
    c[0] /= 2
    return c


@dataclass(frozen=True, eq=False)
class Resolved:
    """An expansion that is g to rounding: its coefficients, and the rounding left."""

    coefficients: np.ndarray
    floor: float


def resolve(target: Target) -> Resolved | None:
    """Double the degree until the coefficients reach rounding; None where they do not.

    The expansion is checked between its nodes, at the ends, and around every place where a response
    says it changes, so that a feature falling between nodes is not missed in silence.
    """
    lo, hi = target.interval
    for jump in getattr(target.response, "jumps", ()):
        if lo <= jump < hi:
            return None
    probe = np.concatenate([np.linspace(-1, 1, 1025), nodes(1500)])
    truth = target.on(probe)
    n = 32
    while n <= MAX_DEGREE:
        values = target.on(nodes(n))
        c = interpolation_coefficients(values)
        scale = max(np.abs(values).max(), np.abs(truth).max())
        tiny = 32 * EPS * scale
        if np.abs(c[-n // 8 :]).max() <= tiny:
            keep = int(np.nonzero(np.abs(c) > EPS * scale)[0].max(initial=0)) + 1
            miss = np.abs(npcheb.chebval(probe, c[:keep]) - truth).max()
            if miss <= 8 * keep * tiny:
                return Resolved(c[:keep], 2 * float(miss) + tiny)
        n *= 2
    return None


def sup_bound(coefficients: np.ndarray) -> float:
    r"""Certified :math:`\sup_{[-1,1]} |q|` of a Chebyshev series q, within 2 % of the truth.

    A polynomial of degree D is at most 1/cos(πD/2n) times its largest value at the n zeros of T_n
    (Ehlich and Zeller 1964); n = 8 (D + 1) makes that factor 1.02.
    """
    d = len(coefficients) - 1
    n = 8 * (d + 1)
    padded = np.zeros(n)
    padded[: d + 1] = coefficients
    padded[1:] /= 2
    sampled = np.asarray(fft.dct(padded, type=3))
    return float(np.abs(sampled).max() / math.cos(math.pi * d / (2 * n)))


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Coefficients of the difference of two series."""
    out = np.zeros(max(len(a), len(b)))
    out[: len(a)] += a
    out[: len(b)] -= b
    return out


def fit(
    response: Response | Any,
    order: int,
    interval: tuple[float, float] = (0.0, 2.0),
    method: str = "interpolate",
    spectrum: Any = None,
) -> Series:
    r"""Fit a Chebyshev series of a given order, with a certificate.

    Parameters
    ----------
    response : callable, or array of shape (m,)
        g(λ), elementwise; or the paper's free Ω: one value per eigenvalue of ``spectrum``, which
        goes with ``method="least_squares"``.
    order : int
        K ≥ 0.
    interval : (float, float)
        (lo, hi), lo < hi.
    method : {"interpolate", "least_squares", "minimax", "jackson"}
        Interpolation at the Chebyshev nodes; least squares on the spectrum, eigenvalues weighted by
        their multiplicities; the best uniform approximation (Remez); or the Chebyshev projection
        damped by Jackson's kernel, which does not ring at a jump.
    spectrum : Spectrum, or array of shape (m,), optional
        The eigenvalues on which least squares fits, and on which the error is then certified.

    Returns
    -------
    Series

    Raises
    ------
    InputError
        If the order is negative, the interval empty, the response not finite, or the method unfit.

    Notes
    -----
    With q = g_resolved − p, a polynomial, sup|q| is bounded by its values on a fine Chebyshev grid
    [1]_; the rounding of the resolved expansion is added. A response that does not resolve (an
    ideal low pass that jumps inside the interval) has no finite certificate there:
    ``error_bound`` is inf.

    References
    ----------
    .. [1] H. Ehlich and K. Zeller, Schwankung von Polynomen zwischen Gitterpunkten,
       Mathematische Zeitschrift 86, 1964.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> series = gspnl.chebyshev.fit(gspnl.responses.tikhonov(1.0), order=10, interval=(0.0, 2.0))
    >>> lam = np.linspace(0, 2, 1000)
    >>> bool(np.abs(series(lam) - 1 / (1 + lam)).max() <= series.error_bound < 1e-5)
    True
    """
    target = make_target(response, interval, spectrum)
    check_order(order)
    theta = FITS[method](target, order)
    if method == "least_squares":
        return Series(theta, target.interval, spectral_error(target, theta))
    return Series(theta, target.interval, certify(theta, resolve(target)))


def certify(theta: np.ndarray, resolved: Resolved | None) -> float:
    """Return the certified sup|g − p|, or inf where g is not resolved."""
    if resolved is None:
        return math.inf
    rounding = 8 * EPS * len(theta) * float(np.abs(theta).sum())
    return sup_bound(difference(resolved.coefficients, theta)) + resolved.floor + rounding


def spectral_error(target: Target, theta: np.ndarray) -> float:
    """Max |g − p| over the eigenvalues of the target, with its rounding."""
    assert target.spectrum is not None
    values = _spectral_values(target)
    gap = np.abs(Series(theta, target.interval)(target.spectrum) - values)
    return float(gap.max()) + 8 * EPS * len(theta) * float(np.abs(theta).sum())


def make_target(response: Any, interval: tuple[float, float], spectrum: Any) -> Target:
    """Check what a fit is asked for."""
    lo, hi = (float(v) for v in interval)
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise InputError(f"interval={interval!r} must be (lo, hi), both finite, with lo < hi")
    lam = multiplicities = None
    if spectrum is not None:
        lam = _numbers(getattr(spectrum, "eigenvalues", spectrum))
        multiplicities = np.asarray(getattr(spectrum, "multiplicities", np.ones(lam.shape)))
        slack = 1e-8 * (hi - lo)
        if lam.ndim != 1 or lam.size == 0 or not np.isfinite(lam).all():
            raise InputError("spectrum must hold a one-dimensional array of finite eigenvalues")
        if lam.min() < lo - slack or lam.max() > hi + slack:
            raise InputError(
                f"the spectrum spans [{lam.min():.6g}, {lam.max():.6g}], outside interval="
                f"({lo:g}, {hi:g}); widen the interval"
            )
    if callable(response):
        return Target(response, (lo, hi), lam, None, multiplicities)
    values = _numbers(response)
    if lam is None:
        raise InputError("an array of responses needs spectrum=, the eigenvalues it belongs to")
    if values.shape != lam.shape:
        raise InputError(f"{values.shape} responses were given for {lam.shape} eigenvalues")
    if not np.isfinite(values).all():
        raise InputError("the responses ω hold values that are not finite")
    return Target(None, (lo, hi), lam, values, multiplicities)


def check_order(order: Any) -> None:
    """Raise unless ``order`` is a whole number ≥ 0."""
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
        raise InputError(f"order={order!r} must be a whole number ≥ 0")


def _spectral_values(target: Target) -> np.ndarray:
    if target.values is not None:
        return target.values
    assert target.spectrum is not None
    return evaluate(target._callable(), target.spectrum)


@FITS.register("interpolate")
def _interpolate(target: Target, order: int) -> np.ndarray:
    return interpolation_coefficients(target.on(nodes(order + 1)))


@FITS.register("least_squares")
def _least_squares(target: Target, order: int) -> np.ndarray:
    if target.spectrum is None or target.multiplicities is None:
        raise InputError("method='least_squares' needs spectrum=, the eigenvalues it fits")
    lo, hi = target.interval
    values = _spectral_values(target)
    weight = np.sqrt(target.multiplicities)
    basis = npcheb.chebvander((2 * target.spectrum - (lo + hi)) / (hi - lo), order)
    return np.asarray(
        np.linalg.lstsq(basis * weight[:, None], values * weight, rcond=order * EPS)[0]
    )


@FITS.register("jackson")
def _jackson(target: Target, order: int) -> np.ndarray:
    c = interpolation_coefficients(target.on(nodes(max(4096, 8 * (order + 1)))))[: order + 1]
    k, n = np.arange(order + 1), order + 2
    angle = np.pi / n
    damping = ((n - k) * np.cos(angle * k) + np.sin(angle * k) / np.tan(angle)) / n
    return np.asarray(c * damping)


@FITS.register("minimax")
def _minimax(target: Target, order: int) -> np.ndarray:
    from gspnl.remez import remez

    if any(target.interval[0] <= jump < target.interval[1]
           for jump in getattr(target.response, "jumps", ())):  # fmt: skip
        raise InputError(
            f"{target.response!r} jumps inside the interval, where no polynomial comes near; use "
            "method='jackson', or 'least_squares' on the spectrum"
        )
    return remez(target.on, order, start=_interpolate(target, order))
