"""Figure 5: the largest eigenvalues of the channel weights of blocks, for each output map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from gspnl.nn.auditing.maps import channel_maps
from gspnl.nn.surgery.targets import label, title
from gspnl.plotting import top_eigenvalues
from gspnl.signals.stability import Damping, damping
from gspnl.train.figures.features import blocks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, eq=False)
class ChannelWeights:
    """The channel weights of a network's blocks.

    ``maps`` has for each output map of each unit, by the names of block, unit and map, all C
    eigenvalues of the symmetric part of W_g W.
    """

    maps: Mapping[str, Damping]
    scaled: bool  #: W includes the scale of the batch norm

    def negative(self) -> dict[str, int]:
        """The number of negative eigenvalues of each map, up to rounding."""
        return {name: each.n_negative for name, each in self.maps.items()}

    def numbers(self) -> list[dict[str, Any]]:
        """The numbers of the picture in plain types."""
        return [
            {
                "map": name,
                "channels": len(each.eigenvalues),
                "rank": each.rank,
                "negative": each.n_negative,
                "negative_of_32": int(sum(each.top(32) < 0)) if each.n_negative else 0,
                "top": each.top(32).tolist(),
            }
            for name, each in self.maps.items()
        ]

    def plot(self, k: int = 32, *, ax: Axes | None = None) -> Axes:
        """Draw the k eigenvalues of largest magnitude, as gspnl.plotting.top_eigenvalues."""
        return top_eigenvalues(self.maps, k, ax=ax)


def channel_weights(model: nn.Module, *, scaled: bool = True, prefix: str = "") -> ChannelWeights:
    r"""Compute eigenvalues of the symmetrised channel weights of each block: figure 5 of the paper.

    .. math:: \tfrac12 \bigl( W_g W + (W_g W)^\top \bigr)

    for every output map W, with matrices that multiply rows of features from the right: W_g of
    shape (C, Cs), W of shape (Cs, C). Layers store (out, in), the transposes; the other product, of
    size Cs, has the eigenvalues of another matrix.

    Parameters
    ----------
    model : Module
        A network with blocks that are not folded: folded maps are merged.
    scaled : bool
        Multiply W by the scale of a batch norm in evaluation, diag(s): its signs decide what is
        added. False takes the maps alone, as the paper prints it. A group or layer norm, whose
        scale depends on the input, is left out.
    prefix : str
        Before each name.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> _ = torch.manual_seed(0)
    >>> found = figures.channel_weights(gnn.create("snl", 64, zero_init=False))
    >>> {name: (each.rank, n) for (name, each), n in
    ...  zip(found.maps.items(), found.negative().values())}
    {'snl W₁': (64, 32), 'snl W₂': (64, 32)}
    """
    found: dict[str, Damping] = {}
    for name, block in blocks_of(model).items():
        stages: Any = block.stages  # of type Module to torch
        for number, stage in enumerate(stages, 1):
            unit = f" unit {number}" if len(stages) > 1 else ""
            W_g, maps = channel_maps(stage, scaled=scaled)
            for key, W in maps.items():
                of = "W" + key.removeprefix("w").removeprefix("_").translate(SUBSCRIPTS)
                found[f"{prefix}{title(label(name), block.block)}{unit} {of}"] = damping(W_g, W)
    return ChannelWeights(found, scaled)
