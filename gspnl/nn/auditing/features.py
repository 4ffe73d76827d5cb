"""Read the blocks of a network with the features that reach them, and the images to draw on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from gspnl._base.array import check_finite
from gspnl.errors import InputError
from gspnl.nn.auditing import capture
from gspnl.nn.block import Block
from gspnl.nn.hooked import plain
from gspnl.nn.operators import Operator
from gspnl.nn.surgery.targets import label, named_blocks, title


@dataclass(frozen=True, eq=False)
class BlockInput:
    """A block of a network with its input."""

    name: str  # of the module that the block follows, or its own where it was not inserted
    block: Block  # a copy in float64 and evaluation mode, without gradients
    features: Tensor  # X of shape (B, N, C), float64
    grid: tuple[int, ...]  # the spatial dimensions, whose product is N

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


def block_inputs(model: nn.Module, images: Any) -> list[BlockInput]:
    """The blocks that a batch of images reaches, in the order of the network."""
    blocks = blocks_of(model)
    tensor = isinstance(images, Tensor)
    if not (tensor and images.is_floating_point() and 3 <= images.ndim <= 5 and images.numel()):
        kind = f"{images.dtype} of shape {tuple(images.shape)}" if tensor else type(images).__name__
        raise InputError(
            "images must be a torch tensor of floating-point images (B, C, *spatial) as the "
            f"network takes them, none empty, not {kind}"
        )
    check_finite(images, "images")
    weight = next(model.parameters())
    features = capture(model, blocks, images.to(weight.device, weight.dtype))
    found = []
    for name, block in blocks.items():
        if name in features:
            X, grid = features[name]
            exact = copy.deepcopy(plain(block, name)).cpu().double().eval().requires_grad_(False)
            found.append(BlockInput(title(label(name), block.block), exact, X.cpu().double(), grid))
    return found


def photos_of(images: Tensor, pictures: Any = None) -> np.ndarray:
    """Grey pictures in [0, 1], (B, *spatial), to draw on; by default the rescaled images."""
    if pictures is None:
        flat = images.detach().cpu().double().mean(1)
        axes = tuple(range(1, flat.ndim))
        low, high = flat.amin(axes, keepdim=True), flat.amax(axes, keepdim=True)
        return np.asarray((flat - low) / (high - low).clamp_min(1e-12))
    values = np.asarray(pictures, dtype=np.float64)
    if values.shape[0] != len(images) or values.shape[2:] != tuple(images.shape[2:]):
        raise InputError(
            f"pictures have shape {values.shape} beside images {tuple(images.shape)}; pass one for "
            "each image, (B, C, *spatial) with values in [0, 1]"
        )
    return np.asarray(np.clip(values.mean(1), 0, 1))


def cell_of(position: Any, size: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """The position of a feature map that contains a pixel of the image; None is the middle."""
    if position is None:
        return tuple(n // 2 for n in grid)
    pixel = tuple(position) if np.iterable(position) else ()
    whole = all(p in range(n) for p, n in zip(pixel, size, strict=False))
    if len(pixel) != len(size) or not whole:
        raise InputError(
            f"position={position!r} must be {len(size)} whole numbers, a pixel (y, x) inside of "
            f"images of size {' × '.join(map(str, size))}, counted from 0"
        )
    return tuple(int(p) * n // m for p, n, m in zip(pixel, grid, size, strict=True))
