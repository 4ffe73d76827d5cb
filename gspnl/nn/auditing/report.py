"""Records of an audit, printed as a table and drawn as a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl.errors import InputError
from gspnl.nn.auditing.measures import AffinityAudit
from gspnl.nn.auditing.units import UnitAudit
from gspnl.nn.surgery.describe import aligned
from gspnl.nn.surgery.targets import title
from gspnl.plotting import top_eigenvalues
from gspnl.plotting._axes import COLOURS, curve_axes, new_figure
from gspnl.plotting._style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = (
    "module", "block", "unit", "items", "N", "gap", "defect", "max ‖W(λ)‖", "CFL radius",
    "CFL limit", "negative",
)  # fmt: skip
NONE = "–"
LEAST = 1e-12  # of the largest eigenvalue; smaller ones are rounding, and not drawn


@dataclass(frozen=True, eq=False)
class BlockAudit:
    """One block of a network.

    Attributes
    ----------
    module : str
        The module that it follows, or its own name where it was not inserted.
    block : str
        Its registered name.
    items : tuple of AffinityAudit
        Its affinity, which all its units share, on each item of the batch.
    units : tuple of UnitAudit
    """

    module: str
    block: str
    items: tuple[AffinityAudit, ...]
    units: tuple[UnitAudit, ...]

    @property
    def reasons(self) -> list[str]:
        """Reasons for missing values, and remarks; each once."""
        if not self.items:
            return ["no item of the batch reaches it"]
        parts = [each.reasons for each in self.items] + [each.reasons for each in self.units]
        return list(dict.fromkeys(f"{key}: {why}" for each in parts for key, why in each.items()))

    @property
    def title(self) -> str:
        """Module and registered name, for a legend."""
        return title(self.module, self.block)


@dataclass(frozen=True, eq=False)
class Audit:
    """The blocks of a network on one batch; prints as a table."""

    blocks: tuple[BlockAudit, ...]

    def __iter__(self) -> Iterator[BlockAudit]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, module: str | int) -> BlockAudit:
        if isinstance(module, int):
            return self.blocks[module]
        found = {block.module: block for block in self.blocks}
        if module not in found:
            raise InputError(f"no block at {module!r}; there are {', '.join(map(repr, found))}")
        return found[module]

    def __str__(self) -> str:
        cells = [_cells(b, i) for b in self.blocks for i in range(len(b.units))]
        notes = [f"{b.module or b.block}: {why}" for b in self.blocks for why in b.reasons]
        return "\n".join([aligned([TITLES, *cells]), *notes])

    def numbers(self) -> dict[str, Any]:
        """Convert to types that JSON has; missing and infinite numbers are None.

        Returns
        -------
        dict
            ``{"blocks": [{"module", "block", "items": [{"nodes", "gap", "defect", "eigenvalues",
            "reasons"}], "units": [{"gain", "cfl": [{"radius", "limit"}], "channels", "rank",
            "negative", "top", "reasons"}], "reasons"}]}``. "eigenvalues" are the two ends of the
            real parts of λ, "gain" is the largest ‖W(λ)‖, "negative" a count, "top" the 32 largest
            eigenvalues of the channel weights.

        Examples
        --------
        >>> import torch
        >>> from gspnl import nn as gnn
        >>> audit = gnn.audit(gnn.create("snl", 8), torch.randn(2, 8, 5, 5))
        >>> block = audit.numbers()["blocks"][0]
        >>> block["block"], [item["nodes"] for item in block["items"]]
        ('snl', [25, 25])
        """
        return {
            "blocks": [
                {
                    "module": block.module,
                    "block": block.block,
                    "items": [_item_numbers(item) for item in block.items],
                    "units": [_unit_numbers(unit) for unit in block.units],
                    "reasons": block.reasons,
                }
                for block in self.blocks
            ]
        }

    @styled
    def plot(self) -> Figure:
        r"""Draw spectra, responses and channel weights of all units.

        Returns
        -------
        matplotlib.figure.Figure
            Three axes: \|μ\| of every item, in descending order; ‖W(λ)‖; and the 32 largest
            eigenvalues of the channel weights, figure 5 of the paper.

        Raises
        ------
        MissingExtraError
            Without matplotlib.
        """
        units = {
            b.title + (f", unit {i}" if len(b.units) > 1 else ""): unit
            for b in self.blocks
            for i, unit in enumerate(b.units, 1)
        }
        figure = new_figure(16.0, 4.5 + 0.25 * len(units))
        spectra, responses, weights = figure.subplots(1, 3)
        _draw_spectra(self.blocks, spectra)
        curve_axes(responses)
        for (name, unit), colour in zip(units.items(), COLOURS * len(units), strict=False):
            responses.plot(unit.lam, unit.norm, color=colour, label=name, linewidth=1.8)
        responses.set_xlabel("eigenvalue λ")
        responses.set_ylabel("largest gain ‖W(λ)‖")
        top_eigenvalues({name: unit.damping for name, unit in units.items()}, ax=weights)
        for ax in (spectra, responses, weights):  # below: there may be many
            ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13))
        return figure


def _item_numbers(item: AffinityAudit) -> dict[str, Any]:
    lam = item.eigenvalues
    return {
        "nodes": item.nodes,
        "gap": _finite(item.gap),
        "defect": _finite(item.defect),
        "eigenvalues": None if lam is None else [_finite(lam[k].real) for k in (0, -1)],
        "reasons": dict(item.reasons),
    }


def _unit_numbers(unit: UnitAudit) -> dict[str, Any]:
    return {
        "gain": _finite(unit.norm.max()),
        "cfl": [
            None if v is None else {"radius": _finite(v.radius), "limit": _finite(v.limit)}
            for v in unit.cfl
        ],
        "channels": len(unit.damping.eigenvalues),
        "rank": unit.damping.rank,
        "negative": unit.damping.n_negative,
        "top": unit.damping.top(32).tolist(),
        "reasons": dict(unit.reasons),
    }


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _cells(block: BlockAudit, index: int) -> tuple[str, ...]:
    """Format the table row of one unit, with the range over all items."""
    unit, items = block.units[index], block.items
    verdicts = [v for v in unit.cfl if v is not None]
    return (
        block.module or NONE,
        block.block,
        str(index + 1),
        str(len(items)),
        _range([item.nodes for item in items]),
        _range([item.gap for item in items]),
        _range([item.defect for item in items]),
        _range([float(unit.norm.max())]),
        _range([v.radius for v in verdicts]),
        _range([v.limit for v in verdicts]),
        f"{100 * unit.damping.negative:.0f} %",
    )


def _range(values: Sequence[float | None]) -> str:
    """Format the least and the greatest number."""
    known = np.array([v for v in values if v is not None])
    if not known.size:
        return NONE
    ends = (known.min().item(), known.max().item())
    shown = [f"{v:,}" if isinstance(v, int) else f"{v:.3g}" for v in ends]
    return " … ".join(dict.fromkeys(shown))


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
