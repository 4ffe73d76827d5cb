"""Figure 5: the largest eigenvalues of the channel weights of blocks, for each output map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from torch import nn

from gspnl.errors import InputError
from gspnl.nn.norms import batch_scale
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.stage import Stage
from gspnl.signals.stability import Damping, damping
from gspnl.train.figures.features import blocks_of, exact, title_of

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
        from gspnl.plotting import top_eigenvalues

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

    Returns
    -------
    ChannelWeights

    References
    ----------
    .. [1] Y. Tao, Q. Sun, Q. Du and W. Liu, Nonlocal neural networks, nonlocal diffusion and
       nonlocal modeling, NeurIPS 2018.

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
        stages: Any = exact(block).stages  # of type Module to torch
        for unit, stage in enumerate(stages, 1):
            title = title_of(name, block) + (f" unit {unit}" if len(block.stages) > 1 else "")
            W_g, maps = channel_maps(stage, scaled=scaled)
            for key, W in maps.items():
                label = "W" + key.removeprefix("w").removeprefix("_").translate(SUBSCRIPTS)
                found[f"{prefix}{title} {label}"] = damping(W_g, W)
    return ChannelWeights(found, scaled)


def channel_maps(stage: Stage, *, scaled: bool = True) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """W_g (C, Cs), and the output maps (Cs, C) by name, of a unit ``block.stages[i]``.

    Grouped maps are block diagonal. ``scaled`` multiplies the maps by the scale of a batch norm in
    evaluation. A folded unit is an InputError.

    Examples
    --------
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> block = gnn.create("snl", 8, inner=2)
    >>> W_g, maps = figures.channel_maps(block.stages[0])
    >>> W_g.shape, {name: W.shape for name, W in maps.items()}
    ((8, 2), {'w_1': (2, 8), 'w_2': (2, 8)})
    """
    if stage.g is None or not all(name.startswith("w") for name in stage.terms):
        raise InputError(
            "the maps of a folded unit are merged with each other and with W_g; take the network "
            "that was folded"
        )
    norm = batch_scale(stage.norm) if scaled else None
    scale = 1.0 if norm is None else norm.cpu().numpy()
    maps = {
        name: scipy.linalg.block_diag(*np.split(_matrix(output), output.groups)).T * scale
        for name, output in zip(stage.terms, stage.outputs, strict=True)
    }
    return _matrix(stage.g).T, maps


def _matrix(layer: Pointwise) -> np.ndarray:
    return layer.weight.detach().double().cpu().numpy()
