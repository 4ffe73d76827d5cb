"""A table as one figure: its text, and a dot plot of the differences with their intervals."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from gspnl.errors import MissingExtraError
from gspnl.train.tables.rows import Line, Table
from gspnl.train.tables.texts import MISSING, accuracy, change, interval, reported, seeds, so_far

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, FAINT = "#0072B2", "#D55E00", "#666666", "#dddddd"
ROW, HEAD, FOOT, WIDTH = 0.27, 1.15, 0.75, 11.0  # inches
PLACES = ((0.0, "condition"), (0.16, "block"), (0.33, "top-1 %"), (0.6, "difference"),
          (0.79, "95 % interval"))  # fmt: skip


def draw(table: Table) -> Figure:
    """Draw a table.

    Parameters
    ----------
    table : Table

    Returns
    -------
    matplotlib.figure.Figure
        On the left the rows as text; on the right a dot for the mean of the paired differences to
        the backbone, a bar for its 95 % interval, and a small mark for every seed. Intervals
        without 0 are orange.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "figures of tables need matplotlib, which is not installed: pip install 'gspnl[train]'"
        ) from error
    count = len(table.lines)
    foot = FOOT + 0.2 * len(table.answers)
    height = HEAD + ROW * count + foot
    figure = Figure(figsize=(WIDTH, height))
    bottom, tall = foot / height, ROW * count / height
    words = figure.add_axes((0.02, bottom, 0.58, tall))
    dots = figure.add_axes((0.62, bottom, 0.36, tall))
    for ax in (words, dots):
        ax.set_ylim(count - 0.5, -0.5)
    _write(table, words)
    _plot(table.lines, dots)
    figure.text(0.02, 1 - 0.24 / height, table.grid.title, fontsize=12, weight="bold", va="center")
    about = textwrap.wrap(f"{so_far(table)} {table.grid.setting}.", 170)
    figure.text(
        0.02, 1 - 0.4 / height, "\n".join(about), fontsize=8.5, color=GREY, va="top",
        linespacing=1.3,
    )  # fmt: skip
    notes = []
    for text, points, here, own, ends, _, of in reported(table):
        said = f"The paper: {text}." if points == MISSING else f"The paper: {text}: {points}."
        ours = f"  Here: {here} {own}{_known(ends)} ({of} seeds)"
        notes.append(said if own == MISSING else said + ours)
    figure.text(
        0.02, (foot - 0.55) / height, "\n".join(notes), fontsize=8.5, color=GREY, va="top",
        linespacing=1.3,
    )  # fmt: skip
    return figure


def _write(table: Table, ax: Axes) -> None:
    ax.set_xlim(0, 1)
    ax.set_axis_off()
    grouped = any(line.row.group for line in table.lines)
    places = PLACES if grouped else ((0.0, ""), (0.0, "block"), *PLACES[2:])
    for x, heading in places:
        if heading:
            ax.text(x, -0.75, heading, fontsize=9, color=GREY, va="bottom")
    before = None
    for i, line in enumerate(table.lines):
        group = line.row.group
        if group != before and i:
            ax.axhline(i - 0.5, color=FAINT, linewidth=0.8)
        shown = accuracy(line)
        if line.accuracies and len(line.accuracies) < len(line.seeds):
            shown += f"  ({seeds(line).split(',')[0]})"
        over = change(line)
        if line.differences and len(line.differences) < len(line.accuracies):
            over += f"  ({len(line.differences)} of {len(line.seeds)})"
        texts = (group if group != before else "", line.row.label, shown, over, interval(line))
        colour = "black" if line.accuracies else GREY
        for (x, _), text in zip(places, texts, strict=True):
            ax.text(x, i, text, fontsize=9, va="center", color=colour)
        before = group


def _plot(lines: tuple[Line, ...], ax: Axes) -> None:
    ax.axvline(0, color=GREY, linewidth=1)
    groups = [line.row.group for line in lines]
    for i, line in enumerate(lines):
        if i and groups[i] != groups[i - 1]:
            ax.axhline(i - 0.5, color=FAINT, linewidth=0.8)
        found = line.difference
        if found is None:
            continue
        colour = ORANGE if found.reading in ("above", "below") else BLUE
        if found.low is not None and found.high is not None:
            ax.plot((found.low, found.high), (i, i), color=colour, linewidth=1.6)
        ax.plot(found.pairs, [i] * len(found.pairs), "|", color=colour, markersize=8, alpha=0.8)
        ax.plot(found.mean, i, "o", color=colour, markersize=5.5)
    ax.set_yticks([])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.grid(True, axis="x", color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8.5)
    ax.set_xlabel("points over the backbone, 95 % interval; | a seed", fontsize=9)
    ends = ax.get_xlim()
    ax.set_xlim(min(ends[0], -0.5), max(ends[1], 0.5))


def _known(ends: str) -> str:
    return "" if ends == MISSING else f" {ends}"
