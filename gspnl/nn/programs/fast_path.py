"""Read queries, keys and values from the arguments of torch's fused transformer operators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gspnl.nn.attention_calls.call import AttentionCall

OPERATORS = ("_native_multi_head_attention", "_transformer_encoder_layer_fwd")


def fast_path_call(given: Mapping[str, Any]) -> AttentionCall | None:
    """Return the attention of a fused operator from its arguments by name; None where unknown.

    Masks of these operators are True where a key is left out.
    """
    encoder = "src" in given
    query = given["src"] if encoder else given["query"]
    key = query if encoder else given["key"]
    value = query if encoder else given["value"]
    if query.is_nested or given.get("qkv_weight") is None:
        return None
    if encoder and given["norm_first"]:
        query = key = value = torch.nn.functional.layer_norm(
            query, query.shape[-1:], given["norm_weight_1"], given["norm_bias_1"], given["eps"]
        )
    heads = int(given["num_heads" if encoder else "num_head"])
    width = query.shape[-1]
    size = width // heads
    rows = given["qkv_weight"].split(width)
    biases = given["qkv_bias"].split(width)
    q, k, v = (
        (x @ w.mT + b).unflatten(-1, (heads, size)).transpose(1, 2)
        for x, w, b in zip((query, key, value), rows, biases, strict=True)
    )
    out = given.get("proj_weight")
    return AttentionCall(
        "", "encoder fast path" if encoder else "multi_head_attention_forward",
        q.detach(), k.detach(), v.detach(), mask=_mask(given, len(query)),
        scale=1 / math.sqrt(size), cross=query.shape[1] != key.shape[1],
        inputs=query.detach().clone(),
        value_weight=rows[2].detach().mT.unflatten(-1, (heads, size)).transpose(0, 1),
        output_weight=None if out is None else out.detach().mT.unflatten(0, (heads, size)),
    )  # fmt: skip


def _mask(given: Mapping[str, Any], items: int) -> Tensor | None:
    """Return a mask that is True where a key takes part; its kind is told by ``mask_type``."""
    mask = given.get("mask")
    if mask is None:
        return None
    keep: Tensor = ~mask.detach().bool()
    if given.get("mask_type") == 1:  # of keys, (B, M)
        return keep.reshape(items, 1, 1, -1)
    return keep if keep.ndim != 3 else keep.reshape(items, -1, *keep.shape[-2:])
