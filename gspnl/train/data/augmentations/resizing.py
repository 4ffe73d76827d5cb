"""Images at another scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gspnl.errors import InputError
from gspnl.train.data.augmentations.base import AUGMENTATIONS, check_images, check_whole, pick

TRIES = 10  # of a box that fits, as everyone has it [1]
RATIO = (3 / 4, 4 / 3)


def scaled(images: Tensor, height: int, width: int) -> Tensor:
    r"""Images (b, C, \*, H, W) at another size, bilinear; what shrinks is averaged over."""
    flat = images.flatten(1, -3)  # the frames of a video are as channels
    sized = functional.interpolate(
        flat, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return sized.view(*images.shape[:-2], height, width)


@AUGMENTATIONS.register("resize")
@dataclass(frozen=True)
class Resize:
    """Bring the smaller side to a size; the other follows, rounded down.

    Parameters
    ----------
    size : int
        Pixels, at least 1.

    Examples
    --------
    >>> import torch
    >>> Resize(8)(torch.rand(1, 3, 16, 31), torch.empty(1, 0)).shape
    torch.Size([1, 3, 8, 15])
    """

    size: int
    draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_whole(self.size, "resize(size) brings the smaller side to size pixels", 1)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        check_images(images, u, self.draws)
        height, width = images.shape[-2:]
        short = min(height, width)
        if short == self.size:
            return images
        return scaled(images, height * self.size // short, width * self.size // short)


@AUGMENTATIONS.register("random_resized_crop")
@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random box out and bring it to a square. All frames of a video alike.

    The box has a part of the area between ``smallest`` and 1, and a ratio of width to height
    between 3/4 and 4/3, uniform in its logarithm [1]_. Ten boxes are tried; if none fits, it is
    the largest in the middle that has such a ratio.

    Parameters
    ----------
    size : int
        Pixels of the square, at least 1.
    smallest : float
        In (0, 1].

    References
    ----------
    .. [1] C. Szegedy et al., Going deeper with convolutions, CVPR 2015; the tries are those of
       torchvision's RandomResizedCrop.

    Examples
    --------
    >>> import torch
    >>> RandomResizedCrop(4)(torch.ones(2, 3, 9, 12), torch.rand(2, 22)).shape
    torch.Size([2, 3, 4, 4])
    """

    size: int
    smallest: float = 0.08
    draws: ClassVar[int] = 2 * TRIES + 2

    def __post_init__(self) -> None:
        check_whole(self.size, "random_resized_crop(size) gives size × size pixels", 1)
        if isinstance(self.smallest, bool) or not 0 < self.smallest <= 1:
            raise InputError(
                f"random_resized_crop(size, smallest) got smallest={self.smallest!r}; it is a part "
                "of the area, in (0, 1]"
            )

    def boxes(self, height: int, width: int, u: Tensor) -> Tensor:
        """Top, left, height and width of each box: (b, 4), int64."""
        part = self.smallest + (1 - self.smallest) * u[:, :TRIES].double()
        low, high = (math.log(ratio) for ratio in RATIO)
        ratio = (low + (high - low) * u[:, TRIES : 2 * TRIES].double()).exp()
        wide = (height * width * part * ratio).sqrt().round().long()
        tall = (height * width * part / ratio).sqrt().round().long()
        fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
        first = fits.byte().argmax(1, keepdim=True)  # of the tries that fit
        found = fits.any(1)
        least, most = round(width / RATIO[0]), round(height * RATIO[1])
        tall = torch.where(found, tall.gather(1, first)[:, 0], max(min(height, least), 1))
        wide = torch.where(found, wide.gather(1, first)[:, 0], max(min(width, most), 1))
        top = torch.where(found, pick(u[:, -2], height - tall + 1), (height - tall) // 2)
        left = torch.where(found, pick(u[:, -1], width - wide + 1), (width - wide) // 2)
        return torch.stack([top, left, tall, wide], 1)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        check_images(images, u, self.draws)
        height, width = images.shape[-2:]
        boxes = self.boxes(height, width, u).tolist()
        crops = [
            scaled(image[None, ..., top : top + tall, left : left + wide], self.size, self.size)
            for image, (top, left, tall, wide) in zip(images, boxes, strict=True)
        ]
        if not crops:
            return images.new_empty(*images.shape[:-2], self.size, self.size)
        return torch.cat(crops)
