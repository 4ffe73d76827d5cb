"""Banks of spectral graph wavelets: a low pass, and one band pass at several scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gspnl import responses
from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.responses.banks.base import FilterBank, bank
from gspnl.responses.points import are_numbers

GAIN = 1 + 2 / 27**0.5  # the largest value of the abspline wavelet


def log_scales(lmin: float, lmax: float, count: int) -> tuple[float, ...]:
    """Return ``count`` scales from 2/lmin down to 1/lmax, evenly spaced in their logarithm.

    Parameters
    ----------
    lmin, lmax : float
        > 0; ends of the interval that wavelets at these scales cover.
    count : int
        ≥ 0.

    Returns
    -------
    tuple of count floats

    References
    ----------
    ``pygsp.utils.compute_log_scales``.

    Examples
    --------
    >>> [round(s, 9) for s in log_scales(0.5, 4.0, 3)]
    [4.0, 1.0, 0.25]
    """
    first, last = (
        np.log(2 / number("lmin", lmin, above=0)),
        np.log(1 / number("lmax", lmax, above=0)),
    )
    return tuple(np.exp(np.linspace(first, last, whole_number("count", count))).tolist())


def _scales(
    scales: Sequence[float] | None, count: int, default: Callable[[int], Sequence[float]]
) -> tuple[float, ...]:
    """Return the scales of ``count`` − 1 wavelets: the user's, checked, or the default."""
    count = whole_number("count", count, 2)  # a low pass and a wavelet
    if scales is None:
        return tuple(float(s) for s in default(count - 1))
    chosen: tuple[float, ...] = are_numbers("scales", scales)
    if len(chosen) != count - 1:
        raise InputError(f"{len(chosen)} scales were given; count={count} takes {count - 1}")
    return chosen


def _octaves(largest: float) -> Callable[[int], Sequence[float]]:
    """Scales in octaves, down to ``largest``."""
    return lambda n: [largest * 2.0**j for j in range(n - 1, -1, -1)]


@bank("abspline")
def abspline(
    count: int = 6,
    lpfactor: float = 20.0,
    scales: Sequence[float] | None = None,
    lmax: float = 2.0,
) -> FilterBank:
    """Cubic-spline wavelets, and a quartic low pass of the same height.

    Parameters
    ----------
    count : int
        ≥ 2, number of filters.
    lpfactor : float
        > 0; the wavelets cover λ from lmin = lmax/lpfactor on, and the low pass has its cut at
        0.6 lmin.
    scales : sequence of count − 1 floats, optional
        Default: from 2/lmin to 1/lmax, evenly spaced in their logarithm.
    lmax : float
        > 0; the largest λ.

    References
    ----------
    Hammond, Vandergheynst and Gribonval 2011; ``pygsp.filters.Abspline``.

    Examples
    --------
    >>> abspline(4, scales=(20.0, 4.0, 1.0))[1]
    abspline(scale=20.0)
    """
    lmin = number("lmax", lmax, above=0) / number("lpfactor", lpfactor, above=0)
    chosen = _scales(scales, count, lambda n: log_scales(lmin, lmax, n))
    low = responses.quartic_low_pass(0.6 * lmin, GAIN)
    return FilterBank((low, *[responses.abspline(s) for s in chosen]))


@bank("mexican_hat")
def mexican_hat(
    count: int = 6,
    lpfactor: float = 20.0,
    scales: Sequence[float] | None = None,
    normalize: bool = False,
    lmax: float = 2.0,
) -> FilterBank:
    """Mexican-hat wavelets and a quartic low pass.

    Parameters
    ----------
    count : int
        ≥ 2, number of filters.
    lpfactor : float
        > 0; the wavelets cover λ from lmin = lmax/lpfactor on, and the low pass has its cut at
        0.4 lmin.
    scales : sequence of count − 1 floats, optional
        Default: from 2/lmin to 1/lmax, evenly spaced in their logarithm.
    normalize : bool
        Whether each wavelet is multiplied by √scale.
    lmax : float
        > 0; the largest λ.

    References
    ----------
    ``pygsp.filters.MexicanHat``.

    Examples
    --------
    >>> mexican_hat(3, scales=(4.0, 1.0), normalize=True)[1]
    mexican_hat(scale=4.0, gain=2.0)
    """
    lmin = number("lmax", lmax, above=0) / number("lpfactor", lpfactor, above=0)
    chosen = _scales(scales, count, lambda n: log_scales(lmin, lmax, n))
    low = responses.quartic_low_pass(0.4 * lmin, 1.2 * float(np.exp(-1)))
    gains = [number("scales", s, above=0) ** 0.5 if normalize else 1.0 for s in chosen]
    wavelets = [responses.mexican_hat(s, gain) for s, gain in zip(chosen, gains, strict=True)]
    return FilterBank((low, *wavelets))


@bank("meyer")
def meyer(count: int = 6, scales: Sequence[float] | None = None, lmax: float = 2.0) -> FilterBank:
    """Meyer wavelets: a tight frame on [0, lmax] at their own scales, with A = B = 1.

    Parameters
    ----------
    count : int
        ≥ 2, number of filters.
    scales : sequence of count − 1 floats, optional
        The low pass has the first of them. Default: octaves down to 4/(3 lmax).
    lmax : float
        > 0; the largest λ.

    References
    ----------
    Leonardi and Van De Ville 2011; ``pygsp.filters.Meyer``.

    Examples
    --------
    >>> meyer(4).is_tight()
    True
    """
    chosen = _scales(scales, count, _octaves(4 / (3 * number("lmax", lmax, above=0))))
    wavelets = [responses.meyer(s) for s in chosen]
    return FilterBank((responses.meyer_scaling(chosen[0]), *wavelets))


@bank("simple_tight")
def simple_tight(
    count: int = 6, scales: Sequence[float] | None = None, lmax: float = 2.0
) -> FilterBank:
    """Simple tight wavelets: a tight frame on [0, lmax] at their own scales, with A = B = 1.

    Parameters
    ----------
    count : int
        ≥ 2, number of filters.
    scales : sequence of count − 1 floats, optional
        The low pass has the first of them. Default: octaves down to 1/(2 lmax).
    lmax : float
        > 0; the largest λ.

    References
    ----------
    ``pygsp.filters.SimpleTight``.

    Examples
    --------
    >>> simple_tight(4).is_tight()
    True
    """
    chosen = _scales(scales, count, _octaves(1 / (2 * number("lmax", lmax, above=0))))
    wavelets = [responses.simple_tight(s) for s in chosen]
    return FilterBank((responses.simple_tight_scaling(chosen[0]), *wavelets))
