"""Plot the eigenvalues of a graph: one by one, and as a histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gspnl._base.array import constant, constant64
from gspnl._base.validate import whole_number
from gspnl.plotting._axes import BLUE, LEAST_COUNT, ORANGE, curve_axes
from gspnl.plotting._style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gspnl.filters.partial_spectrum import PartialSpectrum
    from gspnl.filters.spectrum import Spectrum


@styled
def spectrum(spec: Spectrum | PartialSpectrum, *, ax: Axes | None = None) -> Axes:
    """Draw the eigenvalues λ of a graph in ascending order, with multiplicities above 1 as labels.

    Parameters
    ----------
    spec : Spectrum or PartialSpectrum
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((500, 4))
    >>> ax = gspnl.plotting.spectrum(gspnl.feature_graph(X).spectrum())
    >>> ax.get_ylabel()
    'eigenvalue λ'
    """
    ax = curve_axes(ax)
    lam = constant(spec.eigenvalues)
    entries = np.arange(1, len(lam) + 1)
    counts = multiplicities(spec)
    many = counts > 1
    ax.plot(entries[~many], lam[~many], "o", color=BLUE, markersize=3.5, label="single")
    if many.any():
        ax.plot(entries[many], lam[many], "D", color=ORANGE, markersize=6, label="repeated")
    for entry, value, count in zip(entries[many], lam[many], counts[many], strict=True):
        # Labels point to the middle of the axes, so that they stay inside.
        right = entry > len(lam) / 2
        ax.annotate(
            f"λ = {value:.4g}, {count:,} times", (entry, value), color=ORANGE,
            xytext=(-8 if right else 8, 9), textcoords="offset points",
            ha="right" if right else "left", va="center",
        )  # fmt: skip
    ax.set_xlabel("number of the eigenvalue, repeated ones counted once")
    ax.set_ylabel("eigenvalue λ")
    ax.set_ylim(-0.04, max(1.0, float(lam.max())) * 1.1)
    ax.margins(x=0.02)
    return ax


def multiplicities(spec: Spectrum | PartialSpectrum) -> np.ndarray:
    """Return how often each eigenvalue counts: once in a partial spectrum."""
    found = getattr(spec, "multiplicities", None)
    return np.ones(len(spec.eigenvalues), int) if found is None else np.asarray(constant(found))


@styled
def spectral_density(spec: Spectrum, bins: int = 50, *, ax: Axes | None = None) -> Axes:
    """Draw the histogram of a graph's eigenvalues λ, with their multiplicities.

    Parameters
    ----------
    spec : Spectrum
    bins : int
        Number of bins ≥ 1, of equal width on [0, max(1, λmax)].
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With a logarithmic axis of counts, which sum to N.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((500, 4))
    >>> ax = gspnl.plotting.spectral_density(gspnl.feature_graph(X).spectrum())
    >>> float(ax.patches[0].get_data().values.sum())
    500.0
    """
    bins = whole_number("bins", bins, 1)
    ax = curve_axes(ax)
    lam = constant64(spec.eigenvalues)
    top = max(1.0, float(lam.max()))
    # Rounding may put λ just below 0, outside the bins.
    counts, edges = np.histogram(np.clip(lam, 0, top), bins, (0, top), weights=spec.multiplicities)
    ax.stairs(counts, edges, color=BLUE, fill=True)
    ax.set_yscale("log")
    ax.set_ylim(LEAST_COUNT, 2 * float(counts.max()))
    ax.set_xlabel("eigenvalue λ")
    ax.set_ylabel("modes in a bin")
    return ax
