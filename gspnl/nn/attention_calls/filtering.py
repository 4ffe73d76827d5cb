"""Replace A V by g(A) V in what a module computes, wherever attention can be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gspnl.errors import InputError
from gspnl.nn.attention_calls.stored_products import (
    KEEPS,
    MATMUL,
    SOFTMAX,
    Weights,
    einsum_operands,
    heads_among,
    is_over_last,
    product,
)
from gspnl.nn.attention_responses import AttentionResponse, Fused, Mask
from gspnl.nn.multi_head.attend import Maps, multi_head
from gspnl.nn.multi_head.layouts import batched, swapped

Handler = Callable[..., Any]


class Filtering(TorchFunctionMode):
    """Give every attention of a forward pass a response.

    Parameters
    ----------
    response : AttentionResponse
    batches : sequence of int
        Sizes that the batch may have.

    Attributes
    ----------
    calls : int
        Number of attentions that were replaced.
    mask : Mask
        That of the last one, between tokens.
    """

    def __init__(self, response: AttentionResponse, batches: Sequence[int]) -> None:
        super().__init__()
        self.response = response
        self.batches = batches
        self.weights = Weights(response.masked)
        self.calls = 0
        self.mask = Mask()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = HANDLERS.get(func)
        if handler is not None:
            return handler(self, func, *args, **kwargs)
        out = func(*args, **kwargs)
        if func in KEEPS and self.weights.known:
            self.weights.follow(args, out)
        return out


def _fused(
    mode: Filtering,
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Filter scaled_dot_product_attention."""
    mode.calls += 1
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(groups, dim=-3) for x in (key, value))
    lead = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        query.shape[:-2], key.shape[:-2], value.shape[:-2]
    )
    where = heads_among(lead, mode.response.heads, mode.batches)
    q, k, v = (where.fold(x.expand(*lead, *x.shape[-2:])) for x in (query, key, value))
    mask = attn_mask if attn_mask is None or attn_mask.ndim == 2 else where.fold(attn_mask)
    A = Fused(q, k, Mask(mask, is_causal), dropout_p, scale)
    mode.mask = A.mask.of_tokens(*A.shape)
    return where.unfold(mode.response.attend(A, v))


def _multi_head(
    mode: Filtering,
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Filter multi_head_attention_forward, whose tokens are (N, B, C) or (N, C)."""
    if static_k is not None or static_v is not None:
        raise InputError("static_k and static_v of torch's attention are not supported here")
    mode.calls += 1
    separate: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
    maps = Maps(
        None if use_separate_proj_weight else in_proj_weight,
        separate if use_separate_proj_weight else None,
        in_proj_bias,
        out_proj_weight,
        out_proj_bias,
        bias_k,
        bias_v,
        add_zero_attn,
    )
    single = query.ndim == 2
    signals, key_padding_mask = batched((query, key, value), key_padding_mask)
    if not single:
        signals = swapped(signals)
    out, weights, mode.mask = multi_head(
        mode.response,
        maps,
        num_heads,
        *signals,
        key_padding_mask=key_padding_mask,
        attn_mask=attn_mask,
        is_causal=is_causal,
        dropout=dropout_p if training else 0.0,
        need_weights=need_weights,
        average=average_attn_weights,
    )
    if single:
        return out[0], None if weights is None else weights[0]
    return out.transpose(0, 1), weights


def _softmax(mode: Filtering, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Note weights over the last axis."""
    out: Tensor = func(x, *args, **kwargs)
    if is_over_last(x, args[0] if args else kwargs.get("dim")):
        mode.weights.add(out, x)
    return out


def _matmul(mode: Filtering, func: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """Filter a product of weights and values."""
    found = mode.weights.find(x)
    if found is None or not isinstance(y, Tensor) or y.ndim < 2:
        return func(x, y, **kwargs)
    mode.calls += 1
    out, mode.mask = product(mode.response, *found, y, mode.batches)
    return out


def _einsum(mode: Filtering, func: Any, equation: Any, *operands: Any) -> Any:
    """Filter a product of weights and values that is written as an equation."""
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    found = [mode.weights.find(each) for each in operands]
    if isinstance(equation, str) and len(operands) == 2 and any(found):
        if found[0] is None:  # values first
            operands, found = operands[::-1], found[::-1]
            sides, _, result = equation.partition("->")
            equation = f"{','.join(sides.split(',')[::-1])}->{result}"
        read = einsum_operands(equation, *operands)
        if read is not None and found[0] is not None:
            mode.calls += 1
            weights, V, back = read
            out, mode.mask = product(mode.response, weights, found[0][1], V, mode.batches)
            return back(out)
    return func(equation, *operands)


HANDLERS: dict[Any, Handler] = {
    F.scaled_dot_product_attention: _fused,
    F.multi_head_attention_forward: _multi_head,
    torch.einsum: _einsum,
    **dict.fromkeys(SOFTMAX, _softmax),
    **dict.fromkeys(MATMUL, _matmul),
}
