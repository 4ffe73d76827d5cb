"""XCiT (El-Nouby et al., NeurIPS 2021), with the names of timm: attention over channels."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, noise, seeded
from support.nn_networks.vit import Mlp, Patches, fused_qkv

DIM, HEADS, SIDE = 24, 3, 16
PATCHES = 16


class XCA(nn.Module):
    """Cross-covariance attention: c × c weights of a head, of q and k normalised over tokens."""

    def __init__(self, dim, heads, fused):
        super().__init__()
        self.num_heads, self.fused_attn = heads, fused
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x):
        batch, nodes, dim = x.shape
        qkv = self.qkv(x).reshape(batch, nodes, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 4, 1).unbind(0)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        if self.fused_attn:
            y = F.scaled_dot_product_attention(q * self.temperature, k, v, scale=1.0)
        else:
            scores = (q @ k.transpose(-2, -1)) * self.temperature
            y = self.attn_drop(scores.softmax(dim=-1)) @ v
        return self.proj_drop(self.proj(y.permute(0, 3, 1, 2).reshape(batch, nodes, dim)))


class LPI(nn.Module):
    """Local patch interaction: two depthwise convolutions."""

    def __init__(self, dim):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.act, self.bn = nn.GELU(), nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x):
        batch, nodes, dim = x.shape
        side = int(nodes**0.5)
        y = x.transpose(1, 2).reshape(batch, dim, side, side)
        return self.conv2(self.bn(self.act(self.conv1(y)))).flatten(2).transpose(1, 2)


class XCABlock(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(DIM) for _ in range(3))
        self.attn, self.local_mp, self.mlp = XCA(DIM, HEADS, fused), LPI(DIM), Mlp(DIM)
        self.gamma1, self.gamma2, self.gamma3 = (nn.Parameter(torch.ones(DIM)) for _ in range(3))

    def forward(self, x):
        x = x + self.gamma1 * self.attn(self.norm1(x))
        x = x + self.gamma3 * self.local_mp(self.norm3(x))
        return x + self.gamma2 * self.mlp(self.norm2(x))


class ClassAttn(nn.Module):
    """One query, the class token; keys are all tokens."""

    def __init__(self, dim, heads, fused):
        super().__init__()
        self.num_heads, self.fused_attn, self.scale = heads, fused, (dim // heads) ** -0.5
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x):
        batch, _, dim = x.shape
        shape = (batch, -1, self.num_heads, dim // self.num_heads)
        q = self.q(x[:, 0]).unsqueeze(1).reshape(shape).permute(0, 2, 1, 3)
        k, v = (part(x).reshape(shape).permute(0, 2, 1, 3) for part in (self.k, self.v))
        if self.fused_attn:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.0)
        else:
            y = self.attn_drop(((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)) @ v
        return self.proj_drop(self.proj(y.transpose(1, 2).reshape(batch, 1, dim)))


class ClassBlock(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.attn, self.mlp = ClassAttn(DIM, HEADS, fused), Mlp(DIM)
        self.gamma1, self.gamma2 = (nn.Parameter(torch.ones(DIM)) for _ in range(2))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.gamma1 * torch.cat([self.attn(y), y[:, 1:]], dim=1)
        return x + torch.cat([self.gamma2 * self.mlp(self.norm2(x[:, :1])), x[:, 1:]], dim=1)


class XCiT(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.patch_embed = Patches(DIM)
        self.blocks = nn.ModuleList(XCABlock(fused) for _ in range(2))
        self.cls_attn_blocks = nn.ModuleList([ClassBlock(fused)])
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, 10)

    def forward(self, image):
        x = self.patch_embed(image)
        for block in self.blocks:
            x = block(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.cls_attn_blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def channels_attention(module, x):
    q, k, _ = (part.swapaxes(2, 3) for part in fused_qkv(module, x))
    q, k = (part / (part**2).sum(axis=-1, keepdims=True) ** 0.5 for part in (q, k))
    return plain.attention(plain.array(module.temperature) * q, k, scale=1.0)


def class_attention(module, x):
    q = plain.linear(x[:, :1], module.q.weight, module.q.bias)
    k = plain.linear(x, module.k.weight, module.k.bias)
    return plain.attention(*(plain.split(part, module.num_heads) for part in (q, k)))


def class_projections(model, name):
    module = model.get_submodule(name)
    return plain.value_output(module.v.weight, module.proj.weight, module.num_heads)


CLASS = "cls_attn_blocks.0.attn"
LAYERS = (
    *(Layer(f"blocks.{i}.attn", HEADS, DIM // HEADS, 2, channels_attention) for i in range(2)),
    Layer(
        CLASS, HEADS, 1, 2, class_attention, partial(class_projections, name=CLASS),
        keys=PATCHES + 1, cross=True,
    ),
)  # fmt: skip
NETWORKS = tuple(
    Network(name, lambda f=f: seeded(XCiT(f)), lambda: noise(2, 3, SIDE, SIDE), LAYERS)
    for name, f in (("timm_xcit", False), ("timm_xcit_fused", True))
)
