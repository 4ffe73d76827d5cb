"""Recognise softmax weights that a network multiplies into values, and filter these products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gspnl.errors import InputError
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
    response: AttentionResponse, weights: Tensor, seen: Tensor | None, V: Tensor
) -> tuple[Tensor, Mask]:
    """Return g(A) V in the shape of ``weights @ V``, and the mask between tokens."""
    lead = torch.broadcast_shapes(weights.shape[:-2], V.shape[:-2])  # type: ignore[no-untyped-call]
    A = by_heads(weights.expand(*lead, *weights.shape[-2:]), response.heads)
    if seen is not None:
        seen = by_heads(seen.expand(*lead, *seen.shape[-2:]), response.heads)
    stored = Stored(A, Mask(seen))
    out = response(stored, by_heads(V.expand(*lead, *V.shape[-2:]), response.heads))
    return out.reshape(*lead, *out.shape[-2:]), stored.mask.of_tokens(*stored.shape)


def by_heads(x: Tensor, heads: int) -> Tensor:
    """Return (B, H, a, b) of (…, H, a, b), or of (B·H, a, b)."""
    if x.ndim == 4:
        return x
    if x.ndim > 4:
        return x.reshape(-1, *x.shape[-3:])
    if x.shape[0] % heads:
        raise InputError(
            f"an attention of {heads} heads has {x.shape[0]} matrices in a tensor of three axes, "
            f"no multiple of {heads}; pass heads= to set_response"
        )
    return x.reshape(-1, heads, *x.shape[-2:])


def einsum_operands(
    equation: str, weights: Tensor, V: Tensor
) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]] | None:
    """Return weights (…, i, j), values (…, j, d), and the way back for "…ij, …jd -> …id".

    None for any other equation. The axes of values and result may be in any order.
    """
    sides = equation.replace(" ", "").split("->")
    if len(sides) != 2 or sides[0].count(",") != 1 or "." in equation:
        return None
    of_weights, of_values = sides[0].split(",")
    result = sides[1]
    lead, i, j = of_weights[:-2], of_weights[-2], of_weights[-1]
    rest = [axis for axis in of_values if axis not in of_weights]
    fits = (
        len(rest) == 1
        and len(set(of_weights)) == len(of_weights)
        and sorted(of_values) == sorted(f"{lead}{j}{rest[0]}")
        and sorted(result) == sorted(f"{lead}{i}{rest[0]}")
    )
    if not fits:
        return None
    V = V.permute([of_values.index(axis) for axis in f"{lead}{j}{rest[0]}"])
    back = [f"{lead}{i}{rest[0]}".index(axis) for axis in result]
    return weights, V, lambda out: out.permute(back)
