"""Draw maps over images, in lines and columns on one axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from gspnl.errors import InputError
from gspnl.plotting._axes import GAP, TALLEST, TITLE, new_axes, width_of
from gspnl.plotting._style import colours
from gspnl.plotting.pictures import DIVERGING, attention_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL = 1.5  # inches, of the names of lines
LARGEST, HIGHEST = 2.3, 12.0  # inches, of a picture's width, and of all lines together
BAR = 0.75  # inches, of the colour bar with its label
COARSE = 128  # pixels that a small image is magnified to, so that smooth maps look smooth
COVER = 0.8  # opacity of a signed map over its image


def frame(values: np.ndarray, cell: Sequence[int], grid: Sequence[int]) -> np.ndarray:
    """The picture (H, W) of a map, or of a video at the time of ``cell`` on ``grid``."""
    if values.ndim == 2:
        return values
    if values.ndim != 3:
        raise InputError(
            "a map of 1 spatial dimension is no picture; take the arrays of the result"
        )
    time = min(int((cell[0] + 0.5) * len(values) / grid[0]), len(values) - 1)
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
    pairs = list(zip(photo.shape, values.shape, strict=True))
    if smooth:
        zoom = [n / m for n, m in pairs]
        share = ndimage.zoom(values / top, zoom, order=1, mode="nearest", grid_mode=True)
    else:
        places = [((np.arange(n) + 0.5) * m / n).astype(int) for n, m in pairs]
        share = values[np.ix_(*places)] / top
    colours = _colours(signed)((share + 1) / 2 if signed else share)
    dim = np.repeat((0.1 + 0.4 * photo)[..., None], 3, axis=2)
    alpha = colours[..., 3:] * (COVER if signed else 1.0)
    return np.asarray(alpha * colours[..., :3] + (1 - alpha) * dim)


def _colours(signed: bool) -> Any:
    return colours(DIVERGING) if signed else attention_colours()


def lay(
    lines: Sequence[tuple[str, Sequence[np.ndarray]]],
    ax: Axes | None,
    titles: Sequence[Sequence[str]] = (),
) -> Axes:
    """Draw lines of pictures, each line with a name, under titles if any, on axes in inches."""
    label = LABEL if any(name for name, _ in lines) else 0.0
    columns = max(len(pictures) for _, pictures in lines)
    slot = (width_of(ax) - label) / columns
    ratio = max(p.shape[0] / p.shape[1] for _, line in lines for p in line)
    across = min(slot - GAP, LARGEST, TALLEST / ratio, HIGHEST / len(lines) / ratio)
    slot = min(slot, max(across + GAP, 2.4 if titles else 0.0))
    title = TITLE if titles else GAP
    step = across * ratio + title
    if ax is None:
        ax = new_axes(label + columns * slot + 0.1, len(lines) * step + BAR + 0.1)
    for i, (name, pictures) in enumerate(lines):
        top = i * step + title
        ax.text(label - 0.1, top + across * ratio / 2, name, va="center", ha="right", fontsize=9)
        for column, picture in enumerate(pictures):
            left = label + column * slot
            down = across * picture.shape[0] / picture.shape[1]
            ax.imshow(picture, extent=(left, left + across, top + down, top))
            if titles:
                ax.text(left, top - 0.05, titles[i][column], fontsize=8.5, va="bottom", ha="left")
    ax.set_xlim(0, label + columns * slot)
    ax.set_ylim(len(lines) * step + BAR, 0)
    ax.set_axis_off()
    return ax


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
