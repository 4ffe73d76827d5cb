"""Layouts of attention tensors: any leading axes to (batch, heads)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

HEADS = (
    "num_heads", "n_heads", "nheads", "n_head", "nhead", "heads", "num_attention_heads",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """The way from leading axes (..., N, M) to (B, H, N, M).

    Attributes
    ----------
    lead : tuple of int
        Sizes of the leading axes.
    axis : int or None
        The one with the heads; None where heads are folded into a single leading axis.
    heads : int
    """

    lead: tuple[int, ...]
    axis: int | None
    heads: int

    def fold(self, tensor: Tensor) -> Tensor:
        """Reshape (..., N, M), with the same leading axes up to the heads' size, to (B, H, N, M).

        Leading axes of size 1 everywhere stay so, for masks that are broadcast.
        """
        missing = len(self.lead) + 2 - tensor.ndim
        tensor = tensor[(None,) * missing] if missing > 0 else tensor
        lead = tuple(tensor.shape[:-2])
        if math.prod(lead) == 1:
            return tensor.reshape(1, 1, *tensor.shape[-2:])
        if self.axis is None:
            return tensor.reshape(-1, self.heads, *tensor.shape[-2:])
        tensor = tensor.movedim(self.axis, -3)
        others = lead[: self.axis] + lead[self.axis + 1 :]
        if math.prod(others) > 1:
            whole = self.lead[: self.axis] + self.lead[self.axis + 1 :]
            tensor = tensor.expand(*whole, *tensor.shape[-3:])
        return tensor.reshape(-1, *tensor.shape[-3:])

    def unfold(self, tensor: Tensor) -> Tensor:
        """Reshape (B, H, N, c) to (..., N, c), with all leading axes."""
        if self.axis is None:
            return tensor.reshape(*self.lead, *tensor.shape[-2:])
        others = self.lead[: self.axis] + self.lead[self.axis + 1 :]
        return tensor.reshape(*others, *tensor.shape[-3:]).movedim(-3, self.axis)


def layout(lead: Sequence[int], heads: int | None, batches: Sequence[int] = ()) -> Layout:
    """Choose the axis of the heads among leading axes.

    Parameters
    ----------
    lead : sequence of int
        Sizes of the axes in front of (N, M).
    heads : int or None
        The heads that the layer declares.
    batches : sequence of int
        Sizes that the batch may have, from the layer's input.
    """
    lead = tuple(int(n) for n in lead)
    if not lead:
        return Layout((1,), None, 1)
    if len(lead) == 1:
        folded = heads and heads > 1 and lead[0] % heads == 0 and lead[0] // heads in batches
        return Layout(lead, None, heads if folded and heads else 1)
    places = [axis for axis, n in enumerate(lead) if n == heads]
    last = len(lead) - 1
    return Layout(lead, last if last in places or not places else places[-1], 0)
