"""Plot signals on the pixels of a photo: modes, attention, filtered photos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl._base.array import constant
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.plotting._axes import new_axes, ring, tiles
from gspnl.plotting._style import colours, styled
from gspnl.plotting.spectra import multiplicities
from gspnl.signals.images import to_photo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from gspnl.filters.partial_spectrum import PartialSpectrum
    from gspnl.filters.spectrum import Spectrum
    from gspnl.graph.graph import FeatureGraph

DIVERGING = "PuOr_r"  # white at 0; distinct for colour-blind readers too


@styled
def modes(
    spec: Spectrum | PartialSpectrum,
    shape: tuple[int, int],
    k: int = 8,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the modes of least λ of a photo's graph as pictures, white where a mode is 0.

    Parameters
    ----------
    spec : Spectrum or PartialSpectrum
    shape : (int, int)
        (H, W) of the photo.
    k : int
        Number of modes, from the second on; the first one, λ = 0, is constant or nearly so. Only
        modes with λ < 1 are drawn, or the first one if there is no other.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With one image for each mode, scaled by the 99.5 % quantile of its magnitude.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> photo = np.random.default_rng(0).random((20, 30, 3))
    >>> X = gspnl.images.photo_features(photo)
    >>> spec = gspnl.feature_graph(X, kernel="anchors", anchors=8).spectrum()
    >>> len(gspnl.plotting.modes(spec, (20, 30), k=4).images)
    4
    """
    k = whole_number("k", k, 1)
    lam = np.repeat(constant(spec.eigenvalues), multiplicities(spec))[: k + 1]
    count = max(1, int((lam < 1).sum()))
    first = 1 if count > 1 else 0
    columns = constant(spec.modes(count))[:, first:]
    size = np.quantile(np.abs(columns), 0.995, axis=0)
    peak = np.abs(columns).max(axis=0)
    scale = np.where(size > 0, size, np.where(peak > 0, peak, 1.0))
    pictures = [to_photo(u, shape) for u in (columns / scale).T]
    titles = [f"mode {i + 1},  λ = {lam[i]:.4f}" for i in range(first, count)]
    ax, image = tiles(
        pictures,
        titles,
        ax,
        across=4,
        room=1.8,
        extra=0.55,
        cmap=colours(DIVERGING),
        vmin=-1,
        vmax=1,
    )
    bar = ax.figure.colorbar(
        image, ax=ax, location="bottom", shrink=0.3, aspect=30, pad=0.02, ticks=[-1, 0, 1]
    )
    bar.set_label("value of the mode, each scaled to ±1")
    return ax


@styled
def attention(graph: FeatureGraph, node: int, photo: Any, *, ax: Axes | None = None) -> Axes:
    r"""Draw a row of A over the photo: the weights with which a node averages all nodes.

    Parameters
    ----------
    graph : FeatureGraph
        Graph of the pixels of the photo, row by row.
    node : int
        Pixel (x, y) is node y W + x.
    photo : array of shape (H, W, 3) or (H, W), or the pair (H, W)
        The background; a pair (H, W) gives a white one.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Colours show :math:`N A_{ij}`, which is 1 for equal weights. A ring marks the node.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> photo = np.random.default_rng(0).random((20, 30, 3))
    >>> X = gspnl.images.photo_features(photo)
    >>> graph = gspnl.feature_graph(X, kernel="anchors", anchors=8)
    >>> gspnl.plotting.attention(graph, 10 * 30 + 15, photo).get_title()
    'attention of pixel (15, 10)'
    """
    from matplotlib.ticker import MaxNLocator

    blank = isinstance(photo, tuple) and len(photo) == 2
    paper = np.ones(photo) if blank else np.asarray(photo, dtype=np.float64)
    if paper.ndim not in (2, 3):
        raise InputError(
            f"photo has shape {paper.shape}; pass (H, W, 3), (H, W), or the pair (H, W)"
        )
    height, width = paper.shape[:2]
    row = to_photo(constant(graph.rows(node)), (height, width)) * graph.n_nodes
    node %= graph.n_nodes
    x, y = node % width, node // width
    ax = new_axes(4.6, 4.0 * height / width + 0.4) if ax is None else ax
    grey = paper if paper.ndim == 2 else paper.mean(axis=2)
    ax.imshow(
        0.1 + 0.4 * grey, cmap=colours("gray"), vmin=0, vmax=1
    )  # dim, so that bright colours stand out
    image = ax.imshow(row, cmap=attention_colours(), vmin=0, vmax=float(row.max()))
    ring(ax, -1, (y, x), (height, width))
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)
    ax.set_axis_off()
    ax.set_title(f"attention of pixel ({x}, {y})", fontsize=10)
    bar = ax.figure.colorbar(
        image, ax=ax, location="bottom", pad=0.02, aspect=30, ticks=MaxNLocator(4)
    )
    bar.ax.set_facecolor(str(0.25))  # as dim as the photo, since colours are transparent
    bar.set_label("weight, in multiples of 1/N")
    return ax


@styled
def filtered(photos: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """Draw photos of one size side by side, each under its name.

    Parameters
    ----------
    photos : mapping from title to array of shape (H, W, 3) or (H, W)
        Values are clipped to [0, 1].
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> photo = np.random.default_rng(0).random((20, 30, 3))
    >>> ax = gspnl.plotting.filtered({"photo": photo, "negative": 1 - photo})
    >>> [text.get_text() for text in ax.texts]
    ['photo', 'negative']
    """
    pictures = [np.clip(np.asarray(picture, dtype=np.float64), 0, 1) for picture in photos.values()]
    shapes = sorted({picture.shape[:2] for picture in pictures})
    if len(shapes) != 1 or not all(picture.ndim in (2, 3) for picture in pictures):
        raise InputError(f"photos have shapes {shapes}; pass one or more of one shape (H, W, 3)")
    return tiles(
        pictures, list(photos), ax, across=3, room=2.7, cmap=colours("gray"), vmin=0, vmax=1
    )[0]


def attention_colours() -> Colormap:
    """Colours from transparent to bright, so that the photo shows where attention is low."""
    from matplotlib.colors import ListedColormap

    share = np.linspace(0, 1, 256)
    bright = colours("inferno")(0.25 + 0.7 * share)
    bright[:, 3] = np.minimum(1.0, 4 * share) * 0.9
    return ListedColormap(bright)
