"""Small networks with attention, and the plain formula of what an AttentionCall says."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from gspnl.nn.attention_calls import observe


class Calling(nn.Module):
    """A network that calls a module in a given way."""

    def __init__(self, inner, way):
        super().__init__()
        self.inner = inner
        self.way = way

    def forward(self, *args):
        return self.way(self.inner, *args)


def calling(inner, way):
    return Calling(inner, way)


class Layered(nn.Module):
    """A network of one layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args):
        return self.inner(*args)


class FusedAttention(nn.Module):
    """Self-attention by torch's fused function, heads as in timm."""

    def __init__(self, dim, heads):
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def split(self, x):
        B, N, _ = x.shape
        return self.qkv(x).reshape(B, N, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)

    def forward(self, x):
        q, k, v = self.split(x)
        return self.proj(self.attend(q, k, v).transpose(1, 2).reshape(x.shape))

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)


class EagerAttention(FusedAttention):
    """The same, with its weights computed."""

    def __init__(self, dim, heads):
        super().__init__(dim, heads)
        self.dropout = nn.Dropout(0.1)

    def attend(self, q, k, v):
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return self.dropout(weights) @ v


def global_hooks():
    """Count the hooks that are called for all modules."""
    module = torch.nn.modules.module
    return len(module._global_forward_pre_hooks) + len(module._global_forward_hooks)


def observed(model, x):
    """Return the calls of a network, and the output that it had while it was observed."""
    outputs = []

    def run(inner, x):
        outputs.append(inner(x))
        return outputs[-1]

    return observe(calling(model, run), x), outputs[-1]


def plain_output(call, dtype=torch.float32):
    """Return the weights A (B, H, N, M) of a call by the plain formula, and A V."""
    v = call.v.double()
    if call.weights is not None:
        A = call.weights.double()
    else:
        q, k = call.q.double(), call.k.double()
        shared = q.shape[1] // k.shape[1]
        scores = call.scale * q @ k.repeat_interleave(shared, dim=1).transpose(-2, -1)
        if call.mask is not None and call.mask.dtype == torch.bool:
            scores = scores.masked_fill(~call.mask, -torch.inf)
        elif call.mask is not None:
            scores = scores + call.mask.double()
        if call.causal:
            N, M = scores.shape[-2:]
            later = torch.arange(M) > torch.arange(N)[:, None]
            scores = scores.masked_fill(later, -torch.inf)
        top = scores.amax(-1, keepdim=True)
        A = torch.exp(scores - top.where(top.isfinite(), torch.zeros_like(top)))
        A = A / A.sum(-1, keepdim=True).clamp(min=1e-300)
    v = v.repeat_interleave(A.shape[1] // v.shape[1], dim=1)
    return A.to(dtype), (A @ v).to(dtype)
