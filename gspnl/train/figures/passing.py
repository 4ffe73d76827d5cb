"""What reaches the blocks of a network on a batch of images, in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.auditing.capture import capture
from gspnl.nn.block import Block
from gspnl.nn.operators import Operator
from gspnl.nn.surgery.targets import label, named_blocks


@dataclass(frozen=True, eq=False)
class Passage:
    """One block of a network, and the features that reach it.

    Parameters
    ----------
    name : str
        What the block follows, or its own name where it was not inserted.
    block : Block
        A copy in float64 and evaluation mode, without gradients.
    features : tensor of shape (B, N, C)
        X, float64.
    grid : tuple of int
        The spatial dimensions, whose product is N.
    """

    name: str
    block: Block
    features: Tensor
    grid: tuple[int, ...]

    def operator(self, item: int) -> Operator:
        """A of one image."""
        with torch.no_grad():
            made: Operator = self.block.affinity(self.features[item : item + 1], self.grid)
        return made


def blocks_of(model: nn.Module, called: str = "") -> dict[str, Block]:
    """The blocks of a network by their full names; an InputError where there are none."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    found = named_blocks(model)
    if not found:
        network = f"the network {called!r}" if called else "the network"
        raise InputError(
            f"{network} has no nonlocal blocks, and nothing else can be shown; take a run whose "
            "recipe has a block, or put blocks in with gspnl.nn.insert"
        )
    return found


def title_of(name: str, block: Block) -> str:
    """What a block is called in figures."""
    shown = label(name)
    return f"{shown} ({block.block})" if shown else block.block


def exact(block: Block) -> Block:
    """A copy in float64 on the CPU, in evaluation mode and without gradients."""
    return copy.deepcopy(block).cpu().double().eval().requires_grad_(False)


def passages(model: nn.Module, images: Any) -> list[Passage]:
    """The blocks that a batch reaches, in the order of the network."""
    blocks = blocks_of(model)
    check_images(images)
    weight = next(model.parameters())
    features = capture(model, blocks, images.to(weight.device, weight.dtype))
    return [
        Passage(title_of(name, block), exact(block), X.cpu().double(), grid)
        for name, block in blocks.items()
        if name in features
        for X, grid in [features[name]]
    ]


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


def check_item(image: Any, count: int) -> int:
    """An index of the batch."""
    if isinstance(image, bool) or not isinstance(image, (int, np.integer)):
        raise InputError(f"image={image!r} must be a whole number")
    if not 0 <= image < count:
        raise InputError(
            f"image={image} is not in the batch of {count:,}; pass 0"
            + (f" … {count - 1}" if count > 1 else "")
        )
    return int(image)


def cell_of(position: Any, size: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """The position of a feature map that a pixel of the image lies in; None is the middle."""
    if position is None:
        return tuple(n // 2 for n in grid)
    try:
        place = tuple(int(p) for p in position)
        whole = all(p == q for p, q in zip(place, position, strict=True))
    except (TypeError, ValueError):
        place, whole = (), False
    if len(place) != len(size) or not whole:
        raise InputError(
            f"position={position!r} must be {len(size)} whole numbers, a pixel of images of size "
            f"{' × '.join(map(str, size))}, as (y, x)"
        )
    if any(not 0 <= p < n for p, n in zip(place, size, strict=True)):
        raise InputError(
            f"position={place} lies outside of images of size {' × '.join(map(str, size))}; "
            "pass pixels from 0 on"
        )
    return tuple(p * n // m for p, n, m in zip(place, grid, size, strict=True))


def photos_of(images: Tensor, pictures: Any = None) -> np.ndarray:
    """Grey pictures in [0, 1], (B, *spatial), to draw on; of images without any, rescaled ones."""
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
