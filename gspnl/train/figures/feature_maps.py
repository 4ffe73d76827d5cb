"""Figure 4: maps of what blocks add, over the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gspnl._base.validate import one_of
from gspnl.errors import InputError
from gspnl.nn.auditing.features import block_inputs, photos_of
from gspnl.plotting._overlays import bar, frame, lay, overlay
from gspnl.plotting._style import styled
from gspnl.plotting.reach import reach_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS = {  # signed or not, and the label of the colours
    "norm": (False, "‖yᵢ − xᵢ‖ added, in multiples of the image's mean ‖xⱼ‖"),
    "size": (False, "‖yᵢ‖ behind the block, in multiples of the image's mean ‖xⱼ‖"),
    "mean": (True, "mean of yᵢ − xᵢ over the channels, in the features' own units"),
}


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Input and output of a block for each image of a batch, all its units together.

    The maps ``norm``, ``size`` and ``mean`` are of shape (B, ``*grid``).
    """

    name: str  #: of the block
    before: np.ndarray  #: x of shape (B, C, ``*grid``), in the features' own units
    after: np.ndarray  #: y of the same shape
    photos: np.ndarray  #: the images of shape (B, ``*spatial``), grey, in [0, 1]

    @property
    def norm(self) -> np.ndarray:
        """Added norm ‖y_i − x_i‖ over the channels, in multiples of the image's mean ‖x_j‖."""
        return self._relative(self.after - self.before)

    @property
    def size(self) -> np.ndarray:
        """Norm of the output, ‖y_i‖, in the same multiples."""
        return self._relative(self.after)

    @property
    def mean(self) -> np.ndarray:
        """Signed mean of y_i − x_i over the channels, where channels of opposite sign cancel."""
        return np.asarray((self.after - self.before).mean(1))

    @property
    def added(self) -> np.ndarray:
        """‖y − x‖ / ‖x‖ of each image, (B,); 0 where x = 0."""
        step, size = (
            np.linalg.norm(part.reshape(len(part), -1), axis=1)
            for part in (self.after - self.before, self.before)
        )
        return np.asarray(step / np.where(size > 0, size, 1.0))

    @property
    def likeness(self) -> float:
        """Correlation of ‖x_i‖ and ‖y_i‖ over all positions of all images; NaN if one is constant.

        Near 1, maps of the output look like maps of the input.
        """
        x, y = (np.linalg.norm(part, axis=1).reshape(-1) for part in (self.before, self.after))
        if min(np.ptp(x), np.ptp(y)) == 0:
            return float("nan")
        return float(np.corrcoef(x, y)[0, 1])

    @property
    def cover(self) -> np.ndarray:
        """The least share of positions with half of the added norm of an image, (B,).

        ½ where all positions gain alike, less where few gain most; 0 where nothing is added.
        """
        return np.array([reach_of(added.reshape(-1), 0.5) / added.size for added in self.norm])

    def numbers(self) -> dict[str, Any]:
        """The numbers of the pictures in plain types."""
        like = self.likeness
        return {
            "block": self.name,
            "images": len(self.before),
            "added": self.added.tolist(),
            "cover": self.cover.tolist(),
            "likeness": None if np.isnan(like) else like,
        }

    def plot(self, of: str = "norm", *, ax: Axes | None = None) -> Axes:
        """Draw a map over each image, as :func:`draw_feature_maps`."""
        return draw_feature_maps({"": [self]}, of, ax=ax)

    def _relative(self, features: np.ndarray) -> np.ndarray:
        norms = np.linalg.norm(self.before, axis=1)
        scale = norms.mean(axis=tuple(range(1, norms.ndim)), keepdims=True)
        return np.asarray(np.linalg.norm(features, axis=1) / np.where(scale > 0, scale, 1.0))


def feature_maps(model: nn.Module, images: Any, *, pictures: Any = None) -> tuple[FeatureMaps, ...]:
    r"""Compute what each block of a network adds at each position: figure 4 of the paper.

    The paper lays "feature maps" over photographs and does not define them. Here they are the norm
    over channels of what the block adds, :math:`\|y_i - x_i\|_2`, or its mean over channels.

    Parameters
    ----------
    model, images, pictures
        As in :func:`attention_ranges`.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), gnn.create("snl", 8))
    >>> (maps,) = figures.feature_maps(net, torch.randn(2, 3, 9, 9))
    >>> maps.norm.shape, float(maps.norm.max())  # a new block adds nothing
    ((2, 4, 4), 0.0)
    >>> len(figures.draw_feature_maps({"SNL": [maps]}, "mean").images)
    4
    """
    inputs, photos = block_inputs(model, images), photos_of(images, pictures)
    found = []
    for each in inputs:
        x = each.features.mT.reshape(len(images), -1, *each.grid)
        y = torch.cat([each.block(part) for part in torch.split(x, 1)])
        found.append(FeatureMaps(each.name, x.numpy(), y.numpy(), photos))
    return tuple(found)


@styled
def draw_feature_maps(
    found: Mapping[str, Sequence[FeatureMaps]], of: str = "norm", *, ax: Axes | None = None
) -> Axes:
    """Draw feature maps of several networks, by name, on the same images one under the other.

    A line of images, and below it a line for each block with one property of its
    :class:`FeatureMaps` (``of``: "norm", "size" or "mean"), up-sampled bilinearly, on one scale
    that ends at the largest value of all. Images must have 2 or 3 spatial dimensions.
    """
    signed, label = MAPS[one_of("of", of, MAPS)]
    parts = [(name, each) for name, some in found.items() for each in some]
    if len({each.photos.shape for _, each in parts}) != 1:
        raise InputError("there is nothing to draw, or not on one batch; pass FeatureMaps of one")
    maps = [getattr(each, of) for _, each in parts]
    top = max(float(np.abs(values).max()) for values in maps) or 1.0
    lines: list[tuple[str, list[np.ndarray]]] = []
    for (name, each), values in zip(parts, maps, strict=True):
        grid = each.before.shape[2:]
        middle = [n // 2 for n in grid]  # of a video, the time that is drawn
        pairs = [
            (frame(photo, middle, grid), frame(one, middle, grid))
            for photo, one in zip(each.photos, values, strict=True)
        ]
        if not lines:
            lines.append(("image", [overlay(photo, smooth=True) for photo, _ in pairs]))
        shown = [overlay(*pair, top, signed=signed, smooth=True) for pair in pairs]
        lines.append((f"{name}\n{each.name}".strip(), shown))
    ax = lay(lines, ax)
    bar(ax, top, label, signed=signed)
    return ax
