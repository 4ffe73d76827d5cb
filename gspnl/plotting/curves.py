"""Plot responses, their Chebyshev series and filter banks against λ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gspnl._base.array import constant
from gspnl.chebyshev import Series
from gspnl.plotting._axes import COLOURS, GREY, curve_axes
from gspnl.plotting._style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gspnl.filters import ChebyshevFilter
    from gspnl.filters.directed import DirectedFilter
    from gspnl.filters.partial_spectrum import PartialSpectrum
    from gspnl.filters.spectrum import Spectrum
    from gspnl.responses import Response
    from gspnl.responses.banks import FilterBank

    Planned: TypeAlias = Series | ChebyshevFilter | DirectedFilter


@styled
def responses(
    response: Response | Sequence[Response],
    *,
    series: Planned | Sequence[Planned] = (),
    spec: Spectrum | PartialSpectrum | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw responses g(λ), and Chebyshev series over their intervals.

    Parameters
    ----------
    response : callable, or sequence of them
        g(λ).
    series : Series, ChebyshevFilter or DirectedFilter, or sequence of them
        Drawn dashed; the modes that a filter treats exactly are drawn as dots.
    spec : Spectrum or PartialSpectrum, optional
        Its eigenvalues are drawn as ticks below the curves.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import gspnl
    >>> g = gspnl.responses.heat(5.0)
    >>> ax = gspnl.plotting.responses(g, series=[gspnl.chebyshev.fit(g, order=k) for k in (1, 3)])
    >>> [line.get_label() for line in ax.lines]
    ['heat(t=5.0)', 'Chebyshev, order 1', 'Chebyshev, order 3']
    """
    ax = curve_axes(ax)
    exact = list(response) if isinstance(response, Sequence) else [response]
    approximate = list(series) if isinstance(series, Sequence) else [series]
    polynomials = [item if isinstance(item, Series) else item.series for item in approximate]
    lam = np.linspace(0, _end(spec, [p.interval[1] for p in polynomials]), 1001)
    for g, colour in zip(exact, ["black", *COLOURS] * len(exact), strict=False):
        values = np.broadcast_to(np.asarray(g(lam)), lam.shape)
        ax.plot(lam, values, color=colour, linewidth=1.8, label=repr(g))
    for polynomial, colour in zip(polynomials, COLOURS * len(polynomials), strict=False):
        inside = np.linspace(polynomial.interval[0], polynomial.interval[1], 501)
        ax.plot(inside, polynomial(inside), "--", color=colour, linewidth=1.4,
                label=f"Chebyshev, order {polynomial.order}")  # fmt: skip
    deflated = [item.deflated for item in approximate if not isinstance(item, Series)]
    dots = np.unique(np.concatenate(deflated)) if deflated else np.zeros(0)
    if dots.size and len(exact) == 1:
        ax.plot(dots, np.asarray(exact[0](dots)), "o", color="black", markersize=5,
                label="filtered exactly", clip_on=False)  # fmt: skip
    return _finished(ax, spec, float(lam[-1]))


@styled
def filter_bank(
    bank: FilterBank, *, spec: Spectrum | PartialSpectrum | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the filters of a bank, and, dashed, the sum of their squares.

    The extremes of that sum are the frame bounds.

    Parameters
    ----------
    bank : FilterBank
    spec : Spectrum or PartialSpectrum, optional
        Its eigenvalues are drawn as ticks below the curves.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import gspnl
    >>> ax = gspnl.plotting.filter_bank(gspnl.banks.meyer(3))
    >>> [line.get_label() for line in ax.lines]
    ['filter 0', 'filter 1', 'filter 2', 'sum of squares']
    """
    ax = curve_axes(ax)
    lam = np.linspace(0, _end(spec, []), 1001)
    values = bank(lam)
    for f, curve in enumerate(values):
        ax.plot(lam, curve, color=COLOURS[f % len(COLOURS)], linewidth=1.8, label=f"filter {f}")
    ax.plot(lam, (values**2).sum(axis=0), "--", color="black", label="sum of squares")
    return _finished(ax, spec, float(lam[-1]))


def _end(spec: Spectrum | PartialSpectrum | None, ends: Sequence[float]) -> float:
    """The largest λ to draw: 2, or beyond it those of a spectrum or of the intervals of series."""
    largest = 0.0 if spec is None else float(constant(spec.eigenvalues).max())
    return max([2.0, largest, *ends])


def _finished(ax: Axes, spec: Spectrum | PartialSpectrum | None, end: float) -> Axes:
    """Label the axes, and draw the eigenvalues of a graph as ticks below the curves."""
    if spec is not None:
        ax.plot(constant(spec.eigenvalues), np.full(len(spec.eigenvalues), 0.02), "|", color=GREY,
                markersize=9, transform=ax.get_xaxis_transform(), label="eigenvalues of the graph",
                clip_on=False)  # fmt: skip
    ax.set_xlabel("eigenvalue λ")
    ax.set_ylabel("response g(λ)")
    if spec is not None:
        end = max(1.02, 1.02 * float(constant(spec.eigenvalues).max()))
    ax.set_xlim(0, end)
    ax.legend(frameon=False)
    return ax
