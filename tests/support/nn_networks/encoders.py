"""torch's own attention: nn.MultiheadAttention, nn.TransformerEncoder and a decoder layer."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn

from support.nn_networks import plain
from support.nn_networks.network import Layer, Network, noise, seeded

DIM, HEADS, NODES, KEYS = 16, 4, 9, 6
LENGTHS = (9, 6)  # of the two sequences of a padded batch


def attention(module, query, key, value, key_padding_mask=None, attn_mask=None, **_):
    """A of an nn.MultiheadAttention from the arguments of its call."""
    if not module.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    bias, dim = module.in_proj_bias, module.embed_dim
    parts = [
        plain.linear(x, module.in_proj_weight[rows], None if bias is None else bias[rows])
        for x, rows in ((query, slice(0, dim)), (key, slice(dim, 2 * dim)))
    ]
    scores = 0.0
    for mask, shape in ((key_padding_mask, np.s_[:, None, None]), (attn_mask, np.s_[None, None])):
        if mask is not None:
            given = plain.array(mask)
            scores = scores + (plain.excluded(~given) if given.dtype == bool else given)[shape]
    return plain.attention(*(plain.split(part, module.num_heads) for part in parts), bias=scores)


def projections(model, name):
    module = model.get_submodule(name)
    value = module.in_proj_weight[2 * module.embed_dim :]
    return plain.value_output(value, module.out_proj.weight, module.num_heads)


def layer(name, masked="", **options):
    return Layer(
        name, HEADS, NODES, 2, attention, partial(projections, name=name), masked=masked, **options
    )


def encoder(batch_first=True, norm_first=False):
    part = nn.TransformerEncoderLayer(
        DIM, HEADS, 2 * DIM, 0.0, batch_first=batch_first, norm_first=norm_first
    )
    nested = batch_first and not norm_first
    return seeded(nn.TransformerEncoder(part, 2, enable_nested_tensor=nested))


def decoder():
    return seeded(nn.TransformerDecoderLayer(DIM, HEADS, 2 * DIM, 0.0, batch_first=True))


def padding():
    return torch.arange(NODES) >= torch.tensor(LENGTHS)[:, None]


def triangle():
    return torch.ones(NODES, NODES, dtype=torch.bool).triu(1)


def tokens():
    return noise(2, NODES, DIM)


LAYERS = tuple(layer(f"layers.{i}.self_attn") for i in range(2))
PADDED = tuple(layer(f"layers.{i}.self_attn", "padded") for i in range(2))
CAUSAL = tuple(layer(f"layers.{i}.self_attn", "causal") for i in range(2))
NETWORKS = (
    Network(
        "multihead",
        lambda: seeded(nn.MultiheadAttention(DIM, HEADS, batch_first=True)),
        lambda: (tokens(),) * 3,
        (layer(""),),
    ),
    Network("encoder", encoder, tokens, LAYERS),  # takes the fast path where no gradient is asked
    Network("encoder_norm_first", lambda: encoder(norm_first=True), tokens, LAYERS),
    Network(
        "encoder_sequence_first",  # never on the fast path
        lambda: encoder(batch_first=False),
        lambda: tokens().transpose(0, 1).contiguous(),
        LAYERS,
    ),
    Network(
        "encoder_padded",  # nested tensors on the fast path
        encoder,
        lambda: {"src": tokens(), "src_key_padding_mask": padding()},
        PADDED,
    ),
    Network(
        "encoder_causal",
        encoder,
        lambda: {"src": tokens(), "mask": triangle(), "is_causal": True},
        CAUSAL,
    ),
    Network(
        "decoder",
        decoder,
        lambda: (tokens(), noise(2, KEYS, DIM)),
        (layer("self_attn"), layer("multihead_attn", keys=KEYS, cross=True)),
    ),
)
