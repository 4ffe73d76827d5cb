"""GPT-2 (Radford et al., 2019), with the names of Hugging Face: Conv1D projections, causal."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, seeded

DIM, HEADS, DEPTH, WORDS, NODES = 24, 3, 2, 50, 10


class Conv1D(nn.Module):
    """Linear map with a weight of shape (in, out)."""

    def __init__(self, out, width):
        super().__init__()
        self.nf, self.nx = out, width
        self.weight = nn.Parameter(torch.zeros(width, out))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x):
        y = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return y.view(*x.shape[:-1], self.nf)


def triangle(nodes):
    return torch.ones(nodes, nodes, dtype=torch.bool).tril()[None, None]


def sdpa(q, k, v, scaling):
    return F.scaled_dot_product_attention(q, k, v, dropout_p=0.0, scale=scaling, is_causal=True)


def eager_added(q, k, v, scaling):
    """transformers 5: the mask is added to the scores."""
    least = torch.finfo(q.dtype).min
    mask = torch.where(triangle(q.shape[2]), torch.zeros(()), torch.full((), least))
    weights = F.softmax(torch.matmul(q, k.transpose(-1, -2)) * scaling + mask, dim=-1)
    weights = F.dropout(weights.type(v.dtype), p=0.1, training=False)
    return torch.matmul(weights, v)


def eager_where(q, k, v, scaling):
    """transformers 4: scores are divided and replaced."""
    scores = torch.matmul(q, k.transpose(-1, -2)) / torch.full([], 1 / scaling, dtype=q.dtype)
    least = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype)
    scores = torch.where(triangle(q.shape[2]), scores, least)
    weights = F.softmax(scores, dim=-1).type(v.dtype)
    return torch.matmul(F.dropout(weights, p=0.1, training=False), v)


def eager_filled(q, k, v, scaling):
    """minGPT and its kin: masked_fill with −∞."""
    scores = (q @ k.transpose(-2, -1)) * scaling
    scores = scores.masked_fill(~triangle(q.shape[2]), float("-inf"))
    return F.softmax(scores, dim=-1) @ v


def cached(q, k, v, scaling):
    """Keys and values go through a cache, which is empty before."""
    k, v = (torch.cat([torch.tensor([]), x], dim=-2) for x in (k, v))
    return eager_added(q, k, v, scaling)


class Attention(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.interface, self.num_heads, self.head_dim = interface, HEADS, DIM // HEADS
        self.c_attn, self.c_proj = Conv1D(3 * DIM, DIM), Conv1D(DIM, DIM)
        self.attn_dropout, self.resid_dropout = nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, hidden_states):
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        q, k, v = (
            part.view(shape).transpose(1, 2)
            for part in self.c_attn(hidden_states).split(DIM, dim=2)
        )
        y = self.interface(q, k, v, self.head_dim**-0.5).transpose(1, 2)
        y = self.c_proj(y.reshape(*y.shape[:-2], -1).contiguous())
        return self.resid_dropout(y), None


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_fc, self.c_proj = Conv1D(2 * DIM, DIM), Conv1D(DIM, 2 * DIM)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.attn, self.mlp = Attention(interface), MLP()

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))[0]
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(WORDS, DIM), nn.Embedding(32, DIM)
        self.h = nn.ModuleList(Block(interface) for _ in range(DEPTH))
        self.ln_f = nn.LayerNorm(DIM)

    def forward(self, input_ids):
        x = self.wte(input_ids) + self.wpe(torch.arange(input_ids.shape[1]))
        for block in self.h:
            x = block(x)
        return {"last_hidden_state": self.ln_f(x)}


def batch():
    generator = torch.Generator().manual_seed(4)
    return {"input_ids": torch.randint(WORDS, (2, NODES), generator=generator)}


def attention(module, x, *_, **__):
    parts = plain.thirds(plain.linear(x, module.c_attn.weight.T, module.c_attn.bias))
    q, k, _ = (plain.split(part, module.num_heads) for part in parts)
    return plain.attention(q, k, bias=plain.bias(triangle(x.shape[1])))


def projections(model, name):
    module = model.get_submodule(name)
    value = plain.thirds(module.c_attn.weight)[2].T
    return plain.value_output(value, module.c_proj.weight.T, module.num_heads)


NAMES = tuple(f"h.{i}.attn" for i in range(DEPTH))
LAYERS = tuple(
    Layer(n, HEADS, NODES, 2, attention, partial(projections, name=n), masked="causal")
    for n in NAMES
)
NETWORKS = tuple(
    Network(name, lambda interface=interface: seeded(GPT2(interface)), batch, LAYERS)
    for name, interface in (
        ("gpt2_sdpa", sdpa),
        ("gpt2_eager", eager_added),
        ("gpt2_eager_v4", eager_where),
        ("gpt2_filled", eager_filled),
        ("gpt2_cached", cached),
    )
)
