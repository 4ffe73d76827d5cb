"""Read the features that reach the blocks of a network, and rows of their operators, in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.auditing import capture
from gspnl.nn.block import Block
from gspnl.nn.operators import Operator
from gspnl.nn.surgery.targets import label, named_blocks
from gspnl.nn.unit import Stage


@dataclass(frozen=True, eq=False)
class BlockInput:
    """A block of a network with its input."""

    name: str  # of the module that the block follows, or its own where it was not inserted
    block: Block  # a copy in float64 and evaluation mode, without gradients
    features: Tensor  # X of shape (B, N, C), float64
    grid: tuple[int, ...]  # the spatial dimensions, whose product is N

    def operator(self, item: int) -> Operator:
        """A of one image."""
        with torch.no_grad():
            A: Operator = self.block.affinity(self.features[item : item + 1], self.grid)
        return A


def blocks_of(model: nn.Module, network: str = "") -> dict[str, Block]:
    """The blocks of a network by their full names; an InputError where there are none."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    found = named_blocks(model)
    if not found:
        which = f"the network {network!r}" if network else "the network"
        raise InputError(
            f"{which} has no nonlocal blocks, and nothing else can be shown; take a run whose "
            "recipe has a block, or put blocks in with gspnl.nn.insert"
        )
    return found


def title_of(name: str, block: Block) -> str:
    """The name of a block in figures."""
    shown = label(name)
    return f"{shown} ({block.block})" if shown else block.block


def exact(block: Block) -> Block:
    """A copy in float64 on the CPU, in evaluation mode and without gradients."""
    return copy.deepcopy(block).cpu().double().eval().requires_grad_(False)


def block_inputs(model: nn.Module, images: Any) -> list[BlockInput]:
    """The blocks that a batch reaches, in the order of the network."""
    blocks = blocks_of(model)
    check_images(images)
    weight = next(model.parameters())
    features = capture(model, blocks, images.to(weight.device, weight.dtype))
    return [
        BlockInput(title_of(name, block), exact(block), X.cpu().double(), grid)
        for name, block in blocks.items()
        if name in features
        for X, grid in [features[name]]
    ]


def row_of(operator: Operator, i: int, columns: int) -> np.ndarray:
    """Row i of A, the gradient of (A z)_i: no matrix of N² entries is formed."""
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
            if stage.whole:  # a folded unit, whose maps include the input
                own = torch.zeros_like(K)
                own[i, c] = 1
                K = K - own
            squares += scale[c] ** 2 * ((K @ mix) * K).sum(-1)
    return torch.sqrt(squares.clamp_min(0)).numpy()


def scale_of(stage: Stage) -> Tensor:
    """The scale s (C,) of a batch norm in evaluation; ones for norms that depend on their input."""
    norm = stage.norm
    channels = stage.outputs[0].weight.shape[0]
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_var is None:
        return torch.ones(channels, dtype=torch.float64)
    scale = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale if norm.weight is None else scale * norm.weight.detach().double()


def check_images(images: Any) -> None:
    """Raise unless ``images`` is a batch of finite images."""
    if not isinstance(images, Tensor):
        raise InputError(
            f"images must be a torch tensor (B, C, *spatial), not {type(images).__name__}"
        )
    shape = tuple(images.shape)
    if not 3 <= images.ndim <= 5 or 0 in shape or not images.is_floating_point():
        raise InputError(
            f"images are {images.dtype} of shape {shape}; pass floating-point images "
            "(B, C, *spatial) as the network takes them, none empty"
        )
    if not bool(torch.isfinite(images).all()):
        raise InputError("images hold NaN or infinite values; pass finite ones")


def cell_of(position: Any, size: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """The position of a feature map that contains a pixel of the image; None is the middle."""
    if position is None:
        return tuple(n // 2 for n in grid)
    about = " × ".join(map(str, size))
    try:
        pixel = tuple(int(p) for p in position)
        whole = all(p == q for p, q in zip(pixel, position, strict=True))
    except (TypeError, ValueError):
        pixel, whole = (), False
    if len(pixel) != len(size) or not whole:
        raise InputError(
            f"position={position!r} must be {len(size)} whole numbers, a pixel of images of size "
            f"{about}, as (y, x)"
        )
    if any(not 0 <= p < n for p, n in zip(pixel, size, strict=True)):
        raise InputError(
            f"position={pixel} lies outside of images of size {about}; pass pixels from 0 on"
        )
    return tuple(p * n // m for p, n, m in zip(pixel, grid, size, strict=True))
