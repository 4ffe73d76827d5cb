"""Vision transformer with the names of Hugging Face transformers 5 and 4: separate projections."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, seeded
from support.nn_networks.vit import DEPTH, DIM, HEADS, NODES, PATCH, Mlp, images


class Attention(nn.Module):
    """Hugging Face: separate Linears; ``names`` are those of transformers 5 or 4."""

    def __init__(self, heads, names):
        super().__init__()
        self.num_attention_heads, self.head_dim, self.names = heads, DIM // heads, names
        for name in names:
            self.add_module(name, nn.Linear(DIM, DIM))

    def forward(self, hidden_states):
        batch, nodes, dim = hidden_states.shape
        q, k, v = (
            getattr(self, name)(hidden_states).view(batch, nodes, -1, self.head_dim).transpose(1, 2)
            for name in self.names[:3]
        )
        y = F.scaled_dot_product_attention(q, k, v, scale=self.head_dim**-0.5)
        y = y.transpose(1, 2).contiguous().reshape(batch, nodes, dim).contiguous()
        return self.o_proj(y) if "o_proj" in self.names else y


class Output(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(DIM, DIM)

    def forward(self, x):
        return self.dense(x)


class AttentionV4(nn.Module):
    """transformers 4: the output projection is a sibling of the attention."""

    def __init__(self, heads):
        super().__init__()
        self.attention = Attention(heads, ("query", "key", "value"))
        self.output = Output()

    def forward(self, x):
        return self.output(self.attention(x))


class ViTLayer(nn.Module):
    def __init__(self, version):
        super().__init__()
        names = ("q_proj", "k_proj", "v_proj", "o_proj")
        self.attention = Attention(HEADS, names) if version == 5 else AttentionV4(HEADS)
        self.layernorm_before, self.layernorm_after = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.mlp = Mlp(DIM)

    def forward(self, x):
        x = x + self.attention(self.layernorm_before(x))
        return x + self.mlp(self.layernorm_after(x))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleList(ViTLayer(4) for _ in range(DEPTH))


class ViT(nn.Module):
    def __init__(self, version=5):
        super().__init__()
        self.embeddings = nn.Module()
        self.embeddings.patch_embeddings = nn.Module()
        self.embeddings.patch_embeddings.projection = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.embeddings.position_embeddings = nn.Parameter(torch.zeros(1, NODES, DIM))
        if version == 5:
            self.layers = nn.ModuleList(ViTLayer(5) for _ in range(DEPTH))
        else:
            self.encoder = Encoder()
        self.layernorm = nn.LayerNorm(DIM)

    def forward(self, pixel_values):
        parts = self.embeddings
        x = parts.patch_embeddings.projection(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([parts.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + parts.position_embeddings
        for layer in self.layers if hasattr(self, "layers") else self.encoder.layer:
            x = layer(x)
        return {"last_hidden_state": self.layernorm(x)}


def attention(module, x, *_, **__):
    names = ("q_proj", "k_proj") if hasattr(module, "q_proj") else ("query", "key")
    parts = (getattr(module, name) for name in names)
    parts = (plain.linear(x, part.weight, part.bias) for part in parts)
    return plain.attention(*(plain.split(part, module.num_attention_heads) for part in parts))


def projections(model, name):
    module = model.get_submodule(name)
    if hasattr(module, "v_proj"):
        value, output = module.v_proj, module.o_proj
    else:
        value = module.value
        output = model.get_submodule(name.removesuffix("attention") + "output.dense")
    return plain.value_output(value.weight, output.weight, module.num_attention_heads)


def batch():
    return {"pixel_values": images()}


def layers(name):
    names = (name.format(i) for i in range(DEPTH))
    return tuple(
        Layer(name, HEADS, NODES, 2, attention, partial(projections, name=name)) for name in names
    )


NETWORKS = (
    Network("hf_vit", lambda: seeded(ViT()), batch, layers("layers.{}.attention")),
    Network(
        "hf_vit_v4",
        lambda: seeded(ViT(4)),
        batch,
        layers("encoder.layer.{}.attention.attention"),
    ),
)
