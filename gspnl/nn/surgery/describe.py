"""List the blocks of a network as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from gspnl.nn.surgery.targets import label, named_blocks


@dataclass(frozen=True)
class Row:
    """One block of a network: the module it follows (or its own name if it was not inserted)."""

    name: str
    block: str
    channels: int
    inner: int
    units: int
    parameters: int


@dataclass(frozen=True)
class Description:
    """The blocks of a network, one row each; prints as a table."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __str__(self) -> str:
        cells = [
            [f"{value:,}" if isinstance(value, int) else value for value in vars(row).values()]
            for row in self.rows
        ]
        return aligned([list(Row.__dataclass_fields__), *cells]) if self.rows else "no blocks"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Format lines of cells in columns: the first two flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def describe(model: nn.Module) -> Description:
    """List the blocks of a network, inserted or its own.

    Parameters
    ----------
    model : Module

    Returns
    -------
    Description
        A row for each block with ``name`` (the module that it follows, or its own name where it was
        not inserted), ``block``, ``channels``, ``inner``, ``units`` and ``parameters``; prints as a
        table.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(3, 8, 3), gnn.create("nl", 8))
    >>> print(gnn.describe(gnn.insert(net, {"0": ("gsnl", {"units": 2})})))
    name  block  channels  inner  units  parameters
    0     gsnl          8      4      2         ...
    1     nl            8      4      1         ...
    """
    rows = []
    for name, block in named_blocks(model).items():
        config = block.config
        rows.append(
            Row(
                name=label(name),
                block=config["block"],
                channels=config["channels"],
                inner=config["inner"],
                units=config["units"],
                parameters=sum(parameter.numel() for parameter in block.parameters()),
            )
        )
    return Description(tuple(rows))
