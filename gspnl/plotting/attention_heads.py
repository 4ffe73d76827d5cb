"""Plot the eigenvalues of attention heads, and the smoothing of features by depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gspnl.errors import InputError
from gspnl.plotting._axes import BLUE, GREY, ORANGE, curve_axes, new_axes
from gspnl.plotting._style import colours, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    Examples
    --------
    >>> import torch, gspnl
    >>> from gspnl import nn as gnn
    >>> _ = torch.manual_seed(0)
    >>> layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    >>> audit = gnn.audit(layer, torch.randn(1, 9, 16))
    >>> gspnl.plotting.head_eigenvalues(audit.attention).get_xlabel()
    'Re μ'
    """
    _checked(heads)
    ax = new_axes(5.4, 5.0) if ax is None else ax
    ax.set_aspect("equal")
    angle = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(angle), np.sin(angle), color=GREY, linewidth=1.0)
    ax.axhline(0, color="#dddddd", linewidth=0.6, zorder=0)
    ax.axvline(0, color="#dddddd", linewidth=0.6, zorder=0)
    rows, layers = rows_of(heads)
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
            ax.plot([], [], "o", color=palette(0.95 * place), label=short_name(layer), markersize=5)
    ax.legend(frameon=False, loc="upper left", fontsize=8)
    ticks = (-1.0, -0.5, 0.0, 0.5, 1.0)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.set_xlim(-1.08, 1.08)
    ax.set_ylim(-1.08, 1.08)
    ax.set_xlabel("Re μ")
    ax.set_ylabel("Im μ")
    ax.set_title("eigenvalues of A, all heads", fontsize=10)
    return ax


@styled
def smoothing_by_depth(layers: Sequence[Layer], *, ax: Axes | None = None) -> Axes:
    """Draw Dirichlet energy and the share of the features off their token mean, layer by layer.

    The share falls towards 0 where depth smooths; the energy, a quotient, where what is left off
    the mean varies little along the edges of A.

    Parameters
    ----------
    layers : sequence of LayerDepth
        ``audit.depth``.
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
    >>> len(gspnl.plotting.smoothing_by_depth(audit.depth).lines)
    2
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
    names = [short_name(each.layer) for each in layers][::step]
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


def rows_of(heads: Sequence[Head]) -> tuple[list[int], list[str]]:
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


def short_name(layer: str) -> str:
    """Shorten a long name to its end, where it differs from others."""
    return (layer or "network") if len(layer) <= 22 else "…" + layer[-21:]
