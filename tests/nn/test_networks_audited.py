"""Audits of networks after published architectures, compared with their plain formulas."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from support.nn_networks import NETWORKS, attention_of

from gspnl import nn as gnn


@pytest.mark.parametrize("name", NETWORKS)
def test_every_head_of_a_network_is_audited_and_the_network_unchanged(name):
    network = NETWORKS[name]
    model, batch = network.build(), network.batch()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")
        truth = attention_of(network)
        seen = gnn.audit(model, batch)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(seen.attention) == network.heads
    places = [(layer, head) for layer in network.layers for head in range(layer.heads)]
    for record, (layer, head) in zip(seen.attention, places, strict=True):
        assert (record.layer, record.head) == (layer.name, head)
        # Swin adds −100, which is a mask where float32 makes it 0, and a bias in a fused kernel.
        kinds = {layer.masked, ""} if name == "timm_swin_fused" else {layer.masked}
        assert record.masked in kinds
        assert record.cross == layer.cross
        A = truth[layer.key][:, head]
        assert len(record.items) == len(A)
        for item, a in zip(record.items, A, strict=True):
            a = a[a.sum(1) > 0.5]  # a row that is all masked has no distribution
            a = a[: item.nodes] if layer.masked == "padded" else a
            terms = np.where(a > 0, a * np.log(np.where(a > 0, a, 1)), 0)
            # Networks compute in float32.
            assert item.entropy == pytest.approx(-terms.sum(1).mean(), abs=2e-4)
    json.dumps(seen.numbers(), allow_nan=False)
    assert str(seen).startswith("layer")
