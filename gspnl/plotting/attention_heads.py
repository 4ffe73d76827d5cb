"""Plot the attention heads of a network: maps of heads × layers, eigenvalues, and depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gspnl._base.validate import one_of
from gspnl.errors import InputError
from gspnl.plotting._axes import BLUE, GREY, ORANGE, curve_axes, new_axes
from gspnl.plotting._style import colours, styled

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


class Head(Protocol):
    """What is drawn of a head."""

    @property
    def layer(self) -> str: ...
    @property
    def head(self) -> int: ...
    @property
    def eigenvalues(self) -> np.ndarray | None: ...


class Layer(Protocol):
    """What is drawn of a layer."""

    @property
    def layer(self) -> str: ...
    @property
    def off_mean(self) -> float | None: ...
    @property
    def dirichlet(self) -> float | None: ...


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
    ax.set_yticks(range(0, rows, step), [_short(each) for each in layers[::step]], fontsize=8)
    ax.set_xticks(range(0, columns, max(1, math.ceil(columns / 16))))
    ax.set_xlabel("head")
    ax.set_ylabel("layer")
    ax.set_title(title, fontsize=10)
    ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02)
    return ax


@styled
def head_eigenvalues(heads: Sequence[Head], *, ax: Axes | None = None) -> Axes:
    r"""Draw the eigenvalues μ of A of all heads in the complex plane, with the unit circle.

    All are in the disc \|μ\| ≤ 1, with μ = 1 of the constant mode; those of a reversible A are
    real. Colours go from the first layer to the last.

    Parameters
    ----------
    heads : sequence of HeadRecord
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    _checked(heads)
    ax = new_axes(5.4, 5.0) if ax is None else ax
    ax.set_aspect("equal")
    angle = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(angle), np.sin(angle), color=GREY, linewidth=1.0)
    ax.axhline(0, color="#dddddd", linewidth=0.6, zorder=0)
    ax.axvline(0, color="#dddddd", linewidth=0.6, zorder=0)
    rows, layers = _rows(heads)
    palette = colours("viridis")
    for head, row in zip(heads, rows, strict=True):
        if head.eigenvalues is not None:
            place = row / max(1, len(layers) - 1)
            mu = np.asarray(head.eigenvalues, dtype=complex)
            ax.plot(mu.real, mu.imag, ".", color=palette(0.95 * place), markersize=5,
                    alpha=0.6, markeredgewidth=0)  # fmt: skip
    if not any(head.eigenvalues is not None for head in heads):
        ax.text(0, 0.1, "no head has eigenvalues", ha="center", fontsize=9, color=GREY)
    for place, layer in {0.0: layers[0], 1.0: layers[-1]}.items():
        if place == 0 or len(layers) > 1:
            ax.plot([], [], "o", color=palette(0.95 * place), label=_short(layer), markersize=5)
    ax.legend(frameon=False, loc="upper left", fontsize=8)
    ax.set_xlim(-1.08, 1.08)
    ax.set_ylim(-1.08, 1.08)
    ax.set_xlabel("Re μ")
    ax.set_ylabel("Im μ")
    ax.set_title("eigenvalues of A, all heads", fontsize=10)
    return ax


@styled
def smoothing_by_depth(layers: Sequence[Layer], *, ax: Axes | None = None) -> Axes:
    """Draw Dirichlet energy and the share of the features off their token mean, layer by layer.

    Both fall towards 0 where depth smooths.

    Parameters
    ----------
    layers : sequence of LayerDepth
        ``audit.depth``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    if not layers:
        raise InputError("no layers; pass audit.depth of a network with attention")
    ax = curve_axes(ax)
    places = np.arange(len(layers))
    for label, colour, marker, values in (
        ("Dirichlet energy, mean over heads", BLUE, "o", [each.dirichlet for each in layers]),
        ("share off the token mean", ORANGE, "s", [each.off_mean for each in layers]),
    ):
        known = np.array([np.nan if value is None else value for value in values], dtype=float)
        if np.isfinite(known).any():
            ax.plot(places, known, color=colour, marker=marker, label=label, linewidth=1.8)
    step = max(1, math.ceil(len(layers) / 12))
    names = [_short(each.layer) for each in layers][::step]
    ax.set_xticks(places[::step], names, rotation=40, ha="right", fontsize=8)
    drawn = [float(np.nanmax(np.asarray(line.get_ydata(), float))) for line in ax.lines]
    ax.set_ylim(0.0, 1.1 * max(drawn, default=1.0) or 1.0)
    ax.set_title("features that reach each layer", fontsize=10)
    if ax.lines:
        ax.legend(frameon=False, fontsize=8)
    return ax


def _checked(heads: Sequence[Any]) -> None:
    if not heads:
        raise InputError("no heads; pass audit.attention of a network with attention")


def _rows(heads: Sequence[Head]) -> tuple[list[int], list[str]]:
    """Return the row of each head, and the layer of each row: a layer may attend repeatedly."""
    _checked(heads)
    rows: list[int] = []
    layers: list[str] = []
    before = -1
    for head in heads:
        if not layers or layers[-1] != head.layer or head.head <= before:
            layers.append(head.layer)
        rows.append(len(layers) - 1)
        before = head.head
    return rows, layers


def _grid(heads: Sequence[Head], number: str) -> tuple[np.ndarray, list[str]]:
    """Return the numbers (layers, heads), NaN where there is none, and the layers."""
    rows, layers = _rows(heads)
    values = np.full((len(layers), 1 + max(head.head for head in heads)), np.nan)
    for row, head in zip(rows, heads, strict=True):
        value = getattr(head, number)
        values[row, head.head] = np.nan if value is None else float(value)
    return values, layers


def _short(layer: str) -> str:
    """Shorten a long name to its end, where it differs from others."""
    return (layer or "network") if len(layer) <= 22 else "…" + layer[-21:]


def _text(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
