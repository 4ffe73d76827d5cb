"""Records of an audit's blocks, as rows of a table and as numbers for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl.nn.auditing.measures import AffinityAudit
from gspnl.nn.auditing.units import UnitAudit
from gspnl.nn.surgery.targets import title

TITLES = (
    "module", "block", "unit", "items", "N", "gap", "defect", "max ‖W(λ)‖", "CFL radius",
    "CFL limit", "negative",
)  # fmt: skip
NONE = "–"


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


def block_numbers(block: BlockAudit) -> dict[str, Any]:
    """Convert a block to types that JSON has."""
    return {
        "module": block.module,
        "block": block.block,
        "items": [_item_numbers(item) for item in block.items],
        "units": [_unit_numbers(unit) for unit in block.units],
        "reasons": block.reasons,
    }


def _item_numbers(item: AffinityAudit) -> dict[str, Any]:
    lam = item.eigenvalues
    return {
        "nodes": item.nodes,
        "gap": finite(item.gap),
        "defect": finite(item.defect),
        "eigenvalues": None if lam is None else [finite(lam[k].real) for k in (0, -1)],
        "reasons": dict(item.reasons),
    }


def _unit_numbers(unit: UnitAudit) -> dict[str, Any]:
    return {
        "gain": finite(unit.norm.max()),
        "cfl": [
            None if v is None else {"radius": finite(v.radius), "limit": finite(v.limit)}
            for v in unit.cfl
        ],
        "channels": len(unit.damping.eigenvalues),
        "rank": unit.damping.rank,
        "negative": unit.damping.n_negative,
        "top": unit.damping.top(32).tolist(),
        "reasons": dict(unit.reasons),
    }


def finite(value: Any) -> float | None:
    """Return a float, or None for a number that is missing or not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def unit_cells(block: BlockAudit, index: int) -> tuple[str, ...]:
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
