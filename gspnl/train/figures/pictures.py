"""Draw maps over images, in lines and columns on one axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gspnl.errors import InputError
from gspnl.plotting._axes import GAP, TALLEST, TITLE, WIDTH, new_axes
from gspnl.plotting.pictures import DIVERGING, attention_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL = 1.5  # inches, of the names of lines
LARGEST, HIGHEST = 2.3, 12.0  # inches, of a picture's width, and of all lines together
BAR = 0.75  # inches, of the colour bar with its label
COARSE = 128  # pixels that a small image is magnified to, so that smooth maps look smooth
COVER = 0.8  # opacity of a signed map over its image


def photos_of(images: Tensor, pictures: Any = None) -> np.ndarray:
    """Grey pictures in [0, 1], (B, *spatial), to draw on; by default the rescaled images."""
    if pictures is None:
        flat = images.detach().cpu().double().mean(1)
        axes = tuple(range(1, flat.ndim))
        low, high = flat.amin(axes, keepdim=True), flat.amax(axes, keepdim=True)
        return np.asarray((flat - low) / (high - low).clamp_min(1e-12))
    values = np.asarray(pictures, dtype=np.float64)
    if values.shape[0] != len(images) or values.shape[2:] != tuple(images.shape[2:]):
        raise InputError(
            f"pictures have shape {values.shape} beside images {tuple(images.shape)}; pass one for "
            "each image, (B, C, *spatial) with values in [0, 1]"
        )
    return np.asarray(np.clip(values.mean(1), 0, 1))


def frame(values: np.ndarray, cell: Sequence[int], grid: Sequence[int]) -> np.ndarray:
    """The picture (H, W) of a map, or of a video at the time of ``cell`` on ``grid``."""
    if values.ndim == 2:
        return values
    if values.ndim != 3:
        raise InputError(
            f"a map of {values.ndim} spatial dimension{'s' if values.ndim > 1 else ''} is no "
            "picture; take the arrays of the result"
        )
    time = min(int((cell[0] + 0.5) * values.shape[0] / grid[0]), values.shape[0] - 1)
    return np.asarray(values[time])


def overlay(
    photo: np.ndarray,
    values: np.ndarray | None = None,
    top: float = 1.0,
    *,
    signed: bool = False,
    smooth: bool = False,
) -> np.ndarray:
    """Lay a map (h, w) over an image (H, W) in [0, 1], up-sampled to it: (H, W, 3).

    Colours go from 0 to ``top``, or from −top if ``signed``; ``smooth`` up-samples bilinearly
    instead of by the nearest position.
    """
    times = max(1, -(-COARSE // max(photo.shape))) if smooth else 1
    photo = np.kron(photo, np.ones((times, times)))
    if values is None:
        return np.repeat(photo[..., None], 3, axis=2)
    size = {"size": photo.shape, "mode": "bilinear" if smooth else "nearest-exact"}
    shares = torch.from_numpy(np.ascontiguousarray(values / top))[None, None]
    share = F.interpolate(shares, **size)[0, 0].numpy()  # type: ignore[arg-type]
    colours = _colours(signed)((share + 1) / 2 if signed else share)
    dim = np.repeat((0.1 + 0.4 * photo)[..., None], 3, axis=2)
    alpha = colours[..., 3:] * (COVER if signed else 1.0)
    return np.asarray(alpha * colours[..., :3] + (1 - alpha) * dim)


def _colours(signed: bool) -> Any:
    from matplotlib import colormaps

    return colormaps[DIVERGING] if signed else attention_colours()


def lay(
    pictures: Sequence[Sequence[np.ndarray | None]],
    titles: Sequence[Sequence[str]],
    names: Sequence[str],
    ax: Axes | None,
) -> Axes:
    """Draw lines of pictures with a title each and a name for the line; None leaves a gap.

    Data units of the axes are inches.
    """
    whole = WIDTH
    if ax is not None:
        whole = ax.get_position().width * ax.figure.get_figwidth()  # type: ignore[union-attr]
    label = LABEL if any(names) else 0.0
    columns = max(map(len, pictures))
    slot = (whole - label) / columns
    drawn = [p for line in pictures for p in line if p is not None]
    ratio = max(p.shape[0] / p.shape[1] for p in drawn)
    across = min(slot - GAP, LARGEST, TALLEST / ratio, HIGHEST / len(pictures) / ratio)
    slot = min(slot, max(across + GAP, 2.4 if any(len(t) > 12 for t in titles[0]) else 0.0))
    title = TITLE if any(map(any, titles)) else GAP
    step = across * ratio + title
    if ax is None:
        ax = new_axes(label + columns * slot + 0.1, len(pictures) * step + BAR + 0.1)
    for line, (row, texts, name) in enumerate(zip(pictures, titles, names, strict=True)):
        top = line * step + title
        ax.text(label - 0.1, top + across * ratio / 2, name, va="center", ha="right", fontsize=9)
        for column, (picture, text) in enumerate(zip(row, texts, strict=True)):
            left = label + column * slot
            down = across * ratio
            shown = np.ones((1, 1, 3)) if picture is None else picture
            if picture is not None:
                down = across * picture.shape[0] / picture.shape[1]
            ax.imshow(shown, extent=(left, left + across, top + down, top))
            ax.text(left, top - 0.05, text, fontsize=8.5, va="bottom", ha="left")
    ax.set_xlim(0, label + columns * slot)
    ax.set_ylim(len(pictures) * step + BAR, 0)
    ax.set_axis_off()
    return ax


def mark(ax: Axes, picture: int, cell: Sequence[int], grid: Sequence[int]) -> None:
    """Draw a ring around a position of the grid, on the picture of this number."""
    x0, x1, y1, y0 = ax.images[picture].get_extent()
    x = x0 + (cell[-1] + 0.5) / grid[-1] * (x1 - x0)
    y = y0 + (cell[-2] + 0.5) / grid[-2] * (y1 - y0)
    for colour, edge in (("black", 2.8), ("white", 1.3)):
        ax.plot(x, y, "o", markersize=8, markerfacecolor="none", markeredgecolor=colour,
                markeredgewidth=edge)  # fmt: skip


def bar(ax: Axes, top: float, label: str, *, signed: bool = False, extend: str = "neither") -> None:
    """Draw the colour bar of :func:`overlay`, with a label."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    colours = ScalarMappable(Normalize(-top if signed else 0.0, top), _colours(signed))
    wide, high = ax.get_xlim()[1], ax.get_ylim()[0]  # inches
    width = min(5.0, 0.7 * wide)
    inset = ax.inset_axes(((wide - width) / 2 / wide, 0.42 / high, width / wide, 0.12 / high))
    drawn = ax.figure.colorbar(
        colours, cax=inset, orientation="horizontal", extend=extend, ticks=MaxNLocator(5)
    )
    inset.set_facecolor("0.3")  # as dim as the images, under colours that are not opaque
    inset.tick_params(labelsize=8)
    drawn.set_label(label, fontsize=9)
