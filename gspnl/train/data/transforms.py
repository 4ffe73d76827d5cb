"""Crops, flips, resizing and normalisation of batches of images, by given uniforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.train.data.augmentations import AUGMENTATIONS, check_uniforms

TRIES = 10  # random boxes, as in torchvision
RATIO = (3 / 4, 4 / 3)


@AUGMENTATIONS.register("pad_crop")
@dataclass(frozen=True)
class PadCrop:
    """Move by up to ``pixels`` each way; zeros come in at the edges. All frames of a video alike.

    That is to pad by ``pixels`` and cut the former size out at one of (2 pixels + 1)² places.
    """

    pixels: int
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        whole_number("pad_crop's pixels", self.pixels)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        height, width = _image_size(images, u, self.draws)
        padded = functional.pad(images, (self.pixels,) * 4)
        # A view of every place to cut at, of which one is copied for each image.
        windows = padded.unfold(-2, height, 1).unfold(-2, width, 1).movedim((-4, -3), (1, 2))
        top, left = _choice(u, 2 * self.pixels + 1).unbind(1)
        return windows[torch.arange(len(images), device=images.device), top, left]


@AUGMENTATIONS.register("centre_crop")
@dataclass(frozen=True)
class CentreCrop:
    """Cut a square of ``size`` pixels out of the middle; images must not be smaller."""

    size: int
    draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        whole_number("centre_crop's size", self.size, 1)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        height, width = _image_size(images, u, self.draws)
        if self.size > min(height, width):
            raise InputError(
                f"centre_crop({self.size}) of images of {height} × {width} pixels; put "
                f"'resize({self.size})' before it"
            )
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return images[..., top : top + self.size, left : left + self.size]


@AUGMENTATIONS.register("flip")
@dataclass(frozen=True)
class Flip:
    """Mirror left to right with probability 1/2: where u < 1/2. All frames of a video alike."""

    draws: ClassVar[int] = 1

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        _image_size(images, u, self.draws)
        turned = (u[:, 0] < 0.5).view(-1, *[1] * (images.ndim - 1))
        return torch.where(turned, images.flip(-1), images)


@AUGMENTATIONS.register("resize")
@dataclass(frozen=True)
class Resize:
    """Bring the smaller side to ``size`` pixels; the other follows, rounded down."""

    size: int
    draws: ClassVar[int] = 0

    def __post_init__(self) -> None:
        whole_number("resize's size", self.size, 1)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        height, width = _image_size(images, u, self.draws)
        short = min(height, width)
        if short == self.size:
            return images
        return _resize(images, height * self.size // short, width * self.size // short)


@AUGMENTATIONS.register("random_resized_crop")
@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random box out and bring it to a square of ``size`` pixels. All frames alike.

    The box has a part of the area between ``smallest`` and 1, and a ratio of width to height
    between 3/4 and 4/3, uniform in its logarithm (C. Szegedy et al., "Going deeper with
    convolutions", CVPR 2015). Ten boxes are tried, as in torchvision; if none fits, it is the
    largest in the middle that has such a ratio.
    """

    size: int
    smallest: float = 0.08
    draws: ClassVar[int] = 2 * TRIES + 2

    def __post_init__(self) -> None:
        whole_number("random_resized_crop's size", self.size, 1)
        number("random_resized_crop's smallest", self.smallest, above=0, most=1)

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
        top = torch.where(found, _choice(u[:, -2], height - tall + 1), (height - tall) // 2)
        left = torch.where(found, _choice(u[:, -1], width - wide + 1), (width - wide) // 2)
        return torch.stack([top, left, tall, wide], 1)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        height, width = _image_size(images, u, self.draws)
        boxes = self.boxes(height, width, u).tolist()
        crops = [
            _resize(image[None, ..., top : top + tall, left : left + wide], self.size, self.size)
            for image, (top, left, tall, wide) in zip(images, boxes, strict=True)
        ]
        if not crops:
            return images.new_empty(*images.shape[:-2], self.size, self.size)
        return torch.cat(crops)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    r"""Bring each channel to mean 0 and deviation 1: :math:`(x_c - \mu_c) / \sigma_c`.

    Parameters
    ----------
    images : tensor of shape (b, C, \*spatial)
    mean, std : sequence of float
        Of each channel over the training images; deviations > 0.

    Examples
    --------
    >>> normalise(torch.ones(1, 1, 1, 2), [0.5], [0.25]).tolist()
    [[[[2.0, 2.0]]]]
    """
    channels = images.shape[1]
    centre, width = (torch.tensor(list(one), dtype=torch.float64) for one in (mean, std))
    if not (centre.shape == width.shape == (channels,)):
        raise InputError(
            f"mean={tuple(mean)} and std={tuple(std)} are not one number for each of {channels} "
            "channels"
        )
    if not (torch.isfinite(centre).all() and torch.isfinite(width).all() and (width > 0).all()):
        raise InputError(f"mean={tuple(mean)} must be finite, and std={tuple(std)} finite and > 0")
    shape = (channels, *[1] * (images.ndim - 2))
    return (images - centre.to(images).view(shape)) / width.to(images).view(shape)


def _image_size(images: Tensor, u: Tensor, draws: int) -> tuple[int, int]:
    """Height and width of images that go with their uniforms."""
    if images.ndim < 4 or not images.is_floating_point():
        raise InputError(
            f"images must be floats of shape (b, C, *spatial, H, W), not {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
    check_uniforms(images, u, draws)
    return images.shape[-2], images.shape[-1]


def _choice(u: Tensor, choices: Tensor | int) -> Tensor:
    """Whole numbers 0 to choices − 1, each as likely."""
    last = choices - 1
    found = (u.double() * choices).floor().long()
    return found.clamp(max=last) if isinstance(last, int) else found.minimum(last)


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    """Images at another size, bilinear; pixels that shrink are averaged."""
    flat = images.flatten(1, -3)  # the frames of a video are as channels
    sized = functional.interpolate(
        flat, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return sized.view(*images.shape[:-2], height, width)
