"""Figure 1: weights of all positions at a reference position."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.affinity import Pooled
from gspnl.nn.auditing.features import block_inputs, cell_of, photos_of
from gspnl.nn.auditing.maps import gradients, norms_of
from gspnl.nn.structured import Grouped, Unconnected
from gspnl.plotting._axes import ring
from gspnl.plotting._overlays import bar, frame, lay, overlay
from gspnl.plotting._style import styled
from gspnl.plotting.reach import reach_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class AttentionRange:
    """Weights of all positions in one unit's output at a reference position i.

    ``affinity`` is row i of A, None where A joins channels too ("cgnl") and where there are no
    edges. ``weights`` are the norms ‖K_ij‖ of the matrices of channels that x_j is multiplied by.
    Both have the shape of ``grid``.
    """

    name: str  #: of the block
    unit: int  #: from 1 on; all units of a block share A
    grid: tuple[int, ...]  #: of the feature map, or of the cells that its keys are pooled to
    cell: tuple[int, ...]  #: the reference on that grid
    affinity: np.ndarray | None
    weights: np.ndarray
    photo: np.ndarray  #: the image, grey, in [0, 1]

    @property
    def reach(self) -> int:
        """The least number of positions with 90 % of the weights; 0 where all are 0."""
        return reach_of(self.weights.reshape(-1))

    @property
    def affinity_reach(self) -> int | None:
        """The same of row i of A, by magnitude."""
        return None if self.affinity is None else reach_of(self.affinity.reshape(-1))

    @property
    def itself(self) -> float:
        """The share of the reference in the weights, in [0, 1]."""
        total = float(self.weights.sum())
        return float(self.weights[self.cell]) / total if total else 0.0

    @property
    def distance(self) -> float:
        """Mean distance to the other positions by weight, over that by equal weights.

        Less than 1 where near positions weigh more; 0 where no other position has a weight.
        """
        steps = np.indices(self.grid) - np.reshape(self.cell, (-1, *[1] * len(self.grid)))
        far = np.sqrt((steps**2).sum(0))
        others = np.where(far > 0, self.weights, 0.0)
        total = float(others.sum())
        if not total:
            return 0.0
        return float((others * far).sum() / total / (far.sum() / (far.size - 1)))

    def numbers(self) -> dict[str, Any]:
        """The numbers of the picture in plain types."""
        about = {"block": self.name, "unit": self.unit, "grid": [*self.grid], "cell": [*self.cell]}
        names = ("reach", "affinity_reach", "itself", "distance")
        return about | {name: getattr(self, name) for name in names}

    def _multiples(self) -> list[np.ndarray | None]:
        """Row i of A by magnitude, and the weights, in multiples of their means."""
        sizes = None if self.affinity is None else np.abs(self.affinity), self.weights
        return [None if size is None else size / (size.mean() or 1.0) for size in sizes]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the image with the reference, row i of A, and the weights, on the image grid."""
        return draw_attention_ranges({"": [self]}, ax=ax)


def attention_ranges(
    model: nn.Module, images: Any, *, image: int = 0, position: Any = None, pictures: Any = None
) -> tuple[AttentionRange, ...]:
    r"""Compute the weights of each unit at a reference position: figure 1 of the paper.

    With the graph of this image fixed, a unit adds at position i a sum over positions,

    .. math:: F_i = \sum_j K_{ij} x_j, \qquad
        K_{ij} = \operatorname{diag}(s) \sum_k T_k(-A)_{ij} V_k W_g^\top,

    with matrices of channels: for NL :math:`A_{ij} W`, for NS :math:`(A_{ij} - δ_{ij}) W`, for SNL
    :math:`δ_{ij} W_1 + A_{ij} W_2`, each times the transposed :math:`W_g`; s is the scale of a
    batch norm. Drawn are row i of A and the norms :math:`\|K_{ij}\|_F`. Off the reference the norms
    of NL, NS and SNL are multiples of :math:`A_{ij}`: the operators differ at the node, and their
    trained A's do.

    Parameters
    ----------
    model : Module
        A network with blocks; it is run once, in evaluation mode.
    images : tensor of shape (B, C, ``*spatial``)
        As the network takes them.
    image : int
        The number of the image in the batch.
    position : (int, int), optional
        A pixel (y, x) of the image, (t, y, x) of a video; default: the middle of the feature map.
    pictures : array of shape (B, C, ``*spatial``), optional
        The images with values in [0, 1], to draw on; default: ``images``, rescaled.

    Notes
    -----
    A group or layer norm, whose scale depends on its input, an activation and a gate are left out:
    K is of F before them. With ``sub_sample`` the j are cells of pooled positions. The cost is C
    backward passes through one filter and O(N) memory; nothing of size N² is formed.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> _ = torch.manual_seed(0)
    >>> block = gnn.create("nl", 3, zero_init=False)
    >>> (found,) = figures.attention_ranges(block, torch.randn(2, 3, 6, 6), position=(1, 4))
    >>> found.cell, found.weights.shape, round(float(found.affinity.sum()), 6)
    ((1, 4), (6, 6), 1.0)
    >>> len(figures.draw_attention_ranges({"NL": [found]}).images)
    3
    """
    inputs = block_inputs(model, images)
    item = whole_number("image", image, 0, len(images) - 1, ", an image of the batch")
    photo = photos_of(images, pictures)[item]
    found = []
    for each in inputs:
        operator, grid = each.operator(item), each.grid
        cell = cell_of(position, images.shape[2:], grid)
        i = int(np.ravel_multi_index(cell, grid))
        if isinstance(operator, Pooled):  # the cell that the position is in, or next to
            sizes = np.broadcast_to(each.block.options["sub_sample"], len(grid)).tolist()
            grid = tuple(n // s for n, s in zip(grid, sizes, strict=True))
            cell = tuple(min(p // s, n - 1) for p, s, n in zip(cell, sizes, grid, strict=True))
            operator = operator.operator
        row = None
        if not isinstance(operator, (Grouped, Unconnected)):
            row = next(gradients(operator.apply, i, math.prod(grid))).numpy().reshape(grid)
        stages: Any = each.block.stages  # of type Module to torch
        for unit, stage in enumerate(stages, 1):
            weights = norms_of(stage, operator, i, math.prod(grid)).reshape(grid)
            found.append(AttentionRange(each.name, unit, grid, cell, row, weights, photo))
    return tuple(found)


@styled
def draw_attention_ranges(
    found: Mapping[str, Sequence[AttentionRange]], *, ax: Axes | None = None
) -> Axes:
    """Draw the attention ranges of several networks, by name, one under the other.

    Each unit has a line: the image with the reference, row i of A by magnitude, and the weights.
    Maps are in multiples of their mean, 1 everywhere where all weigh alike, on one scale that ends
    at the largest value off the reference. Images must have 2 or 3 spatial dimensions.
    """
    ranges = [(run, each) for run, parts in found.items() for each in parts]
    if not ranges:
        raise InputError("there is nothing to draw; pass what attention_ranges returns")
    tops = [
        np.delete(values, np.ravel_multi_index(each.cell, each.grid)).max(initial=0.0)
        for _, each in ranges
        for values in each._multiples()
        if values is not None
    ]
    top = float(max(tops)) or 1.0
    lines, titles = [], []
    for run, each in ranges:
        cell, grid = each.cell, each.grid
        photo = frame(each.photo, cell, grid)
        maps = [
            np.ones((*photo.shape, 3)) if v is None else overlay(photo, frame(v, cell, grid), top)
            for v in each._multiples()
        ]
        several = sum(other.name == each.name for _, other in ranges) > 1
        unit = f"unit {each.unit}" if several else ""
        lines.append(("\n".join(filter(None, [run, each.name, unit])), [overlay(photo), *maps]))
        A, n = each.affinity_reach, each.weights.size
        about_A = "A: not of positions" if A is None else f"A: 90 % in {A:,} of {n:,}"
        about_K = f"K: 90 % in {each.reach:,}, itself {100 * each.itself:.0f} %"
        titles.append(("image", about_A, about_K))
    ax = lay(lines, ax, titles)
    for i in range(3 * len(ranges)):
        each = ranges[i // 3][1]
        ring(ax, i, each.cell, each.grid, 8, (("black", 2.8), ("white", 1.3)))
    bar(ax, top, "|Aᵢⱼ| and ‖Kᵢⱼ‖ of the ringed i, in multiples of their mean over j", extend="max")
    return ax
