"""One figure of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gspnl.nn.auditing.report import BlockAudit
from gspnl.nn.auditing.units import Unit
from gspnl.plotting import top_eigenvalues
from gspnl.plotting._axes import COLOURS, curve_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 1e-12  # of the largest eigenvalue


def draw(blocks: Sequence[BlockAudit]) -> Figure:
    """Spectra, responses and channel weights side by side."""
    named = _named(blocks)
    figure = new_figure(16.0, 4.5 + 0.25 * len(named))
    spectra, responses, weights = figure.subplots(1, 3)
    _spectra(blocks, spectra)
    _responses(blocks, responses)
    top_eigenvalues({name: unit.damping for name, unit in named}, ax=weights)
    for ax in (spectra, responses, weights):  # below: there may be many
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    return figure


def _named(blocks: Sequence[BlockAudit]) -> list[tuple[str, Unit]]:
    return [
        (_name(b) + (f", unit {i}" if len(b.units) > 1 else ""), unit)
        for b in blocks
        for i, unit in enumerate(b.units, 1)
    ]


def _name(block: BlockAudit) -> str:
    return f"{block.module} ({block.block})" if block.module else block.block


def _spectra(blocks: Sequence[BlockAudit], ax: Axes) -> None:
    curve_axes(ax)
    for block, colour in zip(blocks, COLOURS * len(blocks), strict=False):
        label: str | None = _name(block)
        known = [item.eigenvalues for item in block.items if item.eigenvalues is not None]
        for lam in known:
            size = np.sort(np.abs(1 - lam))[::-1]
            size = size[size > LEAST * size[0]]  # below, rounding
            place = np.arange(1, len(size) + 1)
            ax.plot(place, size, ".-", color=colour, label=label, markersize=4, linewidth=0.8)
            label = None  # once for all items
        if not known:
            ax.plot([], [], color=colour, label=f"{label}: none")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("number of the mode, without those of μ = 0")
    ax.set_ylabel("|μ| = |1 − λ|")


def _responses(blocks: Sequence[BlockAudit], ax: Axes) -> None:
    curve_axes(ax)
    named = _named(blocks)
    for (name, unit), colour in zip(named, COLOURS * len(named), strict=False):
        ax.plot(unit.lam, unit.norm, color=colour, label=name, linewidth=1.8)
    ax.set_xlabel("eigenvalue λ")
    ax.set_ylabel("largest gain ‖W(λ)‖")
