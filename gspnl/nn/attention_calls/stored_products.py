"""Recognise softmax weights that a network multiplies into values, and filter these products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gspnl.nn.attention_calls.einsum import letters_of
from gspnl.nn.attention_calls.layouts import Layout, layout
from gspnl.nn.attention_responses import AttentionResponse, Mask, Stored
from gspnl.nn.attention_responses.mask import HIDDEN

SOFTMAX = (torch.softmax, torch.special.softmax, torch.Tensor.softmax, F.softmax)
MATMUL = (
    torch.matmul,
    torch.bmm,
    torch.Tensor.matmul,
    torch.Tensor.bmm,
    torch.Tensor.__matmul__,
)
# What networks do to weights between the softmax and the product, entry by entry or in shape.
KEEPS = (
    F.dropout,
    torch.dropout,
    torch.mul,
    torch.Tensor.mul,
    torch.Tensor.masked_fill,
    torch.nan_to_num,
    torch.Tensor.nan_to_num,
    torch.Tensor.to,
    torch.Tensor.type,
    torch.Tensor.type_as,
    torch.Tensor.float,
    torch.Tensor.half,
    torch.Tensor.bfloat16,
    torch.Tensor.double,
    torch.Tensor.contiguous,
    torch.Tensor.clone,
    torch.Tensor.view,
    torch.Tensor.reshape,
    torch.reshape,
)


class Weights:
    """Tensors of a forward pass that are attention weights, each with the keys in sight."""

    def __init__(self, with_masks: bool) -> None:
        self.with_masks = with_masks
        self.known: list[tuple[Tensor, Tensor | None]] = []

    def add(self, weights: Any, scores: Tensor) -> None:
        """Note the softmax of scores over the last axis."""
        if not isinstance(weights, Tensor) or weights.ndim < 3:
            return
        seen = None
        if self.with_masks:
            seen = scores > scores.amax(-1, keepdim=True) + HIDDEN
        self.known.append((weights, seen))

    def find(self, x: Any) -> tuple[Tensor, Tensor | None] | None:
        """Return the weights that ``x`` is, if any."""
        return next((each for each in self.known if each[0] is x), None)

    def follow(self, args: tuple[Any, ...], out: Any) -> None:
        """Note ``out`` if it was made of weights by one of ``KEEPS``."""
        found = next(filter(None, map(self.find, args[:2])), None)
        if found is None or not isinstance(out, Tensor) or out.ndim < 3:
            return
        seen = found[1]
        if seen is not None and seen.shape != out.shape:
            seen = seen.reshape(out.shape) if seen.numel() == out.numel() else None
        self.known.append((out, seen))


def is_over_last(x: Tensor, dim: Any) -> bool:
    """Return whether a softmax over ``dim`` is one over the last axis."""
    return isinstance(dim, int) and dim in (-1, x.ndim - 1)


def product(
    response: AttentionResponse,
    weights: Tensor,
    seen: Tensor | None,
    V: Tensor,
    batches: Sequence[int],
) -> tuple[Tensor, Mask]:
    """Return g(A) V in the shape of ``weights @ V``, and the mask between tokens."""
    lead = torch.broadcast_shapes(weights.shape[:-2], V.shape[:-2])  # type: ignore[no-untyped-call]
    where = heads_among(lead, response.heads, batches)
    A, V = (where.fold(x.expand(*lead, *x.shape[-2:])) for x in (weights, V))
    if seen is not None:
        seen = where.fold(seen.expand(*lead, *seen.shape[-2:]))
    stored = Stored(A, Mask(seen))
    return where.unfold(response.attend(stored, V)), stored.mask.of_tokens(*stored.shape)


def heads_among(lead: Sequence[int], heads: int, batches: Sequence[int]) -> Layout:
    """Find the axis of the heads among leading axes: the last of several.

    A single one holds B·H matrices where B is one of ``batches``, else one head.
    """
    if len(lead) > 1:
        return Layout(tuple(lead), len(lead) - 1, 0)
    return layout(lead, heads, batches)


def einsum_operands(
    equation: str, weights: Tensor, V: Tensor
) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]] | None:
    """Return weights (…, N, M), values (…, M, c), and the way back to the result of an einsum.

    None for an equation that is no product of matrices of queries and keys with values.
    """
    letters = letters_of(equation, (weights, V))
    if letters is None:
        return None
    ours, theirs, result = letters
    keys = [axis for axis in ours if axis in theirs and axis not in result]
    queries = [axis for axis in ours if axis in result and axis not in theirs]
    lead = [axis for axis in ours if axis in result and axis in theirs]
    rest = [axis for axis in theirs if axis not in ours]
    if (len(keys), len(queries), len(rest)) != (1, 1, 1) or len(set(ours)) != len(ours):
        return None
    if sorted(result) != sorted(lead + queries + rest):
        return None
    A = weights.permute([ours.index(axis) for axis in lead + queries + keys])
    V = V.permute([theirs.index(axis) for axis in lead + keys + rest])
    back = [(lead + queries + rest).index(axis) for axis in result]
    return A, V, lambda out: out.permute(back)
