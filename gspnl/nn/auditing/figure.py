"""One figure of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from gspnl.nn.auditing.report import BlockAudit
from gspnl.nn.auditing.units import Unit
from gspnl.plotting import top_eigenvalues
from gspnl.plotting._axes import COLOURS, curve_axes, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(blocks: Sequence[BlockAudit]) -> Figure:
    """Spectra, responses and channel weights side by side."""
    first = new_axes(16.0, 4.5)
    figure = cast("Figure", first.figure)
    first.remove()
    spectra, responses, weights = figure.subplots(1, 3)
    _spectra(blocks, spectra)
    _responses(blocks, responses)
    top_eigenvalues({name: unit.damping for name, unit in _named(blocks)}, ax=weights)
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
            place = np.linspace(0, 1, len(lam))
            ax.plot(place, lam.real, ".-", color=colour, label=label, markersize=3, linewidth=0.8)
            label = None  # once for all items
        if not known:
            ax.plot([], [], color=colour, label=f"{label}: none")
    ax.set_xlabel("share of the modes")
    ax.set_ylabel("eigenvalue λ, or its real part")
    ax.legend(frameon=False)


def _responses(blocks: Sequence[BlockAudit], ax: Axes) -> None:
    curve_axes(ax)
    named = _named(blocks)
    for (name, unit), colour in zip(named, COLOURS * len(named), strict=False):
        ax.plot(unit.lam, unit.norm, color=colour, label=name, linewidth=1.8)
    ax.set_xlabel("eigenvalue λ")
    ax.set_ylabel("largest gain ‖W(λ)‖")
    ax.legend(frameon=False)
