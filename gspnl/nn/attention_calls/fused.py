"""Fused attention: scaled_dot_product_attention, and the kernels that it calls on each device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.layouts import Layout
from gspnl.nn.attention_calls.masks import simplified
from gspnl.nn.attention_calls.recorder import Recorder, keep

SOURCE = "scaled_dot_product_attention"


def sdpa(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Record queries, keys, values and mask of torch's fused attention."""
    q, k, v = given["query"], given["key"], given["value"]
    mask = given.get("attn_mask", given.get("attn_bias"))
    out = out[0] if isinstance(out, (tuple, list)) else out
    if q.is_nested or k.is_nested or v.is_nested:
        q, k, v, mask = padded(q, k, v)
    scale = given.get("scale")
    lead = np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    grouped = q.ndim > 3 and q.shape[-3] != k.shape[-3] and k.shape[-3] != 1
    if not grouped and q.ndim > 2:
        lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        where = seen.modules.layout(lead)
        q, k, v = (each.expand(*lead, *each.shape[-2:]) for each in (q, k, v))
    elif grouped:
        where = Layout((*lead, q.shape[-3]), len(lead), 0)
        q, k, v = (each.expand(*lead, *each.shape[-3:]) for each in (q, k, v))
    else:
        where = seen.modules.layout(())
    inside = seen.modules.inside(nn.MultiheadAttention)
    v = where.fold(v)
    mask = None if mask is None else where.fold(mask)
    mask, causal = simplified(mask, bool(given.get("is_causal", False)))
    written = seen.record(
        AttentionCall(
            layer="",
            source="multi_head_attention_forward" if inside else SOURCE,
            q=keep(where.fold(q)),
            k=keep(where.fold(k)),
            v=keep(v),
            mask=mask,
            causal=causal,
            scale=1 / math.sqrt(q.shape[-1]) if scale is None else float(scale),
            cross=q.shape[-2] != k.shape[-2] or seen.crossed(given["query"], given["key"]),
        ),
        seen.origin(given["value"]),
        None if out.is_nested else where.fold(out),
    )
    seen.mark(out, written)


def padded(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return nested queries, keys and values as padded tensors, and the mask of the padding."""
    lengths = torch.tensor([each.shape[-2] for each in k.unbind()])
    q, k, v = (torch.nested.to_padded_tensor(each, 0.0) for each in (q, k, v))
    known = torch.arange(k.shape[-2]) < lengths[:, None]
    return q, k, v, known[:, None, None].to(k.device)


HANDLERS = dict.fromkeys(
    (
        SOURCE,
        "_scaled_dot_product_attention_math",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    ),
    sdpa,
)
