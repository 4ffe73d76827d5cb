"""Attention seen in networks: complete, equal to torch's own weights, without a changed bit."""

from __future__ import annotations

import pytest
import torch
from support.nn_attention import EagerAttention, FusedAttention, Layered, calling, plain_output
from torch import nn

from gspnl.nn.attention_calls import observe

B, N, C, H = 3, 5, 16, 4


def features(rows=N, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, rows, C, generator=generator, dtype=dtype)


def mha(**options):
    torch.manual_seed(0)
    return nn.MultiheadAttention(C, H, **{"batch_first": True, **options}).eval()


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("keys", [None, 7])
def test_multihead_attention_in_all_its_paths(need_weights, batch_first, keys):
    layer, x = mha(batch_first=batch_first), features()
    other = x if keys is None else features(keys, seed=2)
    turn = (lambda t: t) if batch_first else (lambda t: t.transpose(0, 1))
    ours, theirs = turn(x), turn(other)
    theirs = ours if keys is None else theirs
    model = calling(layer, lambda m, x: m(x, theirs, theirs, need_weights=need_weights))
    (call,) = observe(model, ours)
    assert (call.layer, call.source) == ("inner", "multi_head_attention_forward")
    assert call.cross == (keys is not None)
    _, weights = layer(ours, theirs, theirs, need_weights=True, average_attn_weights=False)
    found, _ = plain_output(call)
    torch.testing.assert_close(found, weights, rtol=0, atol=1e-6)


def test_equal_lengths_of_other_features_are_cross_attention():
    layer, x, other = mha(), features(), features(seed=2)
    calls = observe(Layered(layer), (x, other, other))
    assert [call.cross for call in calls] == [True]
    assert [call.cross for call in observe(Layered(layer), (x, x.clone(), x))] == [False]


@pytest.mark.parametrize("kind", [FusedAttention, EagerAttention])
def test_attention_in_a_users_module(kind):
    torch.manual_seed(0)
    model = nn.Sequential(kind(C, H), kind(C, H)).eval()
    x = features()
    calls = observe(model, x)
    assert [(call.layer, call.call) for call in calls] == [("0", 0), ("1", 0)]
    for name, call in zip("01", calls, strict=True):
        layer = model[int(name)]
        weights, written = plain_output(call)
        torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, N))
        with torch.no_grad():
            y = layer.proj(written.transpose(1, 2).flatten(2))
            torch.testing.assert_close(y, layer(x), rtol=0, atol=1e-6)
            x = layer(x)


def test_a_shared_layer_is_counted():
    torch.manual_seed(0)
    layer = FusedAttention(C, H)
    calls = observe(nn.Sequential(layer, nn.ReLU(), layer), features())
    assert [(call.layer, call.call) for call in calls] == [("0", 0), ("0", 1)]


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_encoders_fast_path_is_seen_with_the_norm_on_either_side(norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True, norm_first=norm_first)
    network = nn.TransformerEncoder(layer.eval(), 2, enable_nested_tensor=False).eval()
    x = torch.randn(3, 7, 16)
    with torch.no_grad():
        before = network(x)
    calls = observe(network, x)
    with torch.no_grad():
        assert torch.equal(network(x), before)
    assert [call.source for call in calls] == ["encoder fast path"] * 2
    first = network.layers[0]
    features = first.norm1(x) if norm_first else x
    _, weights = first.self_attn(features, features, features, average_attn_weights=False)
    scores = calls[0].scale * calls[0].q @ calls[0].k.mT
    assert (torch.softmax(scores, -1) - weights).abs().max() < 1e-6
