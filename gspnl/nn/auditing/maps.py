"""Compute the channel weights of a unit, and the rows of its operator at a position."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.hooked import plain
from gspnl.nn.operators import Operator
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.unit import Stage, batch_scale


def channel_maps(stage: Stage, *, scaled: bool = True) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """W_g (C, Cs), and the output maps (Cs, C) by name, of a unit ``block.stages[i]``.

    Grouped maps are block diagonal. ``scaled`` multiplies the maps by the scale of a batch norm in
    evaluation. A folded unit is an InputError.

    Examples
    --------
    >>> from gspnl import nn as gnn
    >>> block = gnn.create("snl", 8, inner=2)
    >>> W_g, maps = channel_maps(block.stages[0])
    >>> W_g.shape, {name: W.shape for name, W in maps.items()}
    ((8, 2), {'w_1': (2, 8), 'w_2': (2, 8)})
    """
    if stage.g is None or not all(name.startswith("w") for name in stage.terms):
        raise InputError(
            "the maps of a folded unit are merged with each other and with W_g; take the network "
            "that was folded"
        )
    stage = plain(stage)
    assert stage.g is not None
    norm = batch_scale(stage.norm) if scaled else None
    scale = 1.0 if norm is None else norm.cpu().numpy()
    maps = {
        name: scipy.linalg.block_diag(*np.split(_matrix(output), output.groups)).T * scale
        for name, output in zip(stage.terms, stage.outputs, strict=True)
    }
    return _matrix(stage.g).T, maps


def _matrix(layer: Pointwise) -> np.ndarray:
    return layer.weight.detach().double().cpu().numpy()


@torch.enable_grad()
def gradients(
    F: Callable[[Tensor], Tensor], i: int, columns: int, width: int = 1
) -> Iterator[Tensor]:
    """∂F_ic/∂Z (N, width) of a linear F(Z), for each channel c: nothing of size N² is formed."""
    Z = torch.zeros(1, columns, width, dtype=torch.float64, requires_grad=True)
    for F_ic in F(Z)[0, i]:
        (found,) = torch.autograd.grad(F_ic, Z, retain_graph=True)
        yield found[0]


def norms_of(stage: Stage, operator: Operator, i: int, columns: int) -> np.ndarray:
    """‖K_ij‖_F of all j."""
    output, scale = stage.outputs[0], batch_scale(stage.norm)
    width = output.weight.shape[1] * output.groups
    mix = torch.eye(width, dtype=torch.float64)
    if stage.g is not None:
        mix = stage.g.weight @ stage.g.weight.T

    def F(Z: Tensor) -> Tensor:  # the maps of a folded unit may include the input
        return stage.filtered(Z, operator) - (Z if stage.whole else 0)

    squares = torch.zeros(columns, dtype=torch.float64)
    for c, K in enumerate(gradients(F, i, columns, width)):
        square = ((K @ mix) * K).sum(-1)
        squares += square if scale is None else scale[c] ** 2 * square
    return torch.sqrt(squares.clamp_min(0)).numpy()
