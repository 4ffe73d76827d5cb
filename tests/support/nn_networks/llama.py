"""Llama (Touvron et al., 2023), with the names of Hugging Face: grouped keys, rotated, causal."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, seeded

DIM, HEADS, GROUPS, DEPTH, WORDS, NODES = 24, 6, 2, 2, 50, 8
HEAD = DIM // HEADS


def rotated(x, angles):
    """Rotary positions: x cos + (−x₂, x₁) sin with halves of the channels."""
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()


def angles(nodes):
    rates = 10000.0 ** (-torch.arange(0, HEAD, 2) / HEAD)
    return (torch.arange(nodes)[:, None] * rates).repeat(1, 2)


def grouped(q, k, v, scaling):
    return F.scaled_dot_product_attention(q, k, v, scale=scaling, is_causal=True, enable_gqa=True)


def repeated(q, k, v, scaling):
    k, v = (x[:, :, None].expand(-1, -1, HEADS // GROUPS, -1, -1).flatten(1, 2) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=scaling, is_causal=True)


def eager(q, k, v, scaling):
    k, v = (x.repeat_interleave(HEADS // GROUPS, dim=1) for x in (k, v))
    mask = torch.full((q.shape[2], q.shape[2]), torch.finfo(q.dtype).min).triu(1)[None, None]
    scores = torch.matmul(q, k.transpose(2, 3)) * scaling + mask
    return torch.matmul(F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)


class Attention(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.interface, self.head_dim = interface, HEAD
        self.q_proj = nn.Linear(DIM, HEADS * HEAD, bias=False)
        self.k_proj = nn.Linear(DIM, GROUPS * HEAD, bias=False)
        self.v_proj = nn.Linear(DIM, GROUPS * HEAD, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD, DIM, bias=False)

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.head_dim)
        parts = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in parts)
        turn = angles(x.shape[1])
        y = self.interface(rotated(q, turn), rotated(k, turn), v, self.head_dim**-0.5)
        return self.o_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1).contiguous()), None


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(DIM, 2 * DIM, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(2 * DIM, DIM, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.self_attn, self.mlp = Attention(interface), MLP()
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(DIM), nn.RMSNorm(DIM)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))[0]
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.embed_tokens = nn.Embedding(WORDS, DIM)
        self.layers = nn.ModuleList(DecoderLayer(interface) for _ in range(DEPTH))
        self.norm = nn.RMSNorm(DIM)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        return {"last_hidden_state": self.norm(x)}


def batch():
    generator = torch.Generator().manual_seed(6)
    return {"input_ids": torch.randint(WORDS, (2, NODES), generator=generator)}


def attention(module, x):
    """By complex numbers: channels j and j + r/2 of a head turn by position · 10000^(−2j/r)."""
    q = plain.split(plain.linear(x, module.q_proj.weight), HEADS)
    k = plain.split(plain.linear(x, module.k_proj.weight), GROUPS)
    half = HEAD // 2
    phase = np.outer(np.arange(x.shape[1]), 10000.0 ** (-np.arange(half) / half))
    q, k = ((y[..., :half] + 1j * y[..., half:]) * np.exp(1j * phase) for y in (q, k))
    q, k = (np.concatenate([y.real, y.imag], axis=-1) for y in (q, k))
    k = k[:, np.arange(HEADS) // (HEADS // GROUPS)]
    return plain.attention(q, k, bias=plain.excluded(np.tri(x.shape[1], dtype=bool)))


def projections(model, name):
    module = model.get_submodule(name)
    head = np.arange(HEADS) // (HEADS // GROUPS)
    value = plain.array(module.v_proj.weight).reshape(GROUPS, HEAD, DIM)[head].swapaxes(1, 2)
    return value, plain.array(module.o_proj.weight).T.reshape(HEADS, HEAD, DIM)


NAMES = tuple(f"layers.{i}.self_attn" for i in range(DEPTH))
LAYERS = tuple(
    Layer(n, HEADS, NODES, 2, attention, partial(projections, name=n), masked="causal")
    for n in NAMES
)
NETWORKS = tuple(
    Network(name, lambda interface=interface: seeded(Llama(interface)), batch, LAYERS)
    for name, interface in (
        ("llama_grouped", grouped),
        ("llama_repeated", repeated),
        ("llama_eager", eager),
    )
)
