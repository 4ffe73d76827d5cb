"""Tight frames of two filters, a low and a high pass, with A = B = 1."""

from __future__ import annotations

from gspnl import responses
from gspnl.responses import Response
from gspnl.responses.banks.base import FilterBank, bank


def _pair(half: Response) -> FilterBank:
    # The largest value is 1; .completed() would search for it.
    return FilterBank((half, responses.complement((half,), 1.0)))


@bank("held")
def held(a: float = 2 / 3, lmax: float = 2.0) -> FilterBank:
    """Held's low pass and its complement, a tight frame.

    Parameters
    ----------
    a, lmax : float
        See :class:`gspnl.responses.held`.

    References
    ----------
    ``pygsp.filters.Held``.

    Examples
    --------
    >>> held().is_tight()
    True
    """
    return _pair(responses.held(a, lmax))


@bank("papadakis")
def papadakis(a: float = 0.75, lmax: float = 2.0) -> FilterBank:
    """Papadakis' low pass and its complement, a tight frame.

    Parameters
    ----------
    a, lmax : float
        See :class:`gspnl.responses.papadakis`.

    References
    ----------
    ``pygsp.filters.Papadakis``.

    Examples
    --------
    >>> papadakis().is_tight()
    True
    """
    return _pair(responses.papadakis(a, lmax))


@bank("regular")
def regular(degree: int = 3, lmax: float = 2.0) -> FilterBank:
    """The regular construction, a high pass, and its complement, a low pass: a tight frame.

    Parameters
    ----------
    degree : int
        ≥ 0, see :class:`gspnl.responses.regular`.
    lmax : float

    References
    ----------
    ``pygsp.filters.Regular``.

    Examples
    --------
    >>> regular().is_tight()
    True
    """
    return _pair(responses.regular(degree, lmax))


@bank("simoncelli")
def simoncelli(a: float = 2 / 3, lmax: float = 2.0) -> FilterBank:
    """Simoncelli's low pass and its complement, a tight frame.

    Parameters
    ----------
    a, lmax : float
        See :class:`gspnl.responses.simoncelli`.

    References
    ----------
    ``pygsp.filters.Simoncelli``.

    Examples
    --------
    >>> simoncelli().is_tight()
    True
    """
    return _pair(responses.simoncelli(a, lmax))
