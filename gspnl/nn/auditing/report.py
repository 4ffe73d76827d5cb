"""Audit of a network, printed as tables and drawn as a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl.errors import InputError
from gspnl.nn.auditing.block_figure import WIDTH, blocks_height, draw_blocks
from gspnl.nn.auditing.block_report import TITLES, BlockAudit, block_numbers, unit_cells
from gspnl.nn.auditing.heads import HeadRecord
from gspnl.nn.auditing.network.depth import LayerDepth
from gspnl.nn.auditing.network.figure import attention_height, draw_attention
from gspnl.nn.auditing.network.numbers import (
    attention_numbers,
    depth_numbers,
    plain,
    verdict_numbers,
)
from gspnl.nn.auditing.network.table import depth_table, heads_table, words_table
from gspnl.nn.auditing.network.verdicts import Verdict
from gspnl.nn.surgery.describe import aligned
from gspnl.plotting._axes import new_figure
from gspnl.plotting._style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Audit", "BlockAudit"]


@dataclass(frozen=True, eq=False)
class Audit:
    r"""The blocks and the attention of a network on one batch; prints as tables.

    Attributes
    ----------
    blocks : tuple of BlockAudit
        Nonlocal blocks, also by ``audit["layer3.4"]`` and ``audit[0]``.
    attention : tuple of HeadRecord
        A record a layer and head, in the order of execution. Its ``eigenvalues`` are those of A,
        the first 1, while those of a block are λ = 1 − μ of I − A.
    depth : tuple of LayerDepth
        An entry an attention: the share of its input off the token mean, Dirichlet energy, and
        which filters of its graph explain what it writes.
    rollout : array of shape (N,), or None
        Share of each input token in the mean token of the last layer, of the first item (Abnar and
        Zuidema, 2020); ≥ 0 with sum 1.
    verdicts : tuple of Verdict
        On the hypotheses A^k = A, λmax = 2, θ₀, smoothing by depth, and its cause; each with
        ``name``, ``holds``, ``value``, ``text`` and ``numbers``.
    notes : tuple of str
        What was left out, and why.
    """

    blocks: tuple[BlockAudit, ...]
    attention: tuple[HeadRecord, ...] = ()
    depth: tuple[LayerDepth, ...] = ()
    rollout: np.ndarray | None = None
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[BlockAudit]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, module: str | int) -> BlockAudit:
        if isinstance(module, int):
            return self.blocks[module]
        found = {block.module: block for block in self.blocks}
        if module not in found:
            raise InputError(
                f"no block at {module!r}; there are {', '.join(map(repr, found)) or 'none'}"
                + ("; heads of attention are in audit.attention" if self.attention else "")
            )
        return found[module]

    def __repr__(self) -> str:
        layers = len({record.layer for record in self.attention})
        return f"Audit({len(self.blocks)} blocks, {len(self.attention)} heads in {layers} layers)"

    def __str__(self) -> str:
        parts = []
        if self.blocks:
            cells = [unit_cells(b, i) for b in self.blocks for i in range(len(b.units))]
            why = [f"{b.module or b.block}: {text}" for b in self.blocks for text in b.reasons]
            parts.append("\n".join([aligned([TITLES, *cells]), *why]))
        if self.attention:
            parts += [heads_table(self.attention), words_table(self.attention)]
            parts += [depth_table(self.depth), "\n".join(["Verdicts", *map(str, self.verdicts)])]
        if self.notes:
            parts.append("\n".join(["Notes", *self.notes]))
        return "\n\n".join(parts)

    def numbers(self) -> dict[str, Any]:
        """Convert to types that JSON has; missing and infinite numbers are None.

        Returns
        -------
        dict
            ``{"blocks": [{"module", "block", "items": [{"nodes", "gap", "defect", "eigenvalues",
            "reasons"}], "units": [{"gain", "cfl": [{"radius", "limit"}], "channels", "rank",
            "negative", "top", "reasons"}], "reasons"}], "attention": [{"layer", "call", "head",
            "nodes", "keys", "masked", "cross", "groups", "source", "eigenvalues", "gap", "sigma",
            "stationary", "sink_mass", "sink", "chung_gap", …, "items", "reasons", "words",
            "remarks"}], "depth": [{"layer", "call", "nodes", "off_mean", "dirichlet",
            "identity"}], "rollout", "verdicts": [{"name", "question", "holds", "value", "text",
            "numbers"}], "notes"}``. "eigenvalues" of a block are the two ends of the real parts of
            λ; those of a head the first 64 of A, as [real, imaginary]. "gain" is the largest
            ‖W(λ)‖, "negative" a count, "top" the 32 largest eigenvalues of the channel weights.

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
            "blocks": [block_numbers(block) for block in self.blocks],
            "attention": attention_numbers(self.attention),
            "depth": depth_numbers(self.depth),
            "rollout": plain(self.rollout),
            "verdicts": verdict_numbers(self.verdicts),
            "notes": list(self.notes),
        }

    @styled
    def plot(self) -> Figure:
        r"""Draw the blocks, the attention, or both.

        Returns
        -------
        matplotlib.figure.Figure
            Of blocks, three axes: \|μ\| of every item, in descending order; ‖W(λ)‖; and the 32
            largest eigenvalues of the channel weights, figure 5 of the paper. Of attention, six:
            maps of heads × layers of four numbers, eigenvalues in the complex plane with the unit
            circle, and Dirichlet energy by depth.

        Raises
        ------
        MissingExtraError
            Without matplotlib.
        """
        first = blocks_height(self.blocks) if self.blocks else 0.0
        second = attention_height(self.attention) if self.attention else 0.0
        figure = new_figure(WIDTH, first + second)
        if self.blocks and self.attention:
            parts: Any = figure.subfigures(2, 1, height_ratios=[first, second])
            top, bottom = parts
            draw_blocks(self.blocks, top)
            draw_attention(self.attention, self.depth, bottom)
        elif self.blocks:
            draw_blocks(self.blocks, figure)
        else:
            draw_attention(self.attention, self.depth, figure)
        return figure
