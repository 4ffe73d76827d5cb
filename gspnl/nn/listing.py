"""The blocks of a network, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from gspnl.nn.block import Block
from gspnl.nn.places import CHILD, outside


@dataclass(frozen=True)
class Row:
    """One block of a network: what it follows, or its own name if it was not inserted."""

    name: str
    block: str
    channels: int
    inner: int
    units: int
    parameters: int


@dataclass(frozen=True)
class Description:
    """The blocks of a network, a row each; prints as a table."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __str__(self) -> str:
        titles = tuple(Row.__dataclass_fields__)
        cells = [tuple(f"{value:,}" if isinstance(value, int) else value
                       for value in vars(row).values()) for row in self.rows]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (titles, *cells)
        ]
        return "\n".join(lines) if self.rows else "no blocks"


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
    for name, block in outside(model):
        if isinstance(block, Block):
            about = block.config
            rows.append(
                Row(
                    name=name.removesuffix(CHILD).removesuffix("."),
                    block=about["block"],
                    channels=about["channels"],
                    inner=about["inner"],
                    units=about["units"],
                    parameters=sum(parameter.numel() for parameter in block.parameters()),
                )
            )
    return Description(tuple(rows))
