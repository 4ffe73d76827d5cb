"""ALBERT (Lan et al., ICLR 2020), with the names of Hugging Face: one layer, applied again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.bert import eager, sdpa
from support.nn_networks.network import Layer, Network, seeded

EMBEDDING, DIM, HEADS, DEPTH, WORDS, NODES = 8, 24, 3, 3, 50, 9
NAME = "encoder.albert_layer_groups.0.albert_layers.0.attention"


class Attention(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.interface, self.num_attention_heads = interface, HEADS
        self.attention_head_size = DIM // HEADS
        self.query, self.key, self.value, self.dense = (nn.Linear(DIM, DIM) for _ in range(4))
        self.LayerNorm = nn.LayerNorm(DIM, eps=1e-12)

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.attention_head_size)
        q, k, v = (
            part(x).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        y = self.interface(q, k, v, None, self.attention_head_size**-0.5, self.training)
        return self.LayerNorm(x + self.dense(y.reshape(x.shape).contiguous()))


class AlbertLayer(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.attention = Attention(interface)
        self.ffn, self.ffn_output = nn.Linear(DIM, 2 * DIM), nn.Linear(2 * DIM, DIM)
        self.full_layer_layer_norm = nn.LayerNorm(DIM, eps=1e-12)

    def forward(self, x):
        x = self.attention(x)
        return self.full_layer_layer_norm(self.ffn_output(F.gelu(self.ffn(x))) + x)


class Group(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.albert_layers = nn.ModuleList([AlbertLayer(interface)])


class Encoder(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.embedding_hidden_mapping_in = nn.Linear(EMBEDDING, DIM)
        self.albert_layer_groups = nn.ModuleList([Group(interface)])


class Albert(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.embeddings = nn.Embedding(WORDS, EMBEDDING)
        self.encoder = Encoder(interface)

    def forward(self, input_ids):
        x = self.encoder.embedding_hidden_mapping_in(self.embeddings(input_ids))
        for _ in range(DEPTH):
            x = self.encoder.albert_layer_groups[0].albert_layers[0](x)
        return {"last_hidden_state": x}


def batch():
    generator = torch.Generator().manual_seed(5)
    return {"input_ids": torch.randint(WORDS, (2, NODES), generator=generator)}


def attention(module, x, *_, **__):
    parts = (plain.linear(x, part.weight, part.bias) for part in (module.query, module.key))
    return plain.attention(*(plain.split(part, module.num_attention_heads) for part in parts))


def projections(model, name=NAME):
    module = model.get_submodule(name)
    return plain.value_output(module.value.weight, module.dense.weight, module.num_attention_heads)


LAYERS = tuple(Layer(NAME, HEADS, NODES, 2, attention, projections, call=i) for i in range(DEPTH))
NETWORKS = (
    Network("albert_sdpa", lambda: seeded(Albert(sdpa)), batch, LAYERS),
    Network("albert_eager", lambda: seeded(Albert(eager)), batch, LAYERS),
)
