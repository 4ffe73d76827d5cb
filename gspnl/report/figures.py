"""Draw the figures of a report as PNG files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from gspnl import plotting
from gspnl.plotting._axes import TALLEST, WIDTH, columns_for, new_figure
from gspnl.plotting._style import fixed_style
from gspnl.report.analysis import Analysis
from gspnl.report.segments import false_colour
from gspnl.signals import images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
PICTURES = (
    "segments.png", "spectrum.png", "modes.png", "attention.png", "filtered.png", "responses.png",
    "comparison.png",
)  # fmt: skip


def draw(analysis: Analysis) -> dict[str, bytes]:
    """Draw all figures: file name → PNG."""
    with fixed_style():
        return {
            name: _png(figure(analysis))
            for name, figure in zip(
                PICTURES,
                (_segments, _spectrum, _modes, _attention, _filtered, _responses, _comparison),
                strict=True,
            )
        }


def shown_orders(analysis: Analysis) -> list[int]:
    """At most three orders, among the low ones, whose polynomials are drawn."""
    orders = analysis.settings.order_list
    picks = {min(len(orders) - 1, round(len(orders) * f)) for f in (0.03, 0.13, 0.3)}
    return [orders[i] for i in sorted(picks)]


def _spectrum(analysis: Analysis) -> Figure:
    return _of(plotting.spectrum(analysis.spectrum))


def _modes(analysis: Analysis) -> Figure:
    return _of(plotting.modes(analysis.spectrum, analysis.shape))


def _segments(analysis: Analysis) -> Figure:
    shape, found = analysis.shape, analysis.segments
    leading = analysis.leading[:, :3]
    names = ("2 (blue)", "3 (amber)", "4 (pink)")[: leading.shape[1]]
    return _of(
        plotting.filtered(
            {
                "photo": analysis.photo,
                "modes " + ", ".join(names): images.to_photo(false_colour(leading), shape),
                f"{len(found.shares)} segments": images.to_photo(
                    found.colours[found.labels], shape
                ),
            }
        )
    )  # fmt: skip


def _attention(analysis: Analysis) -> Figure:
    height, width = analysis.shape
    columns = columns_for(analysis.shape, len(analysis.nodes), 4)
    rows = -(-len(analysis.nodes) // columns)
    each = WIDTH / max(columns, 2)
    figure = new_figure(each * columns, rows * (min(each * height / width, TALLEST) + 0.95))
    for i, node in enumerate(analysis.nodes):
        ax = figure.add_subplot(rows, columns, i + 1)
        plotting.attention(analysis.graph, node, analysis.photo, ax=ax)
        ax.set_title("attention of pixel ({}, {})".format(*analysis.pixels[i]), fontsize=10)
    return figure


def _filtered(analysis: Analysis) -> Figure:
    shape = analysis.shape
    words = ("smoothed, ", "detail doubled, ") if analysis.smoothing else ("", "")
    return _of(
        plotting.filtered(
            {
                "photo Z": analysis.photo,
                words[0] + "g(L) Z": images.to_photo(analysis.smooth, shape),
                words[1] + "Z + (Z − g(L) Z)": images.to_photo(analysis.enhanced, shape),
            }
        )
    )


def _responses(analysis: Analysis) -> Figure:
    response = analysis.settings.response_function
    plans = [analysis.graph.chebyshev(response, order=k) for k in shown_orders(analysis)]
    return _of(plotting.responses(response, series=plans, spec=analysis.spectrum))


def _comparison(analysis: Analysis) -> Figure:
    return _of(plotting.comparison(analysis.table))


def _of(ax: object) -> Figure:
    """The figure that holds the axes of a plot."""
    figure: Figure = ax.figure  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    # Without the Software entry the bytes depend on the numbers alone.
    figure.savefig(file, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return file.getvalue()
