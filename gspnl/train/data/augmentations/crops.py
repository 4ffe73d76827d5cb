"""Parts of images that keep their scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gspnl.errors import InputError
from gspnl.train.data.augmentations.base import AUGMENTATIONS, check_images, check_whole, pick


@AUGMENTATIONS.register("pad_crop")
@dataclass(frozen=True)
class PadCrop:
    """Move by up to ``pixels`` each way; zeros come in at the edges. All frames of a video alike.

    That is to pad by ``pixels`` and cut the former size out at one of (2 pixels + 1)² places.

    Parameters
    ----------
    pixels : int
        At least 0.

    Examples
    --------
    >>> import torch
    >>> images = torch.ones(2, 3, 4, 4)
    >>> PadCrop(2)(images, torch.tensor([[0.5, 0.5], [0.0, 0.5]])).sum((1, 2, 3)).tolist()
    [48.0, 24.0]
    """

    pixels: int
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_whole(self.pixels, "pad_crop(pixels) moves by pixels", 0)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        check_images(images, u, self.draws)
        height, width = images.shape[-2:]
        padded = functional.pad(images, (self.pixels,) * 4)
        # A view of every place to cut at, of which one is copied for each image.
        windows = padded.unfold(-2, height, 1).unfold(-2, width, 1).movedim((-4, -3), (1, 2))
        top, left = pick(u, 2 * self.pixels + 1).unbind(1)
        return windows[torch.arange(len(images), device=images.device), top, left]


@AUGMENTATIONS.register("centre_crop")
@dataclass(frozen=True)
class CentreCrop:
    """Cut a square out of the middle.

    Parameters
    ----------
    size : int
        Pixels, at least 1 and at most the smaller side of the images.

    Raises
    ------
    InputError
        If an image is smaller; ``resize`` it first.

    Examples
    --------
    >>> import torch
    >>> CentreCrop(2)(torch.arange(16.0).view(1, 1, 4, 4), torch.empty(1, 0)).tolist()
    [[[[5.0, 6.0], [9.0, 10.0]]]]
    """

    size: int
    draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_whole(self.size, "centre_crop(size) cuts out size × size pixels", 1)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        check_images(images, u, self.draws)
        height, width = images.shape[-2:]
        if self.size > min(height, width):
            raise InputError(
                f"centre_crop({self.size}) of images of {height} × {width} pixels; put "
                f"'resize({self.size})' before it"
            )
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return images[..., top : top + self.size, left : left + self.size]
