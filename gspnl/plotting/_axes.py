"""Figures, axes, colours and tiled pictures for all plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl.plotting._style import fixed_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct for colour-blind readers too.
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER)
GREY = "#666666"
LEAST_COUNT = 0.6  # lower end of a logarithmic axis of counts: shows 1, hides 0
WIDTH = 10.0  # inches, of a figure as wide as the page
TITLE, GAP, TALLEST = 0.27, 0.08, 5.5  # inches above a picture, beside one, and of its height


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure of this size in inches; needs no display."""
    with fixed_style():
        from gspnl.plotting._figure import FixedFigure

        return FixedFigure(figsize=(width, height), layout="constrained")


def new_axes(width: float, height: float) -> Axes:
    """Create a figure of this size in inches with one axes."""
    return new_figure(width, height).add_subplot()


def curve_axes(ax: Axes | None) -> Axes:
    """Style axes for a curve (light grid, no box); creates them for None."""
    ax = new_axes(7.0, 4.0) if ax is None else ax
    ax.grid(True, color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def width_of(ax: Axes | None) -> float:
    """The inches across that pictures on these axes have."""
    if ax is None:
        return WIDTH
    return float(ax.get_position().width * ax.figure.get_figwidth())  # type: ignore[union-attr]


def ring(
    ax: Axes,
    image: int,
    cell: Sequence[int],
    grid: Sequence[int],
    size: float = 11.0,
    edges: Sequence[tuple[str, float]] = (("white", 3.2), ("black", 1.4)),
) -> None:
    """Mark the cell (..., y, x) of a grid that ``ax.images[image]`` shows, by a ring."""
    x0, x1, y1, y0 = ax.images[image].get_extent()
    x = x0 + (cell[-1] + 0.5) / grid[-1] * (x1 - x0)
    y = y0 + (cell[-2] + 0.5) / grid[-2] * (y1 - y0)
    for colour, width in edges:
        ax.plot(x, y, "o", markersize=size, markerfacecolor="none", markeredgecolor=colour,
                markeredgewidth=width)  # fmt: skip


def columns_for(shape: tuple[int, ...], count: int, across: int) -> int:
    """Return the number of pictures in a row, of ``count``; ``across`` square ones fill a row."""
    return min(count, max(1, round(across * math.pow(shape[0] / shape[1], 0.35))))


def tiles(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str],
    ax: Axes | None,
    *,
    across: int,
    room: float,
    extra: float = 0.0,
    **options: Any,
) -> tuple[Axes, Any]:
    """Draw pictures of one shape (H, W) or (H, W, 3) side by side on one axes, with titles.

    ``across`` square photos fill a row, or fewer wide ones. A column is at least ``room`` inches
    wide, for its title; ``extra`` inches below the pictures are for a colour bar. Data units of the
    axes are inches. Returns the axes and the last image.
    """
    whole = width_of(ax)
    height, width = pictures[0].shape[:2]
    columns = columns_for((height, width), len(pictures), across)
    columns = min(columns, max(1, int(whole / room)))
    slot = whole / columns
    across_in = min(slot - GAP, TALLEST * width / height)
    down_in = across_in * height / width
    rows = -(-len(pictures) // columns)
    step = down_in + TITLE
    ax = new_axes(whole, rows * step + extra + 0.05) if ax is None else ax
    image = None
    for i, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left, top = (i % columns) * slot, (i // columns) * step + TITLE
        extent = (left, left + across_in, top + down_in, top)
        image = ax.imshow(picture, extent=extent, **options)
        ax.text(left, top - 0.05, title, fontsize=10, va="bottom", ha="left")
    ax.set_xlim(0, whole - GAP)
    ax.set_ylim(rows * step, 0)
    ax.set_axis_off()
    return ax, image
