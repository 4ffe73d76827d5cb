"""Rows of operators, by the gradient of one output: no matrix of N² entries is made."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gspnl.nn.operators import Operator
from gspnl.nn.unit import Stage


def row_of(operator: Operator, i: int, columns: int) -> np.ndarray:
    """Row i of A, as the gradient of (A z)_i: the product with a unit vector from the left."""
    z = torch.zeros(1, columns, 1, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        (row,) = torch.autograd.grad(operator.apply(z)[0, i, 0], z)
    return row[0, :, 0].numpy()


def norms_of(stage: Stage, operator: Operator, i: int, columns: int) -> np.ndarray:
    """‖K_ij‖_F of all j: C rows of the linear map Z → F_i, each by a backward pass."""
    width = stage.outputs[0].weight.shape[1] * stage.outputs[0].groups
    mix = torch.eye(width, dtype=torch.float64)
    if stage.g is not None:
        mix = stage.g.weight @ stage.g.weight.T
    scale = scale_of(stage)
    Z = torch.zeros(1, columns, width, dtype=torch.float64, requires_grad=True)
    squares = torch.zeros(columns, dtype=torch.float64)
    with torch.enable_grad():
        F = stage.filtered(Z, operator)[0, i]
        for c in range(len(F)):
            (rows,) = torch.autograd.grad(F[c], Z, retain_graph=True)
            K = rows[0]
            if stage.whole:  # of a folded unit, whose maps hold the input too
                own = torch.zeros_like(K)
                own[i, c] = 1
                K = K - own
            squares += scale[c] ** 2 * ((K @ mix) * K).sum(-1)
    return torch.sqrt(squares.clamp_min(0)).numpy()


def scale_of(stage: Stage) -> Tensor:
    """The scale s (C,) that a batch norm has in evaluation; ones for what depends on its input."""
    norm = stage.norm
    channels = stage.outputs[0].weight.shape[0]
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_var is None:
        return torch.ones(channels, dtype=torch.float64)
    scale = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale if norm.weight is None else scale * norm.weight.detach().double()
