"""Figure 1: what a position gathers, and from where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gspnl.nn.affinity import Pooled
from gspnl.nn.structured import Grouped, Unconnected
from gspnl.plotting.reach import reach_of
from gspnl.train.figures.passing import Passage, cell_of, check_item, passages, photos_of
from gspnl.train.figures.rows import norms_of, row_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class AttentionRange:
    r"""What one unit of a block takes from each position for one of them, the reference i.

    Attributes
    ----------
    name : str
        The block.
    unit : int
        From 1 on; all units of a block share A.
    grid : tuple of int
        The feature map, or the cells that its keys are pooled to.
    cell : tuple of int
        The reference on that grid.
    affinity : array of shape ``grid``, or None
        Row i of A. None where A joins channels too ("cgnl"), and where there are no edges.
    weights : array of shape ``grid``
        :math:`\|K_{ij}\|_F`, of the matrix of channels by which :math:`x_j` enters at i.
    photo : array of shape ``*spatial``
        The image, grey, in [0, 1].
    """

    name: str
    unit: int
    grid: tuple[int, ...]
    cell: tuple[int, ...]
    affinity: np.ndarray | None
    weights: np.ndarray
    photo: np.ndarray

    @property
    def reach(self) -> int:
        """The least number of positions that hold 90 % of the weights; 0 where all are 0."""
        return reach_of(self.weights.reshape(-1))

    @property
    def affinity_reach(self) -> int | None:
        """The same of row i of A, by magnitude."""
        return None if self.affinity is None else reach_of(self.affinity.reshape(-1))

    @property
    def itself(self) -> float:
        """The share of the weights that the reference has, in [0, 1]."""
        total = float(self.weights.sum())
        return float(self.weights[self.cell]) / total if total else 0.0

    @property
    def distance(self) -> float:
        """Mean distance to the other positions by weight, over that by equal weights.

        1 where all others weigh alike, less where the near ones weigh more; 0 where nothing comes
        from others. In steps of the grid, Euclidean.
        """
        steps = np.indices(self.grid) - np.reshape(self.cell, (-1, *[1] * len(self.grid)))
        far = np.sqrt((steps**2).sum(0))
        others = np.where(far > 0, self.weights, 0.0)
        total = float(others.sum())
        if not total:
            return 0.0
        alike = float(far.sum()) / (far.size - 1)
        return float((others * far).sum() / total / alike)

    def numbers(self) -> dict[str, Any]:
        """What the picture says, in plain types."""
        return {
            "block": self.name,
            "unit": self.unit,
            "grid": list(self.grid),
            "cell": list(self.cell),
            "reach": self.reach,
            "affinity_reach": self.affinity_reach,
            "itself": self.itself,
            "distance": self.distance,
        }

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the image with the reference, row i of A, and the weights, on the image grid."""
        from gspnl.train.figures.reached import draw_attention_ranges

        return draw_attention_ranges({"": [self]}, ax=ax)


def attention_ranges(
    model: nn.Module, images: Any, *, image: int = 0, position: Any = None, pictures: Any = None
) -> tuple[AttentionRange, ...]:
    r"""What each block of a network gathers at a reference position: figure 1 of the paper.

    With the graph of this image held fixed, what a unit adds at position i is a sum over positions,

    .. math:: F_i = \sum_j K_{ij} x_j, \qquad
        K_{ij} = \operatorname{diag}(s) \sum_k T_k(-A)_{ij} V_k W_g^\top,

    with matrices of channels: for NL :math:`A_{ij} W`, for NS :math:`(A_{ij} - δ_{ij}) W`, for SNL
    :math:`δ_{ij} W_1 + A_{ij} W_2`, each times the transposed :math:`W_g`; s is the scale of a
    batch norm. Drawn are row i of A and the norms :math:`\|K_{ij}\|_F`. Off the reference itself
    those of NL, NS and SNL are multiples of :math:`A_{ij}`: the operators differ at the node, and
    their trained A's do.

    Parameters
    ----------
    model : Module
        A network with blocks; it is run once, in evaluation mode.
    images : tensor of shape (B, C, ``*spatial``)
        As the network takes them.
    image : int
        Which of them.
    position : (int, int), optional
        A pixel (y, x) of the image, (t, y, x) of a video; default: the middle of the feature map.
    pictures : array of shape (B, C, ``*spatial``), optional
        The images with values in [0, 1], to draw on; default: ``images``, rescaled.

    Returns
    -------
    tuple of AttentionRange
        One for each unit of each block.

    Raises
    ------
    InputError
        For a network without blocks, images that it cannot run, or an image or a position that
        there is not.

    Notes
    -----
    A group or layer norm, whose scale depends on its input, an activation and a gate are left out:
    K is of F before them. With ``sub_sample`` the j are cells of pooled positions. It takes C
    backward passes through one filter and O(N) memory beyond them; nothing of size N² is made.

    References
    ----------
    .. [1] L. Zhu, Q. She, L. Zhang and P. Guo, A spectral nonlocal block for neural networks,
       arXiv:1911.01059, figure 1.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 8, 3, padding=1), gnn.create("nl", 8, zero_init=False)
    ... )
    >>> (found,) = figures.attention_ranges(net, torch.randn(2, 3, 6, 6), position=(1, 4))
    >>> found.cell, found.weights.shape, round(float(found.affinity.sum()), 6)
    ((1, 4), (6, 6), 1.0)
    """
    reached = passages(model, images)
    item = check_item(image, len(images))
    photo = photos_of(images, pictures)[item]
    found: list[AttentionRange] = []
    for each in reached:
        cell = cell_of(position, images.shape[2:], each.grid)
        found.extend(replace(part, photo=photo) for part in _of_block(each, item, cell))
    return tuple(found)


def _of_block(each: Passage, item: int, cell: tuple[int, ...]) -> list[AttentionRange]:
    operator = each.operator(item)
    i = int(np.ravel_multi_index(cell, each.grid))
    grid, inner = each.grid, operator
    if isinstance(operator, Pooled):
        marks = torch.ones(1, int(np.prod(grid)), 1, dtype=torch.float64)
        pooled = operator.pool(marks).shape[1]
        inner = operator.operator
        grid, cell = _cells(each, pooled, cell)
    columns = int(np.prod(grid))
    row = None if isinstance(inner, (Grouped, Unconnected)) else row_of(inner, i, columns)
    return [
        AttentionRange(
            each.name,
            unit,
            grid,
            cell,
            None if row is None else row.reshape(grid),
            norms_of(stage, inner, i, columns).reshape(grid),  # type: ignore[arg-type]
            np.zeros(0),
        )
        for unit, stage in enumerate(each.block.stages, 1)
    ]


def _cells(
    each: Passage, count: int, cell: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The grid of pooled cells, and the one that a position is in or next to."""
    size = each.block.options["sub_sample"]
    sizes = size if isinstance(size, (tuple, list)) else [size] * len(each.grid)
    grid = tuple(n // s for n, s in zip(each.grid, sizes, strict=True))
    assert int(np.prod(grid)) == count
    return grid, tuple(min(p // s, n - 1) for p, s, n in zip(cell, sizes, grid, strict=True))
