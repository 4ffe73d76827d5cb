"""Plot a number of all attention heads as a map, layers × heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl._base.validate import one_of
from gspnl.plotting._axes import new_axes
from gspnl.plotting._style import colours, styled
from gspnl.plotting.attention_heads import Head, rows_of, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Number → (title, colour map, ends of the colours; None where the data decide).
NUMBERS: dict[str, tuple[str, str, float | None, float | None]] = {
    "gap": ("spectral gap 1 − |μ₂|", "viridis", 0.0, 1.0),
    "chung_gap": ("λ₂ of the directed Laplacian", "viridis", 0.0, None),
    "sink_mass": ("largest stationary mass", "magma", 0.0, 1.0),
    "entropy": ("entropy of the rows, nats", "viridis", 0.0, None),
    "effective_rank": ("effective rank", "viridis", 1.0, None),
    "distance": ("mean distance, tokens", "viridis", 0.0, None),
    "low_frequency_share": ("share of the write in the token mean", "magma", 0.0, 1.0),
    "reversible": ("share of the flow that does not return", "magma", 0.0, 1.0),
    "curl": ("curl of the scores", "magma", 0.0, 1.0),
    "dirichlet": ("Dirichlet energy of the features", "viridis", 0.0, 2.0),
    "dobrushin": ("Dobrushin coefficient", "viridis", 0.0, 1.0),
    "spectral_norm": ("largest singular value of A", "magma", None, None),
}
MISSING = "#d9d9d9"
LABELS = 24  # layers with a label each; of more, every second, third, …
WRITTEN = 80  # cells with their number in them


@styled
def head_map(heads: Sequence[Any], number: str = "gap", *, ax: Axes | None = None) -> Axes:
    """Draw one number of all heads as a map, a row a layer and a column a head.

    Parameters
    ----------
    heads : sequence of HeadRecord
        ``audit.attention``, in the order of execution.
    number : str
        "gap", "chung_gap", "sink_mass", "entropy", "effective_rank", "distance",
        "low_frequency_share", "reversible", "curl", "dirichlet", "dobrushin" or "spectral_norm".
        Heads without it are grey.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import torch, gspnl
    >>> from gspnl import nn as gnn
    >>> _ = torch.manual_seed(0)
    >>> layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    >>> audit = gnn.audit(layer, torch.randn(1, 9, 16))
    >>> ax = gspnl.plotting.head_map(audit.attention, "entropy")
    >>> ax.get_title()
    'entropy of the rows, nats'
    """
    one_of("number", number, NUMBERS)
    values, layers = _grid(heads, number)
    rows, columns = values.shape
    title, name, low, high = NUMBERS[number]
    ax = new_axes(1.6 + 0.45 * columns, 1.0 + 0.32 * rows) if ax is None else ax
    palette = colours(name).with_extremes(bad=MISSING)
    known = values[np.isfinite(values)]
    low = float(known.min(initial=0.0)) if low is None and known.size else (low or 0.0)
    high = float(known.max(initial=low)) if high is None and known.size else (high or 1.0)
    high = high if high > low else low + 1.0
    image = ax.imshow(
        np.ma.masked_invalid(values), cmap=palette, vmin=low, vmax=high, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    if values.size <= WRITTEN:
        for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
            dark = (values[i, j] - low) / (high - low) < 0.6
            ax.text(j, i, _text(values[i, j]), ha="center", va="center", fontsize=8,
                    color="white" if dark else "black")  # fmt: skip
    step = max(1, math.ceil(rows / LABELS))
    ax.set_yticks(range(0, rows, step), [short_name(each) for each in layers[::step]], fontsize=8)
    ax.set_xticks(range(0, columns, max(1, math.ceil(columns / 16))))
    ax.set_xlabel("head")
    ax.set_ylabel("layer")
    ax.set_title(title, fontsize=10)
    ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02)
    return ax


def _grid(heads: Sequence[Head], number: str) -> tuple[np.ndarray, list[str]]:
    """Return the numbers (layers, heads), NaN where there is none, and the layers."""
    rows, layers = rows_of(heads)
    values = np.full((len(layers), 1 + max(head.head for head in heads)), np.nan)
    for row, head in zip(rows, heads, strict=True):
        value = getattr(head, number)
        values[row, head.head] = np.nan if value is None else float(value)
    return values, layers


def _text(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
