"""What an audit found, as records, a table and a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gspnl.errors import InputError
from gspnl.nn.auditing.readings import Reading
from gspnl.nn.auditing.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        What it follows, or its own name where it was not inserted.
    block : str
        The name of its kind.
    items : tuple of Reading
        Its affinity on each item of the batch, which all its units share.
    units : tuple of Unit
    """

    module: str
    block: str
    items: tuple[Reading, ...]
    units: tuple[Unit, ...]

    @property
    def reasons(self) -> list[str]:
        """What has no number, and why; each once."""
        parts = [each.reasons for each in self.items] + [each.reasons for each in self.units]
        told = [f"{key}: {why}" for reasons in parts for key, why in reasons.items()]
        return list(dict.fromkeys(told if self.items else ["no item of the batch reaches it"]))


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
        lines = [TITLES, *(_cells(b, i) for b in self.blocks for i in range(len(b.units)))]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        notes = [f"{b.module or b.block}: {why}" for b in self.blocks for why in b.reasons]
        return "\n".join([*table, *notes])

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
        from gspnl.nn.auditing.figure import draw

        return draw(self.blocks)


def _cells(block: BlockAudit, place: int) -> tuple[str, ...]:
    """One line of the table: a unit, with the range over all items."""
    unit, items = block.units[place], block.items
    verdicts = [v for v in unit.cfl if v is not None]
    return (
        block.module or NONE,
        block.block,
        str(place + 1),
        str(len(items)),
        span([item.nodes for item in items]),
        span([item.gap for item in items]),
        span([item.defect for item in items]),
        span([float(unit.norm.max())]),
        span([v.radius for v in verdicts]),
        span([v.limit for v in verdicts]),
        f"{100 * unit.damping.negative:.0f} %",
    )


def span(values: Sequence[float | None]) -> str:
    """The range of numbers."""
    known = np.array([v for v in values if v is not None])
    if not known.size:
        return NONE
    ends = (known.min().item(), known.max().item())
    shown = [f"{v:,}" if isinstance(v, int) else f"{v:.3g}" for v in ends]
    return " … ".join(dict.fromkeys(shown))
