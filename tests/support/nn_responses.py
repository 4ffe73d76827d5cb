"""Attention and its responses as dense matrices in float64, without torch's attention."""

from __future__ import annotations

import torch
from torch import nn

RESPONSES = {
    "nl": {},
    "ns": {},
    "snl": {},
    "gsnl": {},
    "chebyshev": {"order": 3},
    "gfsa": {"order": 4},
    "attnscale": {},
    "featscale": {},
    "contranorm": {"s": 0.3},
}
NL_AT_FIRST = ("nl", "snl", "gsnl", "chebyshev", "gfsa", "attnscale", "featscale")
SELF_ONLY = ("ns", "snl", "gsnl", "chebyshev", "gfsa")


def scatter(module, seed=0):
    """Draw every parameter of a response anew, away from the values that it starts with."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=draw).to(parameter))
    return module


def dense_softmax(q, k, visible=None, bias=0.0, scale=None):
    """Return A (B, H, N, M) by exponentials; ``visible`` is True where a key takes part."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    weights = torch.einsum("bhnr,bhmr->bhnm", q, k) * scale + bias
    weights = torch.exp(weights - weights.amax(-1, keepdim=True).detach())
    if visible is not None:
        weights = weights * visible
    return weights / weights.sum(-1, keepdim=True)


def uniform(shape, visible=None):
    """Return the attention that gives the keys in sight equal weights."""
    weights = torch.ones(shape, dtype=torch.float64)
    if visible is not None:
        weights = weights * visible
    return weights / weights.sum(-1, keepdim=True).clamp(min=1)


def dense_filter(name, response, A, mean):
    """Return g(A) (B, H, N, M) as a matrix, of the response's parameters in float64."""
    p = {key: value.double() for key, value in response.named_parameters()}
    at = {key: value[:, None, None] for key, value in p.items() if value.ndim == 1}
    one = torch.eye(A.shape[-2], A.shape[-1], dtype=A.dtype)
    if name in ("nl", "featscale", "contranorm"):
        return A
    if name == "ns":
        return A - one
    if name == "snl":
        return at["theta_0"] * one + at["theta_1"] * A
    if name == "gsnl":
        return at["theta_0"] * one + at["theta_1"] * A + at["theta_2"] * (2 * A - one)
    if name == "chebyshev":
        theta = p["theta"][:, :, None, None]
        terms = [one.expand_as(A), -A]
        while len(terms) < p["theta"].shape[1]:
            terms.append(-2 * A @ terms[-1] - terms[-2])
        return sum(theta[:, k] * terms[k] for k in range(len(terms)))
    if name == "gfsa":
        high = A + (response.options["order"] - 1) * (A @ A - A)
        return at["w_0"] * one + at["w_1"] * A + at["w_k"] * high
    assert name == "attnscale"
    return mean + (1 + at["omega"]) * (A - mean)


def dense_finish(name, response, Y, visible=None):
    """Return what a response makes of the layer's output Y (B, N, C); visible (B, N, N)."""
    p = {key: value.double() for key, value in response.named_parameters()}
    if name == "featscale":
        mean = uniform((1, Y.shape[1], Y.shape[1]), visible) @ Y
        return Y + p["s"] * mean + p["t"] * (Y - mean)
    if name == "contranorm":
        near = dense_softmax(
            Y[:, None], Y[:, None], None if visible is None else visible[:, None], scale=1.0
        )[:, 0]
        Z = Y - p["s"] * (near @ Y)
        Z = (Z - Z.mean(-1, keepdim=True)) / (Z.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return Z * p["norm.weight"] + p["norm.bias"]
    return Y


def dense_attention(name, module, x, visible=None, heads=4):
    """Return the output of a self-attention module with the names of torch's, in float64."""
    weight, bias = module.in_proj_weight.double(), module.in_proj_bias.double()
    B, N, C = x.shape
    q, k, v = (
        (x @ w.T + b).reshape(B, N, heads, C // heads).transpose(1, 2)
        for w, b in zip(weight.chunk(3), bias.chunk(3), strict=True)
    )
    A = dense_softmax(q, k, visible)
    mean = uniform(A.shape, visible)
    Y = (dense_filter(name, module.response, A, mean) @ v).transpose(1, 2).reshape(B, N, C)
    Y = Y @ module.out_proj.weight.double().T + module.out_proj.bias.double()
    seen = None if visible is None else visible.expand(B, -1, N, N)[:, 0]
    return dense_finish(name, module.response, Y, seen)


class TimmAttention(nn.Module):
    """Hand-written twin of timm.layers.Attention: names, shapes, and the eager formula."""

    def __init__(self, dim, num_heads=8, qkv_bias=False, qk_norm=False, proj_bias=True):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, dim // num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.q_norm = nn.LayerNorm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(self.head_dim) if qk_norm else nn.Identity()
        self.attn_drop = nn.Dropout(0.0)
        self.norm = nn.Identity()
        self.proj = nn.Linear(dim, dim, bias=proj_bias)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x, attn_mask=None, is_causal=False):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(qkv[0]), self.k_norm(qkv[1])
        scores = q * self.head_dim**-0.5 @ k.mT
        if is_causal:
            attn_mask = torch.ones(N, N, dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        out = self.attn_drop(scores.softmax(-1)) @ qkv[2]
        return self.proj_drop(self.proj(out.transpose(1, 2).reshape(B, N, C)))
