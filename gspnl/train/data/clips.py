"""A split whose samples are clips of video files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.train.data.listing import content
from gspnl.train.data.videos import read_clip


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of video files, decoded when they are asked for.

    Parameters
    ----------
    files : tuple of Path
    labels : array of shape (n,), int64
    frames, stride : int
        T, and how many frames of the video lie between two of the clip, plus 1.
    draws : int
        1: the uniform that ``read`` is given places the clip. 0: nothing is left to chance.
    views : int
        Clips of each video, in as many equal parts of it, one after the other along T. With
        ``draws`` 0 each is in the middle of its part; else all are as far into theirs.
    """

    files: tuple[Path, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    frames: int
    stride: int
    draws: int = 0
    views: int = 1

    def name(self, index: int) -> str:
        return str(self.files[index])

    def read(self, index: int, u: np.ndarray | None = None) -> Tensor:
        """One video's clips, uint8 of shape (3, views · T, H, W)."""
        part = 0.5
        if u is not None:
            drawn = np.asarray(u)
            if drawn.shape != (self.draws,) or not ((drawn >= 0) & (drawn < 1)).all():
                raise InputError(f"u={u!r} must be {self.draws} number(s) in [0, 1)")
            if self.draws:
                part = float(drawn[0])
        data, name = content(self.files[index]), self.name(index)
        found = [
            read_clip(
                data, name, frames=self.frames, stride=self.stride, place=(view + part) / self.views
            )
            for view in range(self.views)
        ]
        return torch.from_numpy(np.ascontiguousarray(np.concatenate(found).transpose(3, 0, 1, 2)))

    def take(self, indices: np.ndarray) -> None:
        return None
