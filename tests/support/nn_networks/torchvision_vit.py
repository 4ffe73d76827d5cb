"""Vision transformer with the names of torchvision: nn.MultiheadAttention without weights."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import nn

from support.nn_networks.encoders import attention, projections
from support.nn_networks.network import Layer, Network, seeded
from support.nn_networks.vit import DIM, HEADS, NODES, PATCH, images

DEPTH = 2


class MLPBlock(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(DIM, 2 * DIM),
            nn.GELU(),
            nn.Dropout(0.0),
            nn.Linear(2 * DIM, DIM),
            nn.Dropout(0.0),
        )


class EncoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(DIM, eps=1e-6), nn.LayerNorm(DIM, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        self.dropout, self.mlp = nn.Dropout(0.0), MLPBlock()

    def forward(self, x):
        y = self.ln_1(x)
        y, _ = self.self_attention(y, y, y, need_weights=False)
        x = x + self.dropout(y)
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, NODES, DIM))
        self.layers = nn.Sequential(
            OrderedDict((f"encoder_layer_{i}", EncoderBlock()) for i in range(DEPTH))
        )
        self.ln = nn.LayerNorm(DIM, eps=1e-6)

    def forward(self, x):
        return self.ln(self.layers(x + self.pos_embedding))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.encoder = Encoder()
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(DIM, 10)))

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = self.encoder(torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1))
        return self.heads(x[:, 0])


NAMES = tuple(f"encoder.layers.encoder_layer_{i}.self_attention" for i in range(DEPTH))
LAYERS = tuple(Layer(n, HEADS, NODES, 2, attention, partial(projections, name=n)) for n in NAMES)
NETWORKS = (Network("torchvision_vit", lambda: seeded(ViT()), images, LAYERS),)
