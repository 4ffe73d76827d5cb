"""Figure 2: the histograms of A, A², A³, A⁴ of trained blocks, and what decides A^k = A."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.affinity import Pooled
from gspnl.nn.auditing.measures import JOINED, size_limit
from gspnl.nn.structured import Grouped, Unconnected
from gspnl.signals import stability
from gspnl.signals.stability import Strengths
from gspnl.train.figures.passing import Passage, check_item, passages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POWERS = (1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class PowerHistograms:
    r"""Powers of the affinity of one block, on every image of a batch.

    Attributes
    ----------
    name : str
        The block.
    strengths : Strengths or None
        The histograms on the image that was chosen; None where there are none, see ``reason``.
    powers : tuple of int
        1, 2, 3, 4.
    distances : array of shape (B, 4)
        Total variation between the histograms of A^k and of A, in [0, 1], of each image.
    defects : array of shape (B, 4)
        :math:`\|A^k - A\|_F / \|A\|_F`: 0 where the claim A^k = A holds.
    shuffled : array of shape (B,)
        The same of A with the entries of each row in random order, which leaves its histogram as
        it is: what a defect is where histograms agree and nothing else does.
    reason : str or None
        Why there is nothing.
    """

    name: str
    strengths: Strengths | None
    powers: tuple[int, ...]
    distances: np.ndarray
    defects: np.ndarray
    shuffled: np.ndarray
    reason: str | None = None

    def numbers(self) -> dict[str, Any]:
        """What the picture says, over all images, in plain types."""
        return {
            "block": self.name,
            "reason": self.reason,
            "images": len(self.shuffled),
            "powers": list(self.powers),
            "distances": self.distances.mean(0).tolist() if len(self.distances) else None,
            "defects": self.defects.mean(0).tolist() if len(self.defects) else None,
            "least_defects": self.defects.min(0).tolist() if len(self.defects) else None,
            "shuffled": float(self.shuffled.mean()) if len(self.shuffled) else None,
        }

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the histograms on the chosen image, as :func:`gspnl.plotting.strengths`."""
        from gspnl.plotting import strengths

        if self.strengths is None:
            raise InputError(f"{self.name} has no histograms: {self.reason}")
        ax = strengths(self.strengths, ax=ax)
        ax.set_title(
            f"{self.name}\nrows in random order, the histogram as it is: "
            f"{self.shuffled.mean():.2f} ‖A‖ apart",
            fontsize=9,
        )
        return ax


def power_histograms(
    model: nn.Module, images: Any, *, image: int = 0, nodes: int = 1024, seed: int = 0
) -> tuple[PowerHistograms, ...]:
    r"""Histograms of the entries of A, A², A³, A⁴ of each block: figure 2 of the paper.

    The paper reads A^k = A off such histograms. They forget where an entry stands, so the distances
    of the matrices themselves are beside them, on every image, and that of a matrix with the
    histogram of A and nothing else in common.

    Parameters
    ----------
    model : Module
        A network with blocks; it is run once, in evaluation mode.
    images : tensor of shape (B, C, ``*spatial``)
        As the network takes them.
    image : int
        Whose histograms are kept.
    nodes : int
        Blocks of more positions are passed over, with the reason: N × N matrices are made.
    seed : int
        Of the random order.

    Returns
    -------
    tuple of PowerHistograms
        One for each block; its units share A.

    Raises
    ------
    InputError
        For a network without blocks, images that it cannot run, or an image that there is not.

    References
    ----------
    .. [1] L. Zhu, Q. She, L. Zhang and P. Guo, A spectral nonlocal block for neural networks,
       arXiv:1911.01059, figure 2.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), gnn.create("snl", 8))
    >>> (found,) = figures.power_histograms(net, torch.randn(2, 3, 8, 8))
    >>> found.defects.shape, bool((found.defects[:, 1:] > 0.1).all())
    ((2, 4), True)
    """
    whole_number("nodes", nodes, 1)
    whole_number("seed", seed)
    reached = passages(model, images)
    item = check_item(image, len(images))
    return tuple(_of_block(each, item, nodes, seed) for each in reached)


def _of_block(each: Passage, item: int, nodes: int, seed: int) -> PowerHistograms:
    reason = _refusal(each, nodes)
    if reason is not None:
        none = np.zeros((0, len(POWERS)))
        return PowerHistograms(each.name, None, POWERS, none, none, np.zeros(0), reason)
    rng = np.random.default_rng(seed)
    kept: Strengths | None = None
    distances, defects, shuffled = [], [], []
    for place in range(len(each.features)):
        A = matrix_of(each, place)
        found = stability.strengths(A, POWERS)
        kept = found if place == item else kept
        distances.append(found.distances)
        defects.append(found.defects)
        shuffled.append(np.linalg.norm(rng.permuted(A, axis=1) - A) / np.linalg.norm(A))
    return PowerHistograms(
        each.name, kept, POWERS, np.array(distances), np.array(defects), np.array(shuffled)
    )


def _refusal(each: Passage, nodes: int) -> str | None:
    """Why a block has no N × N matrix of positions to take powers of."""
    n = int(np.prod(each.grid))
    if n > nodes:
        return size_limit(n, nodes)
    operator = each.operator(0)
    if isinstance(operator, Unconnected):
        return "there are no edges, so A = I"
    if isinstance(operator, Grouped):
        return JOINED
    if isinstance(operator, Pooled):
        return "keys are max-pooled: A is not square, and has no powers"
    return None


def matrix_of(each: Passage, item: int) -> np.ndarray:
    """A of one image, all its entries."""
    eye = torch.eye(int(np.prod(each.grid)), dtype=torch.float64)[None]
    with torch.no_grad():
        A: np.ndarray = each.operator(item).apply(eye)[0].numpy()
    return A
