"""Attention of twins of published networks: all found, equal to plain formulas, no bit changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.nn_networks import NETWORKS, Keeper, attention_of, run
from support.nn_networks.encoders import padding
from support.nn_networks.plain import array, weights_of

from gspnl.nn.attention_calls import observe

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
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


@ALL
def test_observation_changes_no_bit_of_the_output(network):
    """The observed pass is without gradients, where torch's own layers take their fast path."""
    model, batch = network.build(), network.batch()
    with torch.no_grad():
        before = run(model, batch)
    with_gradients = run(model, batch)
    keeper = Keeper(model)
    observe(keeper, batch)
    with torch.no_grad():
        after = run(model, batch)
    pairs = ((before, keeper.output), (before, after), (with_gradients, run(model, batch)))
    for one, other in pairs:
        for x, y in zip(tensors(one), tensors(other), strict=True):
            assert torch.equal(x, y)
            assert x.dtype == y.dtype


@ALL
def test_all_heads_are_found_in_order_with_their_sizes(network):
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            calls = observe(network.build(), network.batch())
        assert [(c.layer, c.call) for c in calls] == [(x.name, x.call) for x in network.layers]
        for call, layer in zip(calls, network.layers, strict=True):
            a = weights_of(call)
            assert a.shape == (layer.items, layer.heads, layer.nodes, layer.keys)
            assert bool(call.cross) == layer.cross or layer.nodes != layer.keys
            if layer.masked == "causal":
                assert call.causal or np.array_equal(a, np.tril(a))


@ALL
def test_observed_attention_equals_its_plain_formula(network):
    expected = attention_of(network)
    with torch.no_grad():
        calls = observe(network.build(), network.batch())
    for call, layer in zip(calls, network.layers, strict=True):
        a, b = weights_of(call), expected[layer.key]
        keep = b.sum(axis=-1) > 0.5
        if network.name == "encoder_padded":  # rows of padding are not defined on the fast path
            keep = keep & ~padding().numpy()[:, None, :]
        assert np.abs(a - b)[keep].max() < 1e-5


@ALL
def test_projections_of_every_head_are_found(network):
    model = network.build()
    with torch.no_grad():
        calls = observe(model, network.batch())
    for call, layer in zip(calls, network.layers, strict=True):
        if layer.projections is None:
            assert call.value_weight is None
            assert call.output_weight is None
            continue
        value, output = layer.projections(model)
        assert call.value_weight is not None, layer.name
        assert call.output_weight is not None, layer.name
        assert np.allclose(array(call.value_weight), value, atol=1e-6)
        assert np.allclose(array(call.output_weight), output, atol=1e-6)
        if call.inputs is not None and not layer.cross:
            assert call.inputs.shape == (layer.items, layer.nodes, value.shape[1])


def tensors(output):
    """Tensors of an output, in order."""
    if isinstance(output, dict):
        output = tuple(output.values())
    return [output] if isinstance(output, torch.Tensor) else [x for x in output if x is not None]
