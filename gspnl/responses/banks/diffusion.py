"""Banks of heat kernels, of waves, and of the dilations of one response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gspnl import responses
from gspnl._base.validate import number
from gspnl.errors import InputError
from gspnl.responses import Response
from gspnl.responses.banks.base import FilterBank, bank, eigenvalues_of
from gspnl.responses.composite import is_response
from gspnl.responses.evaluate import evaluate
from gspnl.responses.points import are_numbers


@bank("heat")
def heat(
    scales: float | Sequence[float] = 10.0, spectrum: Any = None, lmax: float = 2.0
) -> FilterBank:
    r"""Heat kernels, :math:`g_f(λ) = e^{-s_f λ/λ_{max}}`, optionally of unit norm.

    Parameters
    ----------
    scales : float, or sequence of them
        s_f.
    spectrum : Spectrum, or array of λ, optional
        Divide each by its Euclidean norm over these λ, with their multiplicities: PyGSP's
        ``normalize=True``.
    lmax : float
        > 0; the λ that counts as 1.

    References
    ----------
    ``pygsp.filters.Heat``.

    Examples
    --------
    >>> heat([1.0, 4.0], lmax=2.0).responses
    (heat(t=0.5), heat(t=2.0))
    """
    wide = number("lmax", lmax, above=0)
    kernels = [responses.heat(s / wide) for s in _several("scales", scales)]
    if spectrum is None:
        return FilterBank(tuple(kernels))
    lam = eigenvalues_of(spectrum)
    norms = [float(np.linalg.norm(evaluate(g, lam))) for g in kernels]
    return FilterBank(
        tuple(responses.scaled(g, 1 / n) for g, n in zip(kernels, norms, strict=True))
    )


@bank("wave")
def wave(
    times: float | Sequence[float] = 10.0,
    speeds: float | Sequence[float] = 1.0,
    lmax: float = 2.0,
) -> FilterBank:
    """Waves at several times and speeds.

    Parameters
    ----------
    times, speeds : float, or sequence of them
        Equally many, or one of either; speeds in [0, 2).
    lmax : float
        > 0; the λ that counts as 1.

    References
    ----------
    ``pygsp.filters.Wave``.

    Examples
    --------
    >>> wave([5.0, 15.0])[1]
    wave(time=15.0, speed=1.0, lmax=2.0)
    """
    t, s = _several("times", times), _several("speeds", speeds)
    count = max(len(t), len(s))
    if {len(t), len(s)} - {1, count}:
        raise InputError(f"{len(t)} times and {len(s)} speeds; give as many of each, or one")
    t, s = t * (count // len(t)), s * (count // len(s))
    return FilterBank(tuple(responses.wave(a, b, lmax) for a, b in zip(t, s, strict=True)))


@bank("tight")
def tight(
    mother: Response,
    scales: float | Sequence[float] = 1.0,
    bound: float | None = None,
    interval: tuple[float, float] = (0.0, 2.0),
) -> FilterBank:
    r"""A mother response at several scales, completed to a tight frame.

    Its filters are :math:`g(s_1 λ), …, g(s_n λ)` and :math:`\sqrt{B - \sum_f g(s_f λ)^2}`. For a
    tight frame by normalisation instead, see :meth:`FilterBank.normalized`.

    Parameters
    ----------
    mother : callable
        g.
    scales : float, or sequence of them
        > 0.
    bound : float, optional
        B; default: the smallest possible.
    interval : (float, float)
        Interval on which the frame is tight.

    Examples
    --------
    >>> from gspnl.responses import tikhonov
    >>> tight(tikhonov(5.0), [1.0, 8.0]).is_tight()
    True
    """
    is_response("mother", mother)
    family = tuple(
        mother if s == 1 else responses.dilated(mother, s) for s in _several("scales", scales)
    )
    return FilterBank(family).completed(bound, interval)


def _several(name: str, value: Any) -> tuple[float, ...]:
    """Return a number, or a sequence of them, as a tuple."""
    values: tuple[float, ...] = are_numbers(name, [value] if np.ndim(value) == 0 else value)
    return values
