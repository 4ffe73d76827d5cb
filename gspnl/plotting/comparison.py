"""Compare exact and Chebyshev filters, order by order, and draw the comparison."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl._base.array import Array
from gspnl._base.effort import Progress, Work, takes_progress
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.plotting._axes import BLUE, ORANGE, curve_axes
from gspnl.plotting._style import styled
from gspnl.responses import Response

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Comparison:
    """Errors and times of Chebyshev filters against the exact filter, one entry for each order.

    Attributes
    ----------
    orders : array of int of shape (m,)
    errors : array of shape (m,)
        Measured ‖T⁻¹(exact − Chebyshev)‖ / ‖T⁻¹ Z‖ (Frobenius); for random_walk the norm is
        D-weighted.
    bounds : array of shape (m,)
        Certificates, rounding included; inf where there is none.
    seconds : array of shape (m,)
        Wall time of each Chebyshev filter, without the Lanczos run for the band.
    exact_seconds : float
        Wall time of the exact filter.
    """

    orders: np.ndarray
    errors: np.ndarray
    bounds: np.ndarray
    seconds: np.ndarray
    exact_seconds: float
    response: Any

    def __str__(self) -> str:
        lines = [f"{'order':>5}  {'error':>9}  {'bound':>9}  {'seconds':>9}"]
        for row in zip(self.orders, self.errors, self.bounds, self.seconds, strict=True):
            lines.append("{:5d}  {:9.2e}  {:9.2e}  {:9.4f}".format(*row))
        lines.append(f"exact                          {self.exact_seconds:9.4f}")
        return "\n".join(lines)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw error and certificate against order; see :func:`gspnl.plotting.comparison`."""
        return comparison(self, ax=ax)


@takes_progress
def compare(
    graph: FeatureGraph,
    Z: Array,
    response: Response | Array,
    orders: Iterable[int] = range(1, 31),
    progress: Progress = None,
    **options: Any,
) -> Comparison:
    r"""Compare the exact filter with Chebyshev filters of several orders.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, not a batch.
    Z : array of shape (N, c)
    response : callable or array
        g(λ), or ω on the spectrum.
    orders : iterable of int
    progress : bool or callable, optional
        See :func:`gspnl.progress`.
    **options
        ``method``, ``deflate``, ``interval`` of :meth:`FeatureGraph.filter`.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((500, 4))
    >>> graph = gspnl.feature_graph(X)
    >>> table = gspnl.compare(graph, X, gspnl.responses.heat(2.0), orders=[1, 4, 8])
    >>> bool((table.errors <= table.bounds).all())
    True
    """
    orders = list(orders) if isinstance(orders, Iterable) else []
    if not orders:
        raise InputError("orders is empty or no sequence; pass for example range(1, 31)")
    with Work("the comparison", total=len(orders) + 1) as shown:
        return _compare(graph, Z, response, orders, options, shown)


def _compare(
    graph: FeatureGraph,
    Z: Array,
    response: Response | Array,
    orders: list[int],
    options: dict[str, Any],
    shown: Work,
) -> Comparison:
    start = time.perf_counter()
    truth = graph.filter(Z, response)
    exact_seconds = time.perf_counter() - start
    graph.chebyshev(response, order=orders[0], **options)  # caches the band, which is not timed
    size = graph.norm(Z)
    errors, bounds, seconds = [], [], []
    for order in orders:
        shown.done += 1
        start = time.perf_counter()
        plan = graph.chebyshev(response, order=order, **options)
        approximate = plan(Z)
        seconds.append(time.perf_counter() - start)
        gap = graph.norm(truth - approximate)
        errors.append(gap / size if size else 0.0)
        bounds.append(plan.error_bound)
    return Comparison(
        np.array(orders),
        np.array(errors),
        np.array(bounds),
        np.array(seconds),
        exact_seconds,
        response,
    )


@styled
def comparison(table: Comparison, *, ax: Axes | None = None) -> Axes:
    """Draw the measured error of Chebyshev filters, and their certificates, against order.

    Parameters
    ----------
    table : Comparison
        Result of :func:`gspnl.compare`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With a logarithmic error axis, without errors of exactly 0 and infinite certificates.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((300, 4))
    >>> table = gspnl.compare(gspnl.feature_graph(X), X, gspnl.responses.heat(3.0), range(1, 12))
    >>> ax = table.plot()
    >>> ax.get_yscale(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('log', ['certified bound', 'measured error'])
    """
    from matplotlib.ticker import MaxNLocator

    ax = curve_axes(ax)
    bounded = np.isfinite(table.bounds) & (table.bounds > 0)
    label = "certified bound" if bounded.any() else "certified bound: none"
    ax.plot(table.orders[bounded], table.bounds[bounded], "--s", color=ORANGE, markersize=3.5,
            linewidth=1.2, label=label)  # fmt: skip
    shown = table.errors > 0
    ax.plot(table.orders[shown], table.errors[shown], "-o", color=BLUE, markersize=4,
            linewidth=1.2, label="measured error")  # fmt: skip
    ax.set_yscale("log")
    ax.set_xlabel("Chebyshev order K")
    ax.set_ylabel("relative error of the filtered signal")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax
