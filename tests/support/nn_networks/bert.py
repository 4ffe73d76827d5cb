"""BERT (Devlin et al., 2019), with the names of Hugging Face: SDPA or eager, padded sentences."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, seeded

DIM, HEADS, DEPTH, WORDS, NODES = 24, 3, 2, 50, 11
LENGTHS = (11, 8)


def eager(query, key, value, mask, scaling, training):
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if mask is not None:
        weights = weights + mask
    weights = F.softmax(weights, dim=-1)
    weights = F.dropout(weights, p=0.1, training=training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous()


def sdpa(query, key, value, mask, scaling, training):
    y = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=0.0, scale=scaling, is_causal=False
    )
    return y.transpose(1, 2).contiguous()


class SelfAttention(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.interface = interface
        self.num_attention_heads, self.attention_head_size = HEADS, DIM // HEADS
        self.query, self.key, self.value = (nn.Linear(DIM, DIM) for _ in range(3))
        self.dropout = nn.Dropout(0.1)

    def forward(self, hidden_states, attention_mask=None):
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        q, k, v = (
            part(hidden_states).view(shape).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scaling = self.attention_head_size**-0.5
        y = self.interface(q, k, v, attention_mask, scaling, self.training)
        return y.reshape(*hidden_states.shape).contiguous(), None


class Output(nn.Module):
    """Linear map, residual and layer norm, after attention and after the MLP."""

    def __init__(self, width):
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(width, DIM), nn.LayerNorm(DIM, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, residual):
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Attention(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.self, self.output = SelfAttention(interface), Output(DIM)

    def forward(self, x, mask):
        return self.output(self.self(x, attention_mask=mask)[0], x)


class Intermediate(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(DIM, 2 * DIM)

    def forward(self, x):
        return F.gelu(self.dense(x))


class BertLayer(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.attention = Attention(interface)
        self.intermediate, self.output = Intermediate(), Output(2 * DIM)

    def forward(self, x, mask):
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Embeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, DIM)
        self.position_embeddings = nn.Embedding(32, DIM)
        self.token_type_embeddings = nn.Embedding(2, DIM)
        self.LayerNorm, self.dropout = nn.LayerNorm(DIM, eps=1e-12), nn.Dropout(0.1)

    def forward(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.word_embeddings(ids) + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(x + self.token_type_embeddings.weight[0]))


class Encoder(nn.Module):
    def __init__(self, interface):
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(interface) for _ in range(DEPTH))


class Bert(nn.Module):
    """``boolean``: the mask is boolean, as for SDPA in transformers 5, else floats to be added."""

    def __init__(self, interface, boolean=False):
        super().__init__()
        self.boolean = boolean
        self.embeddings, self.encoder = Embeddings(), Encoder(interface)

    def forward(self, input_ids, attention_mask=None):
        x, mask = self.embeddings(input_ids), None
        if attention_mask is not None:
            mask = attention_mask[:, None, None, :].bool()
            mask = mask.expand(-1, 1, input_ids.shape[1], -1)
            if not self.boolean:
                mask = (1.0 - mask.to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.encoder.layer:
            x = layer(x, mask)
        return {"last_hidden_state": x}


def batch():
    generator = torch.Generator().manual_seed(3)
    return {
        "input_ids": torch.randint(WORDS, (2, NODES), generator=generator),
        "attention_mask": (torch.arange(NODES) < torch.tensor(LENGTHS)[:, None]).long(),
    }


def attention(module, x, attention_mask=None, **_):
    parts = (plain.linear(x, part.weight, part.bias) for part in (module.query, module.key))
    q, k = (plain.split(part, module.num_attention_heads) for part in parts)
    return plain.attention(q, k, bias=plain.bias(attention_mask))


def projections(model, name):
    module = model.get_submodule(name)
    output = model.get_submodule(f"{name.removesuffix('self')}output.dense").weight
    return plain.value_output(module.value.weight, output, module.num_attention_heads)


NAMES = tuple(f"encoder.layer.{i}.attention.self" for i in range(DEPTH))
LAYERS = tuple(
    Layer(n, HEADS, NODES, 2, attention, partial(projections, name=n), masked="padded")
    for n in NAMES
)
NETWORKS = (
    Network("bert_sdpa", lambda: seeded(Bert(sdpa, boolean=True)), batch, LAYERS),
    Network("bert_sdpa_v4", lambda: seeded(Bert(sdpa)), batch, LAYERS),
    Network("bert_eager", lambda: seeded(Bert(eager)), batch, LAYERS),
)
