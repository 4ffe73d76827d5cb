"""Fast paths of nn.MultiheadAttention and nn.TransformerEncoderLayer: whole layers in one call."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.masks import compressed
from gspnl.nn.attention_calls.recorder import Recorder


def attention_layer(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Record torch._native_multi_head_attention."""
    source = "multi_head_attention_forward"
    _layer(seen, given, given["query"], given["num_head"], source, seen.modules.layer)


def encoder_layer(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Record the attention of torch._transformer_encoder_layer_fwd."""
    x = given["src"]
    if given["norm_first"]:
        weight, bias, eps = given["norm_weight_1"], given["norm_bias_1"], given["eps"]
        x = F.layer_norm(x, weight.shape, weight, bias, eps)
    name = f"{seen.modules.layer}.self_attn".removeprefix(".")
    layer = name if name in seen.modules.names.values() else seen.modules.layer
    _layer(seen, given, x, given["num_heads"], "encoder fast path", layer)


def _layer(
    seen: Recorder, given: dict[str, Any], x: Tensor, heads: int, source: str, layer: str
) -> None:
    mask, kind = given.get("mask"), given.get("mask_type")
    if x.is_nested:
        lengths = torch.tensor([len(each) for each in x.unbind()], device=x.device)
        x = torch.nested.to_padded_tensor(x, 0.0)
        mask, kind = torch.arange(x.shape[1], device=x.device) >= lengths[:, None], 1
    B, N, C = x.shape
    weight, bias = given["qkv_weight"], given["qkv_bias"]
    qkv = F.linear(x, weight, bias).reshape(B, N, 3, heads, C // heads).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.detach()
    mask, causal = compressed(_blocked(mask, kind, B, N)) if mask is not None else (None, False)
    seen.record(
        AttentionCall(
            layer=layer,
            source=source,
            q=q,
            k=k,
            v=v,
            mask=mask,
            causal=causal,
            scale=1 / math.sqrt(C // heads),
            inputs=x.detach().clone(),
            value_weight=weight.detach()[2 * C :].mT.reshape(C, heads, -1).movedim(1, 0).clone(),
            output_weight=given["proj_weight"].detach().mT.reshape(heads, -1, C).clone(),
        )
    )


def _blocked(mask: Tensor, kind: int | None, B: int, N: int) -> Tensor:
    """Return the mask as torch's kernel reads it: True, or any number but 0, takes a key out."""
    blocked = mask.bool()
    if kind == 1 or (kind is None and blocked.shape == (B, N)):
        return blocked.reshape(B, 1, 1, N)
    return blocked.reshape(1, 1, N, N) if blocked.ndim == 2 else blocked.reshape(B, -1, N, N)


HANDLERS = {
    "_native_multi_head_attention": attention_layer,
    "_transformer_encoder_layer_fwd": encoder_layer,
}
