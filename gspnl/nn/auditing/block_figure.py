"""Draw the blocks of an audit: spectra, responses and channel weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl.nn.auditing.block_report import BlockAudit
from gspnl.plotting import top_eigenvalues
from gspnl.plotting._axes import COLOURS, curve_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 1e-12  # of the largest eigenvalue; smaller ones are rounding, and not drawn
WIDTH = 16.0  # inches


def blocks_height(blocks: Sequence[BlockAudit]) -> float:
    """Return the inches that the figure of blocks is high: their legends are below."""
    return 4.5 + 0.25 * sum(len(block.units) for block in blocks)


def draw_blocks(blocks: Sequence[BlockAudit], figure: Any) -> None:
    """Draw spectra, responses and channel weights of all units on a figure or subfigure."""
    units = {
        b.title + (f", unit {i}" if len(b.units) > 1 else ""): unit
        for b in blocks
        for i, unit in enumerate(b.units, 1)
    }
    spectra, responses, weights = figure.subplots(1, 3)
    _draw_spectra(blocks, spectra)
    curve_axes(responses)
    for (name, unit), colour in zip(units.items(), COLOURS * len(units), strict=False):
        responses.plot(unit.lam, unit.norm, color=colour, label=name, linewidth=1.8)
    responses.set_xlabel("eigenvalue λ")
    responses.set_ylabel("largest gain ‖W(λ)‖")
    top_eigenvalues({name: unit.damping for name, unit in units.items()}, ax=weights)
    for ax in (spectra, responses, weights):  # below: there may be many
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13))


def _draw_spectra(blocks: Sequence[BlockAudit], ax: Axes) -> None:
    curve_axes(ax)
    for block, colour in zip(blocks, COLOURS * len(blocks), strict=False):
        label: str | None = block.title
        spectra = [item.eigenvalues for item in block.items if item.eigenvalues is not None]
        for lam in spectra:
            size = np.sort(np.abs(1 - lam))[::-1]
            size = size[size > LEAST * size[0]]
            index = np.arange(1, len(size) + 1)
            ax.plot(index, size, ".-", color=colour, label=label, markersize=4, linewidth=0.8)
            label = None  # once for all items
        if not spectra:
            ax.plot([], [], color=colour, label=f"{label}: none")
    if any(np.size(line.get_xdata()) for line in ax.lines):  # a logarithmic scale needs values
        ax.set_xscale("log")
        ax.set_yscale("log")
    ax.set_xlabel("number of the mode, without those of μ = 0")
    ax.set_ylabel("|μ| = |1 − λ|")
