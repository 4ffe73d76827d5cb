"""Mirror images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gspnl.train.data.augmentations.base import AUGMENTATIONS, check_images


@AUGMENTATIONS.register("flip")
@dataclass(frozen=True)
class Flip:
    """Mirror left to right with probability 1/2: where u < 1/2. All frames of a video alike.

    Examples
    --------
    >>> import torch
    >>> images = torch.tensor([[[[0.0, 1.0]]], [[[0.0, 1.0]]]])
    >>> Flip()(images, torch.tensor([[0.1], [0.9]])).flatten(1).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    draws: ClassVar[int] = 1

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        check_images(images, u, self.draws)
        turned = (u[:, 0] < 0.5).view(-1, *[1] * (images.ndim - 1))
        return torch.where(turned, images.flip(-1), images)
