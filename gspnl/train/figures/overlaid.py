"""Figure 4, drawn: what blocks add, over the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gspnl.errors import InputError
from gspnl.train.figures.added import FeatureMaps
from gspnl.train.figures.pictures import bar, frame, lay, paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS = {  # what can be drawn: whether it is signed, and what the colours measure
    "norm": (False, "‖yᵢ − xᵢ‖ added, in multiples of the image's mean ‖xⱼ‖"),
    "size": (False, "‖yᵢ‖ behind the block, in multiples of the image's mean ‖xⱼ‖"),
    "mean": (True, "mean of yᵢ − xᵢ over the channels, in the features' own units"),
}


def draw_feature_maps(
    found: Mapping[str, Sequence[FeatureMaps]], of: str = "norm", *, ax: Axes | None = None
) -> Axes:
    """Draw the feature maps of several blocks or networks one under the other, on one scale.

    Parameters
    ----------
    found : mapping from name to sequence of FeatureMaps
        As :func:`feature_maps` returns them, on the same images.
    of : {"norm", "size", "mean"}
        The property of :class:`FeatureMaps` that is drawn.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A line of images, and below it a line of maps for each name, up-sampled bilinearly. The
        colours end at the largest value of all.

    Raises
    ------
    InputError
        Where there is nothing to draw, for an unknown map, or images without a picture.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> block, images = gnn.create("nl", 4, zero_init=False), torch.randn(3, 4, 6, 6)
    >>> found = {"nl": figures.feature_maps(block, images)}
    >>> len(figures.draw_feature_maps(found, "mean").images)
    6
    """
    if of not in MAPS:
        raise InputError(f"of={of!r} must be one of {', '.join(map(repr, MAPS))}")
    parts = [(name, each) for name, some in found.items() for each in some]
    if len({each.photos.shape for _, each in parts}) != 1:
        raise InputError("there is nothing to draw, or not on one batch; pass FeatureMaps of one")
    signed, label = MAPS[of]
    values = [getattr(each, of) for _, each in parts]
    top = max(float(np.abs(each).max()) for each in values) or 1.0
    first = parts[0][1]
    grid = first.before.shape[2:]
    middle = [n // 2 for n in grid]
    pictures = [[paper(frame(photo, middle, grid), smooth=True) for photo in first.photos]]
    for (_, each), maps in zip(parts, values, strict=True):
        grid = each.before.shape[2:]
        middle = [n // 2 for n in grid]
        pictures.append(
            [
                paper(
                    frame(photo, middle, grid), frame(one, middle, grid), top,
                    signed=signed, smooth=True,
                )
                for photo, one in zip(each.photos, maps, strict=True)
            ]
        )  # fmt: skip
    names = ["image", *(f"{name}\n{each.name}".strip() for name, each in parts)]
    ax = lay(pictures, [[""] * len(first.photos)] * len(pictures), names, ax)
    bar(ax, top, label, signed=signed)
    return ax
