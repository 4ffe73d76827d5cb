"""Fits of Chebyshev series: interpolation, least squares, minimax, Jackson."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev as npcheb

from gspnl._base.blas import on_one_thread
from gspnl._base.registry import Registry
from gspnl.chebyshev.certificate import certify, resolve, spectral_error
from gspnl.chebyshev.remez import remez
from gspnl.chebyshev.series import EPS, Series, interpolation_coefficients, nodes
from gspnl.chebyshev.target import Target, check_order, make_target
from gspnl.errors import InputError
from gspnl.responses import Response

Fit = Callable[[Target, int], np.ndarray]
FITS: Registry[Fit] = Registry("method")


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
        needs ``method="least_squares"``.
    order : int
        K ≥ 0.
    interval : (float, float)
        (lo, hi), lo < hi.
    method : {"interpolate", "least_squares", "minimax", "jackson"}
        Interpolation at the Chebyshev nodes; least squares on the spectrum, eigenvalues weighted by
        their multiplicities; the best uniform approximation (Remez); or the Chebyshev projection
        damped by Jackson's kernel, which does not ring at a jump.
    spectrum : Spectrum, or array of shape (m,), optional
        The eigenvalues on which least squares fits. With them, the error of any fit is certified on
        them instead of the interval.

    Returns
    -------
    Series

    Raises
    ------
    InputError
        If the order is negative, the interval empty, the response not finite, or the method does
        not apply.

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
    if target.spectrum is not None:
        return Series(theta, target.interval, spectral_error(target, theta))
    return Series(theta, target.interval, float(certify(theta, resolve(target))))


@FITS.register("interpolate")
def _interpolate(target: Target, order: int) -> np.ndarray:
    return interpolation_coefficients(target.on(nodes(order + 1)))


@FITS.register("least_squares")
@on_one_thread
def _least_squares(target: Target, order: int) -> np.ndarray:
    if target.spectrum is None or target.multiplicities is None:
        raise InputError("method='least_squares' needs spectrum=, the eigenvalues it fits")
    lo, hi = target.interval
    values = target.on_spectrum()
    weight = np.sqrt(target.multiplicities)
    basis = npcheb.chebvander((2 * target.spectrum - (lo + hi)) / (hi - lo), order)
    return np.asarray(
        np.linalg.lstsq(basis * weight[:, None], values * weight, rcond=order * EPS)[0]
    )


@FITS.register("jackson")
def _jackson(target: Target, order: int) -> np.ndarray:
    c = interpolation_coefficients(target.on(nodes(max(4096, 8 * (order + 1)))))[: order + 1]
    return np.asarray(c * jackson_damping(order + 1))


def jackson_damping(count: int) -> np.ndarray:
    """Compute Jackson's factors for ``count`` coefficients; they keep a damped density ≥ 0."""
    k, n = np.arange(count), count + 1
    angle = np.pi / n
    return np.asarray(((n - k) * np.cos(angle * k) + np.sin(angle * k) / np.tan(angle)) / n)


@FITS.register("minimax")
def _minimax(target: Target, order: int) -> np.ndarray:
    if target.jumps:
        raise InputError(
            f"{target.response!r} jumps inside the interval, where no polynomial comes near; use "
            "method='jackson', or 'least_squares' on the spectrum"
        )
    return remez(target.on, order, start=_interpolate(target, order))
