"""Eager attention: a softmax that is multiplied into values."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.einsum import as_product
from gspnl.nn.attention_calls.linear import layer
from gspnl.nn.attention_calls.masks import compressed
from gspnl.nn.attention_calls.origins import Origin, Scores, Softmax, of_softmax
from gspnl.nn.attention_calls.recorder import Recorder, keep
from gspnl.nn.attention_calls.sums import off_one


def softmax(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember a softmax."""
    scores, axis = given["self"], given["dim"]
    if out.is_nested:
        nested_softmax(seen, given, out)
    elif isinstance(axis, int) and out.ndim > 1 and out.numel() and not seen.modules.silent:
        seen.mark(out, of_softmax(scores, out, axis, seen.origin(scores), fused=False))


def safe_softmax(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember the softmax of torch's fused attention, where that is computed in steps."""
    if out.is_nested:
        nested_softmax(seen, given, out)
    elif out.numel() and not seen.modules.silent:
        origin = seen.origin(given["self"])
        seen.mark(out, of_softmax(given["self"], out, given["dim"], origin, fused=True))


def nested_softmax(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Note a softmax of nested tensors."""
    seen.remark("attention of nested tensors, in steps that are not read")


def matmul(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Find a softmax among the factors of a product, or the product of queries and keys."""
    left, right = _factors(given)
    if left.is_nested or right.is_nested or min(left.ndim, right.ndim) < 2:
        return
    ours, theirs = seen.origin(left), seen.origin(right)
    if right.ndim == 2 and seen.is_parameter(right):
        layer(seen, left, right, out)
    elif isinstance(ours, Softmax):
        multiplied(seen, ours, (left, right, out), theirs, out)
    elif isinstance(theirs, Softmax):
        multiplied(seen, theirs, (right.mT, left.mT, out.mT), ours, out)
    elif not seen.modules.silent:
        seen.mark(out, Scores(seen.crossed(left, right), left, right.mT))


def einsum(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Find attention in an einsum of two factors."""
    factors = given["tensors"]
    if len(factors) != 2:
        if any(isinstance(seen.origin(each), Softmax) for each in factors):
            seen.remark(f"a softmax in an einsum of {len(factors)} factors")
        return
    origins = [seen.origin(each) for each in factors]
    for first, second in ((0, 1), (1, 0)):
        origin = origins[first]
        if isinstance(origin, Softmax):
            equation = given["equation"]
            found = as_product(equation, factors[first], factors[second], first == 0, out)
            if found is not None:
                multiplied(seen, origin, found, origins[second], out)
            return
    seen.mark(out, Scores(seen.crossed(*factors)))


def multiplied(
    seen: Recorder,
    origin: Softmax,
    factors: tuple[Tensor, Tensor, Tensor],
    values: Origin | None,
    out: Tensor,
) -> None:
    """Record weights that are multiplied into values.

    Parameters
    ----------
    seen : Recorder
    origin : Softmax
        Of the weights.
    factors : tuple of Tensor of shape (..., N, M), (..., M, c) and (..., N, c)
        Weights, values and their product.
    values : Origin or None
        Of the values.
    out : Tensor
        What the network computed: the product, possibly in another order of axes.
    """
    if seen.modules.silent:
        return
    weights, v, result = unfolded(origin, *factors)
    if not v.is_floating_point():
        return
    if weights.shape[-2] == 1 and origin.shape and origin.shape[-2] != 1:
        seen.remark(
            "a softmax whose queries have keys of their own (neighbours, experts), not one matrix"
        )
        return
    notes = []
    scores = origin.scores
    q, k = (scores.q, scores.k) if scores is not None and origin.fused else (None, None)
    if origin.empty:
        gone = weights.isnan().all(dim=-1, keepdim=True)
        weights = weights.masked_fill(gone, 0.0)
        notes.append(f"{int(gone.sum()):,} rows have no key left, and the network writes NaN there")
    off, allowed = off_one(weights)
    if q is not None and off > allowed:
        notes.append("its weights pass a dropout in evaluation mode too, which is left out here")
    elif off > allowed or bool((weights < 0).any()):
        seen.remark(
            "a softmax is changed, or is not over keys, before it multiplies values: sums over "
            f"keys differ from 1 by up to {off:.2g}"
        )
        return
    lead = np.broadcast_shapes(weights.shape[:-2], v.shape[:-2])
    where = seen.modules.layout(lead)
    v = v.expand(*lead, *v.shape[-2:])
    mask, causal = None, False
    if origin.blocked is not None and origin.shape == weights.shape:
        mask, causal = compressed(where.fold(origin.blocked))
    inside = seen.modules.inside(nn.MultiheadAttention)
    source = "scaled_dot_product_attention" if origin.fused else "softmax"
    A = None
    if q is not None and k is not None:
        q, k = (keep(where.fold(_like(each, weights))) for each in (q, k))
    else:
        A = keep(where.fold(weights.expand(*lead, *weights.shape[-2:])))
    v = where.fold(v)
    written = seen.record(
        AttentionCall(
            layer="",
            source="multi_head_attention_forward" if inside else source,
            q=q,
            k=k,
            v=keep(v),
            weights=A,
            mask=mask,
            causal=causal,
            scale=1.0,
            cross=weights.shape[-2] != weights.shape[-1] or (scores is not None and scores.cross),
            notes=tuple(notes),
        ),
        values,
        where.fold(result),
    )
    seen.mark(out, written)


def unfolded(
    origin: Softmax, weights: Tensor, v: Tensor, result: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return factors of a batched product with the leading axes that the softmax had.

    matmul and einsum fold them into one, in some order; the first rows tell which.
    """
    lead = origin.shape[:-2]
    folded = weights.ndim == 3 and len(lead) > 1 and math.prod(lead) == weights.shape[0]
    if not folded or origin.corner is None or origin.shape[-2:] != weights.shape[-2:]:
        return weights, v, result
    first = weights.select(-2, 0)
    for order in itertools.permutations(range(len(lead))):
        corner = origin.corner.permute(*order, len(lead)).reshape(first.shape)
        if torch.allclose(corner.to(first.dtype), first, rtol=1e-2, atol=0, equal_nan=True):
            sizes = [lead[axis] for axis in order]
            back = [order.index(axis) for axis in range(len(lead))]
            weights, v, result = (
                each.reshape(*sizes, *each.shape[1:]).permute(*back, -2, -1)
                for each in (weights, v, result)
            )
            break
    return weights, v, result


def _like(tensor: Tensor, weights: Tensor) -> Tensor:
    """Return queries or keys with the leading axes of weights."""
    return tensor.reshape(*weights.shape[:-2], *tensor.shape[-2:])


def _factors(given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    pairs = (("self", "other"), ("batch1", "batch2"), ("self", "mat2"), ("mat1", "mat2"))
    return next((given[a], given[b]) for a, b in pairs if a in given and b in given)


HANDLERS = {
    "softmax": softmax,
    "_softmax": softmax,
    "_safe_softmax": safe_softmax,
    "special_softmax": softmax,
    "_masked_softmax": softmax,
    "_nested_tensor_softmax_with_shape": nested_softmax,
    "matmul": matmul,
    "linalg_matmul": matmul,
    "bmm": matmul,
    "mm": matmul,
    "baddbmm": matmul,
    "einsum": einsum,
}
