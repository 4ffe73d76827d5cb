"""Eager attention: a softmax that is multiplied into values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.einsum import as_product
from gspnl.nn.attention_calls.masks import compressed
from gspnl.nn.attention_calls.origins import Projected, Scores, Softmax, Written, of_softmax
from gspnl.nn.attention_calls.recorder import Recorder, crossed, keep

SUMS = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}


def softmax(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember a softmax."""
    scores, axis = given["self"], given["dim"]
    if isinstance(axis, int) and out.ndim > 1 and out.numel() and not seen.silent:
        seen.mark(out, of_softmax(scores, out, axis, seen.origin(scores)))


def matmul(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Find a softmax among the factors of a product, or the product of queries and keys."""
    left, right = _factors(given)
    if min(left.ndim, right.ndim) < 2:
        return
    ours, theirs = seen.origin(left), seen.origin(right)
    if isinstance(ours, Softmax):
        multiplied(seen, ours, left, right, out)
    elif isinstance(theirs, Softmax):
        multiplied(seen, theirs, right.mT, left.mT, out)
    elif isinstance(ours, Projected) and isinstance(theirs, Projected):
        seen.mark(out, Scores(ours.x, theirs.x))


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
            found = as_product(given["equation"], factors[first], factors[second], first == 0)
            if found is not None:
                multiplied(seen, origin, *found, out)
            return
    if all(isinstance(each, Projected) for each in origins):
        seen.mark(out, Scores(*(each.x for each in origins)))  # type: ignore[union-attr]


def multiplied(seen: Recorder, origin: Softmax, weights: Tensor, v: Tensor, out: Tensor) -> None:
    """Record weights (..., N, M) that are multiplied into values (..., M, c)."""
    if seen.silent:
        return
    if isinstance(v, nn.Parameter) or not v.is_floating_point():
        seen.remark("a softmax times parameters, not values that depend on the nodes")
        return
    notes = []
    if origin.empty:
        gone = weights.isnan().all(dim=-1, keepdim=True)
        weights = weights.masked_fill(gone, 0.0)
        notes.append(f"{int(gone.sum()):,} rows have no key left, and the network writes NaN there")
    sums = weights.sum(dim=-1, dtype=torch.promote_types(weights.dtype, torch.float32))
    off = torch.where(sums == 0, 0.0, (sums - 1).abs()).max()
    if float(off) > SUMS.get(weights.dtype, 1e-4) or float(weights.min()) < 0:
        seen.remark(
            "a softmax is changed, or is not over keys, before it multiplies values: sums over "
            f"keys differ from 1 by up to {float(off):.2g}"
        )
        return
    lead = np.broadcast_shapes(weights.shape[:-2], v.shape[:-2])
    where = seen.layout(lead)
    v = v.expand(*lead, *v.shape[-2:])
    blocked = origin.blocked
    mask, causal = None, False
    if blocked is not None and blocked.shape[-2:] == weights.shape[-2:]:
        if blocked.numel() == weights.numel():
            mask, causal = compressed(where.fold(blocked.reshape(weights.shape)))
    inside = seen.inside(nn.MultiheadAttention)
    number = seen.record(
        AttentionCall(
            layer="",
            source="multi_head_attention_forward" if inside else "softmax",
            q=None,
            k=None,
            v=keep(where.fold(v)),
            weights=keep(where.fold(weights.expand(*lead, *weights.shape[-2:]))),
            mask=mask,
            causal=causal,
            scale=1.0,
            cross=weights.shape[-2] != weights.shape[-1] or crossed(origin.scores),
            notes=tuple(notes),
        )
    )
    seen.mark(out, Written(number))


def _factors(given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    pairs = (("self", "other"), ("batch1", "batch2"), ("self", "mat2"), ("mat1", "mat2"))
    return next((given[a], given[b]) for a, b in pairs if a in given and b in given)


HANDLERS = {
    "softmax": softmax,
    "_softmax": softmax,
    "_safe_softmax": softmax,
    "special_softmax": softmax,
    "_masked_softmax": softmax,
    "matmul": matmul,
    "linalg_matmul": matmul,
    "bmm": matmul,
    "mm": matmul,
    "baddbmm": matmul,
    "einsum": einsum,
}
