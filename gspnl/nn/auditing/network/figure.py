"""Draw the attention of an audit: maps of heads, eigenvalues, and smoothing by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gspnl.nn.auditing.heads import HeadRecord
from gspnl.nn.auditing.network.depth import LayerDepth
from gspnl.plotting import head_eigenvalues, head_map, smoothing_by_depth

# Drawn in this order, where at least one head has the number.
MAPS = ("gap", "entropy", "sink_mass", "low_frequency_share", "reversible", "distance")
DRAWN = 4


def attention_height(records: Sequence[HeadRecord]) -> float:
    """Return the inches that the figure of attention is high."""
    return 2 * _row(records)


def draw_attention(
    records: Sequence[HeadRecord], layers: Sequence[LayerDepth], figure: Any
) -> None:
    """Draw six axes on a figure or subfigure: four maps, eigenvalues, depth."""
    axes = figure.subplots(2, 3).ravel()
    known = [name for name in MAPS if any(getattr(each, name) is not None for each in records)]
    names = (*known, *(name for name in MAPS if name not in known))[:DRAWN]
    for name, ax in zip(names, (axes[0], axes[1], axes[3], axes[4]), strict=True):
        head_map(records, name, ax=ax)
    head_eigenvalues(records, ax=axes[2])
    smoothing_by_depth(layers, ax=axes[5])


def _row(records: Sequence[HeadRecord]) -> float:
    rows = len({record.layer for record in records})
    return min(12.0, max(4.2, 1.4 + 0.26 * rows))
