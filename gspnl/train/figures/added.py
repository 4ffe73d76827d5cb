"""Figure 4: what blocks add, as maps over the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gspnl.train.figures.passing import passages, photos_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HALF = 0.5


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    r"""What goes into a block and what comes out, of each image of a batch.

    Attributes
    ----------
    name : str
        The block.
    before, after : arrays of shape (B, C, ``*grid``)
        x and y, in the features' own units; all units of a block together.
    photos : array of shape (B, ``*spatial``)
        The images, grey, in [0, 1].
    """

    name: str
    before: np.ndarray
    after: np.ndarray
    photos: np.ndarray

    @property
    def norm(self) -> np.ndarray:
        r"""How much is added where, :math:`\|y_i - x_i\|_2` over the channels, (B, ``*grid``).

        In multiples of the mean of :math:`\|x_j\|_2` over the positions of the image: 0.1 is a
        tenth of what a position has on average.
        """
        return self._relative(self.after - self.before)

    @property
    def size(self) -> np.ndarray:
        r"""What leaves the block, :math:`\|y_i\|_2` in the same multiples, (B, ``*grid``)."""
        return self._relative(self.after)

    @property
    def mean(self) -> np.ndarray:
        """The mean of y_i − x_i over the channels, (B, ``*grid``); signed, in the features' units.

        Channels of opposite sign cancel in it.
        """
        return np.asarray((self.after - self.before).mean(1))

    @property
    def added(self) -> np.ndarray:
        """‖y − x‖ / ‖x‖ of each image, (B,); 0 where x = 0."""
        x, step = (_flat(part) for part in (self.before, self.after - self.before))
        size = np.linalg.norm(x, axis=1)
        return np.asarray(np.linalg.norm(step, axis=1) / np.where(size > 0, size, 1.0))

    @property
    def likeness(self) -> float:
        """Correlation of ‖x_i‖ and ‖y_i‖ over all positions of all images; NaN if one is flat.

        Near 1, maps of what leaves the block show what came in.
        """
        x, y = (np.linalg.norm(part, axis=1).reshape(-1) for part in (self.before, self.after))
        if min(np.ptp(x), np.ptp(y)) == 0:
            return float("nan")
        return float(np.corrcoef(x, y)[0, 1])

    @property
    def cover(self) -> np.ndarray:
        """The least share of positions that hold half of the added norm of an image, (B,).

        ½ where all positions gain alike, less where few gain most; 0 where nothing is added.
        """
        gains = np.sort(_flat(self.norm), axis=1)[:, ::-1]
        held = np.cumsum(gains, axis=1)
        short = (held < HALF * held[:, -1:] * (1 - 1e-12)).sum(1)
        return np.asarray(np.where(held[:, -1] > 0, (short + 1) / gains.shape[1], 0.0))

    def numbers(self) -> dict[str, Any]:
        """What the pictures say, in plain types."""
        like = self.likeness
        return {
            "block": self.name,
            "images": len(self.before),
            "added": self.added.tolist(),
            "cover": self.cover.tolist(),
            "likeness": None if np.isnan(like) else like,
        }

    def plot(self, of: str = "norm", *, ax: Axes | None = None) -> Axes:
        """Draw a map over each image, see gspnl.train.figures.draw_feature_maps."""
        from gspnl.train.figures.overlaid import draw_feature_maps

        return draw_feature_maps({"": [self]}, of, ax=ax)

    def _relative(self, features: np.ndarray) -> np.ndarray:
        norms = np.linalg.norm(self.before, axis=1)
        scale = norms.mean(axis=tuple(range(1, norms.ndim)), keepdims=True)
        return np.asarray(np.linalg.norm(features, axis=1) / np.where(scale > 0, scale, 1.0))


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def feature_maps(model: nn.Module, images: Any, *, pictures: Any = None) -> tuple[FeatureMaps, ...]:
    r"""What each block of a network adds at each position: figure 4 of the paper, defined.

    The paper lays "feature maps" over photographs and does not say what they are. Here they are
    the norm over channels of what the block adds, :math:`\|y_i - x_i\|_2`, or its mean over
    channels.

    Parameters
    ----------
    model : Module
        A network with blocks; it is run once, in evaluation mode.
    images : tensor of shape (B, C, ``*spatial``)
        As the network takes them.
    pictures : array of shape (B, C, ``*spatial``), optional
        The images with values in [0, 1], to draw on; default: ``images``, rescaled.

    Returns
    -------
    tuple of FeatureMaps
        One for each block.

    Raises
    ------
    InputError
        For a network without blocks, or images that it cannot run.

    References
    ----------
    .. [1] L. Zhu, Q. She, L. Zhang and P. Guo, A spectral nonlocal block for neural networks,
       arXiv:1911.01059, figure 4.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), gnn.create("snl", 8))
    >>> (maps,) = figures.feature_maps(net, torch.randn(2, 3, 9, 9))
    >>> maps.norm.shape, float(maps.norm.max())  # a new block adds nothing
    ((2, 4, 4), 0.0)
    """
    reached = passages(model, images)
    photos = photos_of(images, pictures)
    found = []
    for each in reached:
        x = each.features.mT.reshape(len(images), -1, *each.grid)
        with torch.no_grad():
            y = torch.cat([each.block(part) for part in torch.split(x, 1)])
        found.append(FeatureMaps(each.name, x.numpy(), y.numpy(), photos))
    return tuple(found)
