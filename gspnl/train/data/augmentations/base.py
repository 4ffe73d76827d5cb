"""What an augmentation is, and checks they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from gspnl._base.registry import Registry
from gspnl.errors import InputError


class Augmentation(Protocol):
    """A function of images and uniforms; it keeps no state, so equal ones give equal images."""

    @property
    def draws(self) -> int:
        """How many uniforms a sample takes."""

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        r"""Change images (b, C, \*spatial) by uniforms u (b, draws) in [0, 1)."""


AUGMENTATIONS: Registry[Callable[..., Augmentation]] = Registry("augmentation")


def check_images(images: Tensor, u: Tensor, draws: int) -> None:
    """Raise unless images and uniforms go together."""
    if images.ndim < 4 or not images.is_floating_point():
        raise InputError(
            f"images must be floats of shape (b, C, *spatial, H, W), not {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
    if u.shape != (len(images), draws):
        raise InputError(
            f"u has shape {tuple(u.shape)}; {len(images)} images need ({len(images)}, {draws})"
        )


def check_whole(value: object, what: str, least: int) -> None:
    """Raise unless a number is whole and at least so much."""
    if type(value) is not int or value < least:
        raise InputError(f"{what}, got {value!r}; it must be a whole number ≥ {least}")


def pick(u: Tensor, choices: Tensor | int) -> Tensor:
    """Whole numbers 0 to choices − 1, each as likely."""
    last = choices - 1
    found = (u.double() * choices).floor().long()
    return found.clamp(max=last) if isinstance(last, int) else found.minimum(last)
