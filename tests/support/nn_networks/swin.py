"""Swin transformer (Liu et al., ICCV 2021), with the names of timm: windows are batch entries."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, noise, seeded
from support.nn_networks.vit import Mlp, fused_qkv, timm_projections

WINDOW, DIM, GRID = 4, 12, 8
HEADS = (2, 3)  # of the two stages


def windows(x):
    """(B, H, W, C) → (B · windows, WINDOW², C), row by row of windows."""
    batch, height, width, dim = x.shape
    x = x.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, dim)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW**2, dim)


def image(x, side):
    count = side // WINDOW
    x = x.view(-1, count, count, WINDOW, WINDOW, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(len(x), side, side, -1)


def relative_index():
    """Row of the table of biases for each pair of positions of a window."""
    at = np.stack(np.mgrid[:WINDOW, :WINDOW]).reshape(2, -1)
    gap = at[:, :, None] - at[:, None, :] + WINDOW - 1
    return torch.from_numpy(gap[0] * (2 * WINDOW - 1) + gap[1])


def shift_mask(side, shift):
    """−100 between positions of a window that the cyclic shift brought together, per window."""
    edges = np.searchsorted([side - WINDOW, side - shift], np.arange(side), side="right")
    region = torch.from_numpy(3 * edges[:, None] + edges)[None, :, :, None].float()
    region = windows(region)[..., 0]
    return -100.0 * (region[:, :, None] != region[:, None, :]).float()


class WindowAttention(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.num_heads, self.fused_attn, self.scale = heads, fused, (dim // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_index(), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.0)
        self.softmax = nn.Softmax(dim=-1)

    def bias(self):
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[
            None
        ]

    def forward(self, x, mask=None):
        count, nodes, _ = x.shape
        qkv = self.qkv(x).reshape(count, nodes, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused_attn:
            bias = self.bias()
            if mask is not None:
                mask = mask[None, :, None].expand(count // len(mask), -1, self.num_heads, -1, -1)
                bias = bias + mask.reshape(-1, self.num_heads, nodes, nodes)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=0.0)
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1) + self.bias()
            if mask is not None:
                scores = scores.view(-1, len(mask), self.num_heads, nodes, nodes)
                scores = (scores + mask[None, :, None]).view(-1, self.num_heads, nodes, nodes)
            y = self.attn_drop(self.softmax(scores)) @ v
        return self.proj_drop(self.proj(y.transpose(1, 2).reshape(count, nodes, -1)))


class Block(nn.Module):
    def __init__(self, dim, heads, side, shift, fused):
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = WindowAttention(dim, heads, fused), Mlp(dim)
        mask = shift_mask(side, shift) if shift else None
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, x):
        shifted = torch.roll(self.norm1(x), (-self.shift, -self.shift), (1, 2))
        y = image(self.attn(windows(shifted), mask=self.attn_mask), self.side)
        x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
        return x + self.mlp(self.norm2(x))


class Merging(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x):
        batch, height, width, dim = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, dim).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(x.flatten(3)))


class Stage(nn.Module):
    def __init__(self, index, fused):
        super().__init__()
        dim, side = DIM * 2**index, GRID // 2**index
        self.downsample = Merging(dim // 2) if index else nn.Identity()
        shifts = (0, WINDOW // 2) if side > WINDOW else (0, 0)
        self.blocks = nn.Sequential(*(Block(dim, HEADS[index], side, s, fused) for s in shifts))

    def forward(self, x):
        return self.blocks(self.downsample(x))


class Swin(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, DIM, 2, 2)
        self.layers = nn.Sequential(*(Stage(index, fused) for index in range(2)))
        self.norm, self.head = nn.LayerNorm(2 * DIM), nn.Linear(2 * DIM, 10)

    def forward(self, x):
        x = self.layers(self.patch_embed.proj(x).permute(0, 2, 3, 1))
        return self.head(self.norm(x).mean(dim=(1, 2)))


def attention(module, x, mask=None):
    q, k, _ = fused_qkv(module, x)
    table = plain.array(module.relative_position_bias_table)
    side = math.isqrt(x.shape[1])
    at = [(i, j) for i in range(side) for j in range(side)]
    gap = side - 1
    row = np.array([[(a - c + gap) * (2 * side - 1) + b - d + gap for c, d in at] for a, b in at])
    bias = table[row].transpose(2, 0, 1)
    if mask is not None:
        bias = bias + np.tile(plain.array(mask), (len(x) // len(mask), 1, 1))[:, None]
    return plain.attention(q, k, bias=bias)


def layer(stage, block):
    name, items = f"layers.{stage}.blocks.{block}.attn", 2 * (GRID // WINDOW // 2**stage) ** 2
    masked = "masked" if (stage, block) == (0, 1) else ""
    projections = partial(timm_projections, name=name)
    return Layer(name, HEADS[stage], WINDOW**2, items, attention, projections, masked=masked)


LAYERS = tuple(layer(stage, block) for stage in (0, 1) for block in (0, 1))
NETWORKS = tuple(
    Network(
        name,
        lambda fused=fused: seeded(Swin(fused)),
        lambda: noise(2, 3, 2 * GRID, 2 * GRID),
        LAYERS,
    )
    for name, fused in (("timm_swin", False), ("timm_swin_fused", True))
)
