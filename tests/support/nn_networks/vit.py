"""Vision transformer (Dosovitskiy et al., ICLR 2021), with the names of timm."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, noise, seeded

DIM, HEADS, DEPTH, SIDE, PATCH = 24, 3, 2, 16, 4
NODES = (SIDE // PATCH) ** 2 + 1


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Patches(nn.Module):
    """Image → one vector per patch."""

    def __init__(self, dim=DIM):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, image):
        return self.proj(image).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """timm: one Linear for q, k and v; SDPA where fused, else q scaled before the product."""

    def __init__(self, dim, heads, fused):
        super().__init__()
        self.num_heads, self.head_dim, self.fused_attn = heads, dim // heads, fused
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm, self.k_norm = nn.Identity(), nn.Identity()
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x):
        batch, nodes, dim = x.shape
        qkv = self.qkv(x).reshape(batch, nodes, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.fused_attn:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.0)
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1)
            y = self.attn_drop(scores.softmax(dim=-1)) @ v
        return self.proj_drop(self.proj(y.transpose(1, 2).reshape(batch, nodes, dim)))


class Block(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = Attention(dim, heads, fused), Mlp(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TimmViT(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.zeros(1, NODES, DIM))
        self.patch_embed = Patches()
        self.blocks = nn.Sequential(*(Block(DIM, HEADS, fused) for _ in range(DEPTH)))
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, 10)

    def forward(self, image):
        x = self.patch_embed(image)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def fused_qkv(module, x) -> list:
    """q, k and v of a Linear to 3 H c outputs, as (B, H, N, c)."""
    parts = plain.linear(x, module.qkv.weight, module.qkv.bias)
    return [plain.split(part, module.num_heads) for part in plain.thirds(parts)]


def timm_attention(module, x, **_):
    q, k, _ = fused_qkv(module, x)
    return plain.attention(q, k)


def timm_projections(model, name):
    module = model.get_submodule(name)
    value = module.qkv.weight[2 * len(module.qkv.weight) // 3 :]
    return plain.value_output(value, module.proj.weight, module.num_heads)


def images():
    return noise(2, 3, SIDE, SIDE)


def layers(names, attention, projections):
    return tuple(Layer(n, HEADS, NODES, 2, attention, partial(projections, name=n)) for n in names)


TIMM = layers([f"blocks.{i}.attn" for i in range(DEPTH)], timm_attention, timm_projections)
NETWORKS = (
    Network("timm_vit", lambda: seeded(TimmViT(fused=True)), images, TIMM),
    Network("timm_vit_unfused", lambda: seeded(TimmViT(fused=False)), images, TIMM),
)
