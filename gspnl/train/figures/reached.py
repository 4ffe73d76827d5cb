"""Figure 1, drawn: what positions gather, one network under the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gspnl.errors import InputError
from gspnl.train.figures.pictures import bar, frame, lay, mark, paper
from gspnl.train.figures.ranges import AttentionRange

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_attention_ranges(
    found: Mapping[str, Sequence[AttentionRange]], *, ax: Axes | None = None
) -> Axes:
    """Draw the attention ranges of several networks one under the other.

    Parameters
    ----------
    found : mapping from name to sequence of AttentionRange
        As :func:`attention_ranges` returns them.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A line for each unit: the image with the reference, row i of A by magnitude, and the
        weights. In multiples of their mean, so 1 is what every position has where all weigh
        alike; on one scale, which ends at the largest value off the reference.

    Raises
    ------
    InputError
        Where there is nothing to draw, or images have other than 2 or 3 spatial dimensions.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> images, found = torch.randn(1, 4, 6, 6), {}
    >>> for name in ("nl", "snl"):
    ...     block = gnn.create(name, 4, zero_init=False)
    ...     found[name] = figures.attention_ranges(block, images)
    >>> len(figures.draw_attention_ranges(found).images)
    6
    """
    lines = [(name, each) for name, parts in found.items() for each in parts]
    if not lines:
        raise InputError("there is nothing to draw; pass what attention_ranges returns")
    rows = [(each, [_shares(each.affinity), _shares(each.weights)]) for _, each in lines]
    off = [
        np.delete(values.reshape(-1), np.ravel_multi_index(each.cell, each.grid))
        for each, pair in rows
        for values in pair
        if values is not None
    ]
    top = max((float(values.max(initial=0.0)) for values in off), default=0.0) or 1.0
    pictures: list[list[np.ndarray | None]] = []
    titles, names = [], []
    for (run, each), (_, pair) in zip(lines, rows, strict=True):
        drawn: list[np.ndarray | None] = [paper(frame(each.photo, each.cell, each.grid))]
        drawn += [
            None if values is None
            else paper(frame(each.photo, each.cell, each.grid),
                       frame(values, each.cell, each.grid), top)
            for values in pair
        ]  # fmt: skip
        pictures.append(drawn)
        reach, n = each.affinity_reach, each.weights.size
        titles.append(
            [
                "image",
                "A: not of positions" if reach is None else f"A: 90 % in {reach:,} of {n:,}",
                f"K: 90 % in {each.reach:,}, itself {100 * each.itself:.0f} %",
            ]
        )
        several = sum(other.name == each.name for _, other in lines) > 1 and each.unit
        names.append(
            "\n".join(filter(None, [run, each.name, f"unit {each.unit}" if several else ""]))
        )
    ax = lay(pictures, titles, names, ax)
    for place, (_, each) in enumerate(lines):
        for column in range(3):
            mark(ax, place * 3 + column, each.cell, each.grid)
    bar(ax, top, "|Aᵢⱼ| and ‖Kᵢⱼ‖ of the ringed i, in multiples of their mean over j", extend="max")
    return ax


def _shares(values: np.ndarray | None) -> np.ndarray | None:
    """Magnitudes in multiples of their mean."""
    if values is None:
        return None
    size = np.abs(values)
    mean = float(size.mean())
    return np.asarray(size / mean if mean else size)
