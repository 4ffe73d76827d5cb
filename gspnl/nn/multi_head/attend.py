"""Multi-head attention with a response: project, split into heads, filter, join, project."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.attention_responses import Affinity, AttentionResponse, Fused, Mask, Stored
from gspnl.nn.multi_head.masks import joined_mask, widened


@dataclass(frozen=True, eq=False)
class Maps:
    """Weights of a multi-head attention, as :class:`torch.nn.MultiheadAttention` names them.

    ``separate`` are those of q, k and v where ``packed`` is None.
    """

    packed: Tensor | None
    separate: tuple[Tensor, Tensor, Tensor] | None
    bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    bias_k: Tensor | None = None
    bias_v: Tensor | None = None
    zero_key: bool = False

    @property
    def extra_keys(self) -> int:
        """Number of keys that no token has."""
        return (self.bias_k is not None) + self.zero_key

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Return q, k and v (B, N, C)."""
        if self.packed is not None and query is key and key is value:
            return F.linear(query, self.packed, self.bias).chunk(3, dim=-1)
        weights = self.separate if self.packed is None else self.packed.chunk(3)
        assert weights is not None
        biases: Any = (None,) * 3 if self.bias is None else self.bias.chunk(3)
        signals = (query, key, value)
        return tuple(F.linear(x, w, b) for x, w, b in zip(signals, weights, biases, strict=True))

    def keys(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys that no token has, and their values."""
        batch = k.shape[0]
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(batch, 1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.expand(batch, 1, -1)], dim=1)
        if self.zero_key:
            k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
        return k, v


def split(x: Tensor, heads: int) -> Tensor:
    """Return (B, H, N, C/H) of (B, N, C)."""
    return x.reshape(*x.shape[:2], heads, x.shape[-1] // heads).transpose(1, 2)


def join(x: Tensor) -> Tensor:
    """Return (B, N, C) of (B, H, N, C/H)."""
    return x.transpose(1, 2).flatten(2)


def multi_head(
    response: AttentionResponse,
    maps: Maps,
    heads: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    key_padding_mask: Tensor | None = None,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    need_weights: bool = False,
    average: bool = True,
    norms: tuple[Any, Any] | None = None,
    mask: Mask | None = None,
) -> tuple[Tensor, Tensor | None, Mask]:
    """Attend from query (B, N, C) to key and value (B, M, ·).

    Parameters
    ----------
    norms : pair of modules, optional
        Applied to q and k, head by head.
    mask : Mask, optional
        In place of the masks of torch's multi-head attention.

    Returns
    -------
    out : Tensor of shape (B, N, C)
    weights : Tensor of shape (B, N, M) or (B, H, N, M), or None
        A, before the response.
    seen : Mask
        For :meth:`AttentionResponse.finished`, which the caller applies to the output.
    """
    if query.shape[0] != key.shape[0]:
        raise InputError(
            f"query holds a batch of {query.shape[0]}, and key and value of {key.shape[0]}; they "
            "must agree (batch_first tells which axis it is)"
        )
    q, k, v = maps.project(query, key, value)
    k, v = maps.keys(k, v)
    q, k, v = (split(x, heads) for x in (q, k, v))
    if norms is not None:
        q, k = norms[0](q), norms[1](k)
    if mask is None:
        extra, n = maps.extra_keys, q.shape[-2]
        if extra and is_causal:  # every query sees the keys that no token has
            if attn_mask is None:
                attn_mask = q.new_ones(n, k.shape[-2] - extra, dtype=torch.bool).triu(1)
            is_causal = False
        mask = joined_mask(
            (q.shape[0], heads, n, k.shape[-2]),
            widened(key_padding_mask, extra),
            widened(attn_mask, extra),
            is_causal,
        )
    weights = None
    A: Affinity = Fused(q, k, mask, dropout)
    if need_weights:
        weights = attention_weights(q, k, mask)
        A = Stored(F.dropout(weights, dropout) if dropout else weights, mask)
        weights = A.weights
    out = F.linear(join(response.attend(A, v)), maps.out, maps.out_bias)
    if weights is not None and average:
        weights = weights.mean(1)
    return out, weights, mask.of_tokens(*A.shape)


def attention_weights(q: Tensor, k: Tensor, mask: Mask) -> Tensor:
    """Return softmax(q kᵀ/√r + mask), N × M in each head."""
    scores = (q * math.sqrt(1 / q.shape[-1])) @ k.mT
    if mask.causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    if mask.mask is not None and mask.mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask.mask, -torch.inf)
    elif mask.mask is not None:
        scores = scores + mask.mask
    return scores.softmax(-1)
