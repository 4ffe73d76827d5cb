"""Figure 2: histograms of A, A², A³, A⁴ of trained blocks, and the distances of A^k from A."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gspnl._base.blas import on_one_thread
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.affinity import Pooled
from gspnl.nn.auditing.features import BlockInput, block_inputs
from gspnl.nn.auditing.measures import JOINED, size_limit
from gspnl.nn.structured import Grouped, Unconnected
from gspnl.plotting import strengths
from gspnl.signals import stability
from gspnl.signals.stability import Strengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POWERS = (1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class PowerHistograms:
    r"""Powers of the affinity A of one block, which its units share, on every image of a batch.

    ``defects`` are :math:`\|A^k - A\|_F / \|A\|_F`, 0 where the claim A^k = A holds. ``shuffled``
    is the same distance from A to A with the entries of each row in random order: the defect of a
    matrix that shares the histogram with A, and nothing else.
    """

    name: str  #: of the block
    strengths: Strengths | None  #: the histograms on the chosen image
    powers: tuple[int, ...]  #: 1, 2, 3, 4
    distances: np.ndarray  #: (B, 4), total variation between the histograms of A^k and A
    defects: np.ndarray  #: (B, 4)
    shuffled: np.ndarray  #: (B,)
    reason: str | None = None  #: why there are no histograms

    def numbers(self) -> dict[str, Any]:
        """The numbers of the picture over all images, in plain types."""
        some = self.strengths is not None
        return {
            "block": self.name,
            "reason": self.reason,
            "images": len(self.shuffled),
            "powers": list(self.powers),
            "distances": self.distances.mean(0).tolist() if some else None,
            "defects": self.defects.mean(0).tolist() if some else None,
            "least_defects": self.defects.min(0).tolist() if some else None,
            "shuffled": float(self.shuffled.mean()) if some else None,
        }

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the histograms on the chosen image, as :func:`gspnl.plotting.strengths`."""
        if self.strengths is None:
            raise InputError(f"{self.name} has no histograms: {self.reason}")
        ax = strengths(self.strengths, ax=ax)
        ax.set_title(
            f"{self.name}\nrows in random order, the histogram as it is: "
            f"{self.shuffled.mean():.2f} ‖A‖ apart",
            fontsize=9,
        )
        return ax


@on_one_thread
def power_histograms(
    model: nn.Module, images: Any, *, image: int = 0, nodes: int = 1024, seed: int = 0
) -> tuple[PowerHistograms, ...]:
    r"""Compute histograms of the entries of A, A², A³, A⁴ of each block: figure 2 of the paper.

    The paper concludes A^k = A from such histograms. They do not depend on where an entry stands,
    so the distances of the matrices themselves are computed too, on every image, and the distance
    of a matrix that has the histogram of A and nothing else in common.

    Parameters
    ----------
    model, images
        As in :func:`attention_ranges`.
    image : int
        The number of the image whose histograms are kept.
    nodes : int
        Blocks of more positions are skipped, with the reason: N × N matrices are formed.
    seed : int
        Of the random order.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> _ = torch.manual_seed(0)
    >>> (found,) = figures.power_histograms(gnn.create("snl", 8), torch.randn(2, 8, 6, 6))
    >>> found.defects.shape, bool((found.defects[:, 1:] > 0.1).all())
    ((2, 4), True)
    """
    whole_number("nodes", nodes, 1)
    whole_number("seed", seed)
    inputs = block_inputs(model, images)
    item = whole_number("image", image, 0, len(images) - 1, ", an image of the batch")
    return tuple(_of_block(each, item, nodes, seed) for each in inputs)


def _of_block(each: BlockInput, item: int, nodes: int, seed: int) -> PowerHistograms:
    reason = _no_powers(each, nodes)
    if reason is not None:
        none = np.zeros((0, len(POWERS)))
        return PowerHistograms(each.name, None, POWERS, none, none, np.zeros(0), reason)
    rng = np.random.default_rng(seed)
    eye = torch.eye(each.features.shape[1], dtype=torch.float64)[None]
    found, shuffled = [], []
    for place in range(len(each.features)):
        A = each.operator(place).apply(eye)[0].numpy()
        found.append(stability.strengths(A, POWERS))
        shuffled.append(np.linalg.norm(rng.permuted(A, axis=1) - A) / np.linalg.norm(A))
    distances = np.array([one.distances for one in found])
    defects = np.array([one.defects for one in found])
    return PowerHistograms(each.name, found[item], POWERS, distances, defects, np.array(shuffled))


def _no_powers(each: BlockInput, nodes: int) -> str | None:
    """The reason why a block has no N × N matrix of positions."""
    n = each.features.shape[1]
    if n > nodes:
        return size_limit(n, nodes)
    operator = each.operator(0)
    reasons = {
        Unconnected: "there are no edges, so A = I",
        Grouped: JOINED,
        Pooled: "keys are max-pooled: A is not square, and has no powers",
    }
    return next((why for kind, why in reasons.items() if isinstance(operator, kind)), None)
