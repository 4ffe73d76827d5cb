"""Blocks follow modules whose outputs are tokens, with channels on the last axis."""

from __future__ import annotations

import copy
import pickle

import pytest

from gspnl.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed")
from support.nn_networks import NETWORKS, run  # noqa: E402
from support.nn_responses import TimmAttention  # noqa: E402
from torch import nn  # noqa: E402

from gspnl import nn as gnn  # noqa: E402

C, N = 32, 10


def encoder(batch_first=True, layers=2):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(C, 4, 48, dropout=0.0, batch_first=batch_first)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=batch_first).eval()


def wake(block, seed=1):
    """Draw the parameters that start at 0, so that the block is no identity."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return block


@pytest.mark.parametrize("kind", ["snl", "nl", "gsnl", "spectral", "cgnl"])
@pytest.mark.parametrize("example", [True, False])
def test_a_new_block_after_a_transformer_layer_changes_no_bit(kind, example):
    model, x = encoder(), torch.randn(3, N, C)
    before, keys = model(x), set(model.state_dict())
    gnn.insert(model, {"layers.0": kind}, example=x if example else None)
    assert torch.equal(model(x), before)
    new = set(model.state_dict()) - keys
    assert new
    assert all(key.startswith("layers.0.nonlocal_.") for key in new)
    assert gnn.describe(model)[0].channels == C
    assert gnn.describe(model)[0].name == "layers.0"


@pytest.mark.parametrize("layout", ["tokens", "sequence_first"])
def test_the_block_filters_the_tokens(layout):
    model = encoder(batch_first=layout == "tokens")
    x = torch.randn(3, N, C) if layout == "tokens" else torch.randn(N, 3, C)
    layer = copy.deepcopy(model.layers[0])
    gnn.insert(model, {"layers.0": ("snl", {"units": 2})}, layout=layout, example=x)
    block = wake(model.layers[0].nonlocal_)
    tokens = layer(x) if layout == "tokens" else layer(x).transpose(0, 1)
    expected = block(tokens.mT).mT
    expected = expected if layout == "tokens" else expected.transpose(0, 1)
    found = model.layers[0](x)
    assert found.is_contiguous()
    assert torch.equal(found, expected)
    with torch.no_grad():  # without the fast path of torch's encoder
        assert torch.allclose(model(x), model.layers[1](found), atol=1e-6)


def test_copies_pickles_and_checkpoints_keep_the_block():
    model, x = encoder(), torch.randn(3, N, C)
    gnn.insert(model, {"layers.1": "snl"}, example=x)
    wake(model.layers[1].nonlocal_)
    out = model(x)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x), out)
    fresh = gnn.insert(encoder(), {"layers.1": "snl"})
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), out)
    model.zero_grad()
    model.train()(x).square().sum().backward()
    assert all(p.grad is not None for p in model.layers[1].nonlocal_.parameters())


def test_fold_and_remove_work_on_tokens():
    model, x = encoder(), torch.randn(3, N, C)
    before = model(x)
    gnn.insert(model, {"layers.0": "gsnl", "layers.1": "snl"}, example=x)
    for layer in model.layers:
        wake(layer.nonlocal_)
    folded = gnn.fold(model)
    assert torch.allclose(folded(x), model(x), atol=1e-4)
    assert not torch.allclose(folded(x), before, atol=1e-2)
    gnn.remove(model)
    assert torch.equal(model(x), before)


def test_audit_reads_the_features_of_tokens():
    model, x = encoder(), torch.randn(3, N, C)
    gnn.insert(model, {"layers.0": "snl"}, example=x)
    block = model.layers[0].nonlocal_
    audit = gnn.audit(model, x)
    features = copy.deepcopy(model.layers[0])
    gnn.remove(features)
    A = block.affinity(features(x), (N,))
    mu = torch.linalg.eigvals(A.apply(torch.eye(N).expand(3, N, N))).real.sort(descending=True)
    for item, expected in zip(audit["layers.0"].items, mu.values, strict=True):
        found = torch.from_numpy(item.modes.copy()).sort(descending=True).values
        assert torch.allclose(found.float(), expected, atol=1e-5)
    assert not torch.nn.modules.module._has_any_global_hook()


@pytest.mark.parametrize("kind", ["snl", "nl"])
def test_a_network_with_blocks_on_tokens_is_compiled_and_exported(kind):
    model, x = encoder(), torch.randn(3, N, C)
    gnn.insert(model, {"layers.0": kind}, example=x)
    wake(model.layers[0].nonlocal_)
    expected = model(x)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), expected, atol=1e-5)
    assert torch.allclose(torch.export.export(model, (x,)).module()(x), expected, atol=1e-5)


PLACES = {
    "timm_vit": "blocks.0",
    "timm_vit_unfused": "blocks.1.attn",
    "torchvision_vit": None,
    "hf_vit": None,
    "bert_sdpa": None,
    "gpt2_sdpa": "h.0",
    "llama_grouped": "layers.0",
    "encoder": "layers.1",
}


@pytest.mark.parametrize("network", PLACES)
def test_blocks_follow_layers_of_published_architectures(network):
    model, batch = NETWORKS[network].build(), NETWORKS[network].batch()
    place = PLACES[network] or NETWORKS[network].layers[0].name.rpartition(".")[0]
    example = batch if isinstance(batch, (torch.Tensor, tuple, dict)) else (batch,)

    def first(out):
        while not isinstance(out, torch.Tensor):
            out = next(iter(out.values())) if isinstance(out, dict) else out[0]
        return out

    before = first(run(model, batch))
    seen = []
    handle = model.get_submodule(place).register_forward_hook(lambda m, a, out: seen.append(out))
    run(model, batch)
    handle.remove()
    width = first(seen[0]).shape[-1]
    gnn.insert(model, {place: "snl"}, example=example)
    assert gnn.describe(model)[0].channels == width
    assert torch.equal(first(run(model, batch)), before)
    wake(model.get_submodule(place).nonlocal_)
    assert not torch.allclose(first(run(model, batch)), before, atol=1e-3)


class Pair(nn.Module):
    """A layer of older transformers: tokens and something else."""

    def __init__(self):
        super().__init__()
        self.attn = TimmAttention(C, 4)

    def forward(self, x):
        return self.attn(x), "more"


def test_the_first_of_several_outputs_are_the_tokens():
    model, x = Pair(), torch.randn(2, N, C)
    before, _ = model(x)
    with pytest.raises(InputError, match="gives a tuple"):
        gnn.insert(model, {"": "snl"}, example=x)
    gnn.insert(model, {"": "snl"}, example=x, layout="tokens")
    out, more = model(x)
    assert torch.equal(out, before)
    assert more == "more"


def test_feature_maps_stay_feature_maps():
    net = nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU())
    x = torch.randn(2, 3, 12)
    for name in ("0", "1"):
        model = gnn.insert(copy.deepcopy(net), {name: "snl"}, example=x)
        assert gnn.describe(model)[0].channels == 8


class Between(nn.Module):
    """LayerNorm and a linear map between permutations: feature maps (B, C, N)."""

    def __init__(self):
        super().__init__()
        self.norm, self.map = nn.LayerNorm(C), nn.Linear(C, C)

    def forward(self, x):
        return x + self.map(self.norm(x.mT)).mT


def test_channels_of_modules_with_permutations_are_on_the_second_axis():
    model = gnn.insert(nn.Sequential(Between()), {"0": "snl"}, example=torch.randn(2, C, 7))
    block = wake(model[0].nonlocal_)
    x = torch.randn(2, C, 7)
    assert torch.equal(model(x), block(x + model[0].map(model[0].norm(x.mT)).mT))


@pytest.mark.parametrize("kind", [Between, lambda: TimmAttention(C, 4)])
def test_as_many_tokens_as_channels_are_ambiguous(kind):
    x = torch.randn(2, C, C)
    with pytest.raises(InputError, match=r"may be on the second or on the last axis.*layout="):
        gnn.insert(nn.Sequential(kind()), {"0": "snl"}, example=x)
    gnn.insert(nn.Sequential(kind()), {"0": "snl"}, example=x, layout="tokens")
    known = encoder(layers=1)
    assert gnn.insert(known, {"layers.0": "snl"}, example=x).layers[0]._forward_hooks


def test_the_order_of_tokens_and_batch_is_asked_for():
    model = encoder(batch_first=False)
    for example in (None, torch.randn(N, 3, C)):
        with pytest.raises(InputError, match=r"batch_first=False.*layout='sequence_first'"):
            gnn.insert(model, {"layers.0": "snl"}, example=example)


def test_linear_maps_alone_do_not_tell_tokens():
    """A token-mixing map of an MLP-Mixer gives (B, C, N) with a map of the last axis."""
    model, x = nn.Sequential(nn.Linear(N, N)), torch.randn(2, C, N)
    with pytest.raises(InputError, match=r"last axis holds its channels.*layout='tokens'"):
        gnn.insert(model, {"0": "snl"}, example=x)
    gnn.insert(model, {"0": "snl"}, example=x, layout="channels_first")
    assert gnn.describe(model)[0].channels == C


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "nhwc"}, "layout='nhwc' must be one of 'channels_first', 'tokens'"),
        ({"layout": "tokens", "example": torch.randn(2, 3, 4, C)}, r"tensors \(B, N, C\)"),
    ],
)
def test_bad_layouts_are_named(options, message):
    model = nn.Sequential(nn.LayerNorm(C))
    with pytest.raises(InputError, match=message):
        gnn.insert(model, {"0": "snl"}, **options)


def test_other_tokens_at_the_first_call_are_named():
    class Grid(TimmAttention):
        def forward(self, x):
            return super().forward(x).unflatten(1, (2, 5))

    model = gnn.insert(nn.Sequential(Grid(C, 4)), {"0": "snl"})
    with pytest.raises(InputError, match=r"for tokens \(B, N, C\) got a tensor of shape \(2, 2, 5"):
        model(torch.randn(2, N, C))


def test_a_block_that_is_made_already_follows_tokens():
    block = gnn.create("snl", C, zero_init=False)
    model, x = encoder(), torch.randn(3, N, C)
    layer = copy.deepcopy(model.layers[0])
    gnn.insert(model, {"layers.0": block})
    assert torch.equal(model.layers[0](x), block(layer(x).mT).mT)
