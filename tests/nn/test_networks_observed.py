"""Attention of twins of published networks: all found, equal to plain formulas, no bit changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.nn_networks import NETWORKS, attention_of, run
from support.nn_networks.plain import array

ALL = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def inputs_and_output(model, name, batch):
    """What the module was called with first, and what it gave, without the fast path."""
    seen = []
    module = model.get_submodule(name)
    hook = module.register_forward_hook(
        lambda module, args, kwargs, y: seen.append((args, kwargs, y)), with_kwargs=True
    )
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            run(model, batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
        hook.remove()
    return module, *seen[0]


@ALL
def test_formula_of_a_twin_has_its_shape_and_rows_that_sum_to_one(network):
    found = attention_of(network)
    assert list(found) == [layer.key for layer in network.layers]
    for layer in network.layers:
        a = found[layer.key]
        assert a.shape == (layer.items, layer.heads, layer.nodes, layer.keys)
        assert np.allclose(a.sum(axis=-1), 1, atol=1e-12)
        assert a.std(axis=-1).max() > 0.02  # far from uniform


@ALL
def test_formula_of_a_twin_gives_what_its_module_writes(network):
    """Σ_h A X W_V W_O, or A X W_V of all heads, up to one vector that biases add to all nodes."""
    for layer in network.layers:
        if layer.projections is None or layer.name.endswith("albert_layers.0.attention"):
            continue
        model = network.build()
        module, args, kwargs, y = inputs_and_output(model, layer.name, network.batch())
        a = layer.attention(module, *args, **kwargs)
        value, output = layer.projections(model)
        x = array(args[1] if layer.name == "multihead_attn" else args[0])  # keys, in the decoder
        y = array(y[0] if isinstance(y, tuple) else y)
        if network.name == "encoder_sequence_first":
            x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
        mixed = np.einsum("bhnm,bmc,hcr->bnhr", a, x, value)
        apart = layer.name.endswith(("attention.self", "attention.attention"))  # W_O is a sibling
        expected = mixed.reshape(y.shape) if apart else np.einsum("bnhr,hrc->bnc", mixed, output)
        assert np.ptp(y - expected, axis=(0, 1)).max() < 1e-5 * np.abs(y).max()
