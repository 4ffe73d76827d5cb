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
    labels : array of shape (n · views,), int64
    frames, stride : int
        T, and how many frames of the video lie between two of the clip, plus 1.
    draws : int
        1: the uniform that ``read`` is given places the clip. 0: nothing is left to chance.
    views : int
        Clips of each video, in the middles of as many equal parts; sample i is clip i mod views.
    """

    files: tuple[Path, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    frames: int
    stride: int
    draws: int = 0
    views: int = 1

    def name(self, index: int) -> str:
        video, view = divmod(index, self.views)
        which = f", clip {view + 1} of {self.views}" if self.views > 1 else ""
        return f"{self.files[video]}{which}"

    def read(self, index: int, u: np.ndarray | None = None) -> Tensor:
        video, view = divmod(index, self.views)
        place = (view + 0.5) / self.views
        if u is not None:
            drawn = np.asarray(u)
            if drawn.shape != (self.draws,) or not ((drawn >= 0) & (drawn < 1)).all():
                raise InputError(f"u={u!r} must be {self.draws} number(s) in [0, 1)")
            if self.draws:
                place = float(drawn[0])
        file = self.files[video]
        clip = read_clip(
            content(file), str(file), frames=self.frames, stride=self.stride, place=place
        )
        return torch.from_numpy(np.ascontiguousarray(clip.transpose(3, 0, 1, 2)))

    def take(self, indices: np.ndarray) -> None:
        return None
