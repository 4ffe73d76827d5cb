"""Read the features that reach the blocks of a network, and rows of their operators, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl._base.array import check_finite
from gspnl.errors import InputError
from gspnl.nn.auditing.capture import capture
from gspnl.nn.block import Block
from gspnl.nn.norms import batch_scale
from gspnl.nn.operators import Operator
from gspnl.nn.stage import Stage
from gspnl.nn.surgery.targets import label, named_blocks


@dataclass(frozen=True, eq=False)
class BlockInput:
    """A block of a network with its input."""

    name: str  # of the module that the block follows, or its own where it was not inserted
    block: Block  # a copy in float64 and evaluation mode, without gradients
    features: Tensor  # X of shape (B, N, C), float64
    grid: tuple[int, ...]  # the spatial dimensions, whose product is N

    @torch.no_grad()
    def operator(self, item: int) -> Operator:
        """A of one image."""
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
    """The blocks that a batch of images reaches, in the order of the network."""
    blocks = blocks_of(model)
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
    check_finite(images, "images")
    weight = next(model.parameters())
    features = capture(model, blocks, images.to(weight.device, weight.dtype))
    return [
        BlockInput(title_of(name, block), exact(block), X.cpu().double(), grid)
        for name, block in blocks.items()
        if name in features
        for X, grid in [features[name]]
    ]


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


def cell_of(position: Any, size: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """The position of a feature map that contains a pixel of the image; None is the middle."""
    if position is None:
        return tuple(n // 2 for n in grid)
    pixel = np.asarray(position)
    whole = pixel.dtype.kind in "iuf" and not (pixel % 1).any()
    if pixel.shape != (len(size),) or not whole or (pixel < 0).any() or (pixel >= size).any():
        raise InputError(
            f"position={position!r} must be {len(size)} whole numbers, a pixel (y, x) inside of "
            f"images of size {' × '.join(map(str, size))}, counted from 0"
        )
    return tuple(int(p) * n // m for p, n, m in zip(pixel, grid, size, strict=True))
