"""Crops, flips, resizing and normalisation of batches of images, by given uniforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.train.data.augmentations import AUGMENTATIONS

TRIES = 10  # random boxes, as in torchvision
RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Transform:
    """An augmentation of images, by a function of them and of ``draws`` uniforms for each."""

    draws: int
    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        if images.ndim < 4 or not images.is_floating_point():
            found = f"{images.dtype} of shape {tuple(images.shape)}"
            raise InputError(f"images must be floats of shape (b, C, *spatial, H, W), not {found}")
        return self.function(images, u)


@AUGMENTATIONS.register("pad_crop")
def pad_crop(pixels: int) -> Transform:
    """Move by up to ``pixels`` each way; zeros come in at the edges. All frames of a video alike.

    That is to pad by ``pixels`` and cut the former size out at one of (2 pixels + 1)² places.
    """
    whole_number("pad_crop's pixels", pixels)

    def crop(images: Tensor, u: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = functional.pad(images, (pixels,) * 4)
        # A view of every place to cut at, of which one is copied for each image.
        windows = padded.unfold(-2, height, 1).unfold(-2, width, 1).movedim((-4, -3), (1, 2))
        top, left = _choice(u, 2 * pixels + 1).unbind(1)
        return windows[torch.arange(len(images), device=images.device), top, left]

    return Transform(2, crop)


@AUGMENTATIONS.register("centre_crop")
def centre_crop(size: int) -> Transform:
    """Cut a square of ``size`` pixels out of the middle; images must not be smaller."""
    whole_number("centre_crop's size", size, 1)

    def crop(images: Tensor, u: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if size > min(height, width):
            raise InputError(
                f"centre_crop({size}) of images of {height} × {width} pixels; put "
                f"'resize({size})' before it"
            )
        top, left = (height - size) // 2, (width - size) // 2
        return images[..., top : top + size, left : left + size]

    return Transform(0, crop)


@AUGMENTATIONS.register("flip")
def flip() -> Transform:
    """Mirror left to right with probability 1/2: where u < 1/2. All frames of a video alike."""

    def mirror(images: Tensor, u: Tensor) -> Tensor:
        turned = (u[:, 0] < 0.5).view(-1, *[1] * (images.ndim - 1))
        return torch.where(turned, images.flip(-1), images)

    return Transform(1, mirror)


@AUGMENTATIONS.register("resize")
def resize(size: int) -> Transform:
    """Bring the smaller side to ``size`` pixels; the other follows, rounded down."""
    whole_number("resize's size", size, 1)

    def scale(images: Tensor, u: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        short = min(height, width)
        if short == size:
            return images
        return _resize(images, height * size // short, width * size // short)

    return Transform(0, scale)


@AUGMENTATIONS.register("random_resized_crop")
def random_resized_crop(size: int, smallest: float = 0.08) -> Transform:
    """Cut a random box out and bring it to a square of ``size`` pixels. All frames alike.

    The box has a part of the area between ``smallest`` and 1, and a ratio of width to height
    between 3/4 and 4/3, uniform in its logarithm (C. Szegedy et al., "Going deeper with
    convolutions", CVPR 2015). Ten boxes are tried, as in torchvision; if none fits, it is the
    largest in the middle that has such a ratio.
    """
    whole_number("random_resized_crop's size", size, 1)
    number("random_resized_crop's smallest", smallest, above=0, most=1)

    def crop(images: Tensor, u: Tensor) -> Tensor:
        crops = [images.new_empty(0, *images.shape[1:-2], size, size)]
        boxes = random_boxes(images.shape[-2], images.shape[-1], smallest, u).tolist()
        for image, (top, left, tall, wide) in zip(images, boxes, strict=True):
            part = image[None, ..., top : top + tall, left : left + wide]
            crops.append(_resize(part, size, size))
        return torch.cat(crops)

    return Transform(2 * TRIES + 2, crop)


def random_boxes(height: int, width: int, smallest: float, u: Tensor) -> Tensor:
    """Top, left, height and width of each box: (b, 4), int64."""
    part = smallest + (1 - smallest) * u[:, :TRIES].double()
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
    numbers = f"mean={tuple(mean)} and std={tuple(std)}"
    if not (centre.shape == width.shape == (channels,)):
        raise InputError(f"{numbers} are not one number for each of {channels} channels")
    if not (torch.isfinite(centre).all() and torch.isfinite(width).all() and (width > 0).all()):
        raise InputError(f"{numbers} must be finite, and std > 0")
    shape = (channels, *[1] * (images.ndim - 2))
    return (images - centre.to(images).view(shape)) / width.to(images).view(shape)


def _choice(u: Tensor, choices: Tensor | int) -> Tensor:
    """Whole numbers 0 to choices − 1, each as likely."""
    return (u.double() * choices).floor().long().clamp(max=choices - 1)


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    """Images at another size, bilinear; pixels that shrink are averaged."""
    flat = images.flatten(1, -3)  # the frames of a video are as channels
    sized = functional.interpolate(
        flat, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return sized.view(*images.shape[:-2], height, width)
