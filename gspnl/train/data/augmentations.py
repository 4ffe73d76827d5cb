"""Chains of augmentations, made from text such as ``"pad_crop(4)"``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from gspnl._base.registry import Registry
from gspnl.errors import InputError

CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*")


class Augmentation(Protocol):
    r"""A function without state of images (b, C, \*spatial) and uniforms (b, draws) in [0, 1)."""

    @property
    def draws(self) -> int: ...

    def __call__(self, images: Tensor, u: Tensor) -> Tensor: ...


AUGMENTATIONS: Registry[Callable[..., Augmentation]] = Registry("augmentation")


class Chain:
    """Augmentations in order, each with uniforms of its own."""

    def __init__(self, parts: Sequence[Augmentation]) -> None:
        self.parts = tuple(parts)
        self.draws = sum(part.draws for part in self.parts)

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        if u.shape != (len(images), self.draws):
            needed = f"{len(images)} images need ({len(images)}, {self.draws})"
            raise InputError(f"u has shape {tuple(u.shape)}; {needed}")
        used = 0
        for part in self.parts:
            images = part(images, u[:, used : used + part.draws])
            used += part.draws
        return images


def chain(parts: str | Augmentation | Sequence[str | Augmentation]) -> Chain:
    """Make a chain of augmentations, each an object or text such as ``"pad_crop(4)"``.

    Parameters
    ----------
    parts : str, Augmentation or sequence of them
        Names of :data:`AUGMENTATIONS`, with numbers in brackets where they take any.

    Returns
    -------
    Chain
        Called with images ``(b, C, *spatial)``, float32 in [0, 1], and uniforms (b, draws) in
        [0, 1).

    Examples
    --------
    >>> chain(["pad_crop(4)", "flip"]).draws
    3
    >>> chain("pad_crop")
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: 'pad_crop' does not fit pad_crop(pixels): missing a...
    """
    if isinstance(parts, str) or not isinstance(parts, Sequence):
        parts = [parts]
    for part in parts:
        own = callable(part) and isinstance(getattr(part, "draws", None), int)
        if not (own or isinstance(part, str)):
            raise InputError(
                f"{part!r} is no augmentation: give a text such as 'flip', or a function of images "
                "and uniforms that has the attribute draws"
            )
    return Chain([_from_text(part) if isinstance(part, str) else part for part in parts])


def _from_text(text: str) -> Augmentation:
    match = CALL.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is no augmentation; write a name, or as 'pad_crop(4)'")
    name, inside = match.groups()
    make = AUGMENTATIONS[name]
    values: list[float] = []
    for piece in inside.split(",") if inside and inside.strip() else ():
        try:
            whole = piece.strip().lstrip("+-").isdecimal()
            values.append(int(piece) if whole else float(piece))
        except ValueError:
            raise InputError(
                f"{piece.strip()!r} in {text!r} is no number; write as 'pad_crop(4)'"
            ) from None
    signature = inspect.signature(make)
    try:
        signature.bind(*values)
    except TypeError as error:
        takes = ", ".join(signature.parameters)
        raise InputError(f"{text!r} does not fit {name}({takes}): {error}") from error
    return make(*values)
