"""set_response gives the attention of any network its dense formula, and leaves nothing behind."""

from __future__ import annotations

import copy
import io
import pickle

import pytest

from gspnl.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.nn.functional as F  # noqa: E402
from support.nn_networks import NETWORKS, run  # noqa: E402
from support.nn_responses import (  # noqa: E402
    RESPONSES,
    SELF_ONLY,
    TimmAttention,
    dense_filter,
    dense_finish,
    dense_softmax,
    scatter,
    uniform,
)
from torch import nn  # noqa: E402

from gspnl import nn as gnn  # noqa: E402

IN_HEADS = sorted({*RESPONSES} - {"featscale", "contranorm"})
SQUARE = sorted(
    name for name, net in NETWORKS.items() if all(layer.nodes == layer.keys for layer in net.layers)
)
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
HIDDEN = -1000.0


def outputs(out):
    """Return every floating-point tensor of what a network returns."""
    if isinstance(out, torch.Tensor):
        return [out] if out.is_floating_point() else []
    parts = out.values() if isinstance(out, dict) else out if isinstance(out, (tuple, list)) else ()
    return [each for part in parts for each in outputs(part)]


def built(name, dtype=torch.float64):
    """Return a network, its batch and the names of its attention modules."""
    network = NETWORKS[name]
    batch = network.batch()

    def converted(x):
        return x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    if isinstance(batch, dict):
        batch = {key: converted(value) for key, value in batch.items()}
    elif isinstance(batch, tuple):
        batch = tuple(map(converted, batch))
    else:
        batch = converted(batch)
    layers = {layer.name: layer for layer in network.layers if not layer.call}
    return network.build().to(dtype), batch, layers


def changed(model, layers, name):
    """Set a response in every layer, and draw its parameters anew."""
    for seed, (at, layer) in enumerate(layers.items()):
        gnn.set_response(model, {at: (name, RESPONSES[name])}, heads=layer.heads)
        scatter(model.get_submodule(at).response_, seed)
    return model


class DenseAttention:
    """Dense formulas in place of torch's functions of attention, while a module runs."""

    def __init__(self, monkeypatch, name, response, layer):
        self.name, self.response, self.layer = name, response, layer
        self.softmax = {owner: owner.softmax for owner in (torch, F, torch.Tensor)}
        for owner in self.softmax:
            monkeypatch.setattr(owner, "softmax", self.weights(owner))
        monkeypatch.setattr(F, "scaled_dot_product_attention", self.fused)

    def heads_last(self, A):
        """Move heads next to the matrices: torch's MultiheadAttention has B·H of them."""
        if A.ndim == 3:
            return A.unflatten(0, (-1, self.layer.heads))
        return A.reshape(-1, *A.shape[-3:])

    def filtered(self, A, seen):
        heads = self.heads_last(A)
        mean = uniform(heads.shape, self.heads_last(seen.expand(A.shape)))
        return dense_filter(self.name, self.response, heads, mean).reshape(A.shape)

    def weights(self, owner):
        def softmax(scores, *args, **kwargs):
            response, self.response = self.response, None  # F.softmax calls Tensor.softmax
            A = self.softmax[owner](scores, *args, **kwargs)
            self.response = response
            if response is None or scores.ndim < 3:
                return A
            return self.filtered(A, scores > scores.amax(-1, keepdim=True) + HIDDEN)

        return softmax

    def fused(
        self, q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
    ):
        if enable_gqa:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        visible, bias = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool), 0.0
        if is_causal:
            visible = visible.tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            visible = visible & attn_mask
        elif attn_mask is not None:
            visible, bias = visible & (attn_mask > HIDDEN), attn_mask.clamp(min=-1e300)
        A = dense_softmax(q, k, visible, bias, scale)
        if self.response is not None:
            A = self.filtered(A, visible)
        return A @ v


def dense_run(monkeypatch, model, batch, layers, name):
    """Run a network whose layers compute g(A) V with matrices."""
    with monkeypatch.context() as patched:
        dense = DenseAttention(patched, name, None, None)
        hooks = []
        for at, layer in layers.items():
            module = model.get_submodule(at)

            def enter(module, args, layer=layer):
                dense.response, dense.layer = module.dense_response[0], layer

            def leave(module, args, out):
                dense.response = None

            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        out = run(model, batch)
        for hook in hooks:
            hook.remove()
    return out


@pytest.mark.parametrize("name", ["attnscale", "gfsa", "chebyshev", "ns", "gsnl"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_computes_the_dense_filter(network, name, monkeypatch):
    if name in SELF_ONLY and network not in SQUARE:
        return
    model, batch, layers = built(network)
    try:
        run(model, batch)
        single = False
    except RuntimeError:  # its masks overflow in float64
        single = True
        model, batch, layers = built(network, torch.float32)
    if network == "encoder_padded":  # its padded tokens are cut off: compare without autograd's way
        torch.backends.mha.set_fastpath_enabled(False)
    plain = copy.deepcopy(model)
    changed(model, layers, name)
    for at in layers:
        plain.get_submodule(at).dense_response = [model.get_submodule(at).response_]
    try:
        found = outputs(run(model, batch))
        expected = outputs(dense_run(monkeypatch, plain, batch, layers, name))
        unfiltered = outputs(run(plain, batch))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    if network == "multihead":  # its second output are the weights, A whatever the response
        found, expected, unfiltered = found[:1], expected[:1], unfiltered[:1]
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        tolerance = 1e-4 if single else 1e-9
        torch.testing.assert_close(one, other.to(one.dtype), rtol=tolerance, atol=tolerance)
    assert any(
        not torch.allclose(one, other, rtol=1e-3, atol=1e-3)
        for one, other in zip(found, unfiltered, strict=True)
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_a_new_response_changes_no_bit_and_restoring_leaves_nothing(network):
    model, batch, layers = built(network, torch.float32)
    before, state, attributes = (
        outputs(run(model, batch)),
        model.state_dict(),
        [set(vars(m)) for m in model.modules()],
    )
    for name in ("gfsa" if network in SQUARE else "attnscale", "featscale"):
        gnn.set_response(model, dict.fromkeys(layers, name), example=batch)
        assert set(model.state_dict()) > set(state)
        assert all(
            torch.equal(one, other)
            for one, other in zip(outputs(run(model, batch)), before, strict=True)
        )
        gnn.set_response(model, dict.fromkeys(layers, "nl"))
        assert model.state_dict().keys() == state.keys()
        assert [set(vars(m)) for m in model.modules()] == attributes
        assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", RESPONSES)
def test_fast_paths_of_torchs_encoder_are_left(name, training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).train(training)
    plain = copy.deepcopy(encoder)
    names = [f"layers.{i}.self_attn" for i in range(2)]
    gnn.set_response(encoder, dict.fromkeys(names, (name, RESPONSES[name])))
    for at in names:
        if name != "nl":
            scatter(encoder.get_submodule(at).response_)
    x = torch.randn(3, 7, 32)
    padding = torch.arange(7) >= torch.tensor([7, 4, 5])[:, None]
    for options in ({}, {"src_key_padding_mask": padding}):
        slow = encoder(x, **options).detach()
        with torch.no_grad():
            fast = encoder(x, **options)
        kept = ~padding if options else slice(None)
        torch.testing.assert_close(fast[kept], slow[kept], rtol=0, atol=1e-6)
        if name != "nl":
            assert not torch.allclose(slow[kept], plain(x, **options)[kept], atol=1e-2)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("name", ["featscale", "contranorm"])
def test_responses_on_the_output_act_on_tokens(name, batch_first):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(32, 4, batch_first=batch_first).double()
    x = torch.randn(3, 7, 32, dtype=torch.float64)
    if not batch_first:
        x = x.transpose(0, 1)
    Y, weights = module(x, x, x)
    gnn.set_response(module, {"": (name, RESPONSES[name])})
    scatter(module.response_)
    found, same = module(x, x, x)
    tokens = Y if batch_first else Y.transpose(0, 1)
    expected = dense_finish(name, module.response_, tokens)
    expected = expected if batch_first else expected.transpose(0, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(same, weights)
    single = x[:, 0] if not batch_first else x[0]
    torch.testing.assert_close(
        module(single, single, single)[0], found[:, 0] if not batch_first else found[0]
    )


@pytest.mark.parametrize("name", ["featscale", "contranorm"])
def test_responses_on_the_output_take_the_tokens_in_sight(name):
    torch.manual_seed(0)
    model = nn.MultiheadAttention(32, 4, batch_first=True).double()
    x = torch.randn(2, 7, 32, dtype=torch.float64)
    hidden = torch.arange(7).expand(2, 7) >= torch.tensor([7, 4])[:, None]
    Y, _ = model(x, x, x, key_padding_mask=hidden)
    gnn.set_response(model, {"": name})
    scatter(model.response_)
    for need_weights in (True, False):
        found, _ = model(x, x, x, key_padding_mask=hidden, need_weights=need_weights)
        visible = (~hidden)[:, None].expand(2, 7, 7)
        expected = dense_finish(name, model.response_, Y, visible)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_parameters_are_trained_saved_copied_and_moved():
    torch.manual_seed(0)
    model = nn.Sequential(TimmAttention(32, 4), nn.Linear(32, 2))
    keys = set(model.state_dict())
    gnn.set_response(model, {"0": "gfsa"}, order=4)
    new = {f"0.response_.w_{k}" for k in "01k"}
    assert set(model.state_dict()) == keys | new
    assert {name for name, _ in model.named_parameters()} >= new
    x = torch.randn(2, 5, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(x).square().sum().backward()
    optimizer.step()
    assert all(bool(model.state_dict()[name].abs().sum() > 0) for name in new)
    out = model(x)
    again = copy.deepcopy(model)
    assert again[0].forward.module is again[0]
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for other in (again, pickle.loads(pickle.dumps(model)), loaded):
        assert torch.equal(other(x), out)
        with torch.no_grad():
            other[0].response_.w_1.add_(1.0)
        assert not torch.equal(other(x), out)
        assert torch.equal(model(x), out)
    fresh = gnn.set_response(
        nn.Sequential(TimmAttention(32, 4), nn.Linear(32, 2)), {"0": "gfsa"}, order=4
    )
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), out)
    assert copy.deepcopy(model).double()(x.double()).dtype == torch.float64
    assert model.to(torch.bfloat16)[0].response_.w_k.dtype == torch.bfloat16
    assert model.to("meta")[0].response_.w_k.is_meta


def test_the_same_response_stays_and_another_one_takes_its_place():
    model = nn.Sequential(TimmAttention(32, 4))
    gnn.set_response(model, {"0": "gfsa"}, order=4)
    kept = scatter(model[0].response_)
    gnn.set_response(model, {"0": ("gfsa", {"order": 4})})
    assert model[0].response_ is kept
    gnn.set_response(model, {"0": "gfsa"}, order=5)
    assert model[0].response_ is not kept
    assert model[0].response_.options == {"order": 5}
    gnn.set_response(model, {"0": "attnscale"})
    assert [name for name, _ in model[0].response_.named_parameters()] == ["omega"]
    assert len(model[0]._forward_pre_hooks) == 1
    gnn.set_response(gnn.set_response(model, {"0": "nl"}), {"0": "nl"})
    assert "forward" not in vars(model[0])


def test_an_attention_of_gspnl_changes_its_own_response():
    model = nn.Sequential(gnn.Attention(32, 4))
    x = torch.randn(2, 5, 32)
    before = model(x)
    gnn.set_response(model, {"0": "snl"})
    assert "0.response.theta_0" in model.state_dict()
    assert torch.equal(model(x), before)
    scatter(model[0].response)
    assert not torch.allclose(model(x), before)
    gnn.set_response(model, {"0": "nl"})
    assert torch.equal(model(x), before)
    assert not any("response" in key for key in model.state_dict())


def test_a_forward_that_was_replaced_before_is_kept():
    module = TimmAttention(32, 4)
    plain = module.forward
    module.forward = lambda x: plain(x) + 1
    x = torch.randn(2, 5, 32)
    before, own = module(x), module.forward
    gnn.set_response(module, {"": "snl"})
    assert torch.equal(module(x), before)
    gnn.set_response(module, {"": "nl"})
    assert module.forward is own


def test_the_whole_module_is_filtered_at_once():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 5, 32)
    apart, whole = copy.deepcopy(encoder), copy.deepcopy(encoder)
    gnn.set_response(apart, {f"layers.{i}.self_attn": "snl" for i in range(2)})
    gnn.set_response(whole, {"layers.0": "snl", "layers.1": "snl"})
    for i in range(2):
        for response in (apart.layers[i].self_attn.response_, whole.layers[i].response_):
            scatter(response, i)
    with torch.no_grad():
        assert torch.allclose(apart(x), whole(x), atol=1e-6)
        assert not torch.allclose(apart(x), encoder(x), atol=1e-2)


class Einsum(nn.Module):
    """Attention written with einsum, heads in any place."""

    def __init__(self, equation, first="weights"):
        super().__init__()
        self.num_heads, self.equation, self.first = 4, equation, first

    def forward(self, q, k, v):
        weights = torch.einsum("bhir,bhjr->bhij", q, k).softmax(dim=3)
        if self.first == "weights":
            return torch.einsum(self.equation, weights, v)
        return torch.einsum(self.equation, v, weights)


@pytest.mark.parametrize(
    ("equation", "first"),
    [
        ("bhij,bhjd->bhid", "weights"),
        ("...ij,...jd->...id", "weights"),
        ("b h i j, b j h d -> b i h d", "weights"),
        ("bjhd,bhij->bihd", "values"),
    ],
)
def test_einsum_equations_are_filtered(equation, first):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 6, 8, dtype=torch.float64)
    module = Einsum(equation, first)
    gnn.set_response(module, {"": "gfsa"})
    scatter(module.response_).double()
    A = dense_softmax(q, k, scale=1.0)
    expected = dense_filter("gfsa", module.response_, A, None) @ v
    moved = "jh" in equation.replace(" ", "")
    found = module(q, k, v.transpose(1, 2) if moved else v)
    torch.testing.assert_close(found, expected.transpose(1, 2) if moved else expected)


def test_an_einsum_that_is_no_product_of_matrices_is_not_seen():
    q, k, v = torch.randn(3, 2, 4, 6, 8)
    for equation in ("bhij,bhjd", "bhij,bhjd->bhd"):
        module = gnn.set_response(Einsum(equation), {"": "gfsa"})
        with pytest.raises(InputError, match="computed no attention that can be seen"):
            module(q, k, v)


class Grouped(nn.Module):
    """Fused attention with two key heads of four query heads."""

    num_heads = 4

    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def test_grouped_queries_are_filtered():
    q, (k, v) = torch.randn(2, 4, 6, 8).double(), torch.randn(2, 2, 2, 6, 8).double()
    module = gnn.set_response(Grouped(), {"": "gfsa"})
    scatter(module.response_).double()
    k2, v2 = (x.repeat_interleave(2, 1) for x in (k, v))
    A = dense_softmax(q, k2, torch.ones(6, 6).tril().bool())
    torch.testing.assert_close(
        module(q, k, v), dense_filter("gfsa", module.response_, A, None) @ v2
    )


class Folded(nn.Module):
    """Eager attention of B·H matrices, dropout and a cast between softmax and product."""

    num_heads = 4

    def forward(self, x):
        q = x.unflatten(-1, (4, -1)).transpose(1, 2).flatten(0, 1)
        weights = torch.softmax(torch.bmm(q, q.mT), dim=-1, dtype=torch.float64)
        weights = F.dropout(weights, 0.0).to(x.dtype).view(*q.shape[:2], -1)
        out = torch.bmm(weights, q)
        return out.unflatten(0, (-1, 4)).transpose(1, 2).flatten(2)


def test_matrices_of_all_heads_in_one_axis_are_filtered():
    x = torch.randn(2, 6, 32, dtype=torch.float64)
    module = gnn.set_response(Folded(), {"": "attnscale"})
    scatter(module.response_).double()
    q = x.unflatten(-1, (4, -1)).transpose(1, 2)
    A = dense_softmax(q, q, scale=1.0)
    expected = dense_filter("attnscale", module.response_, A, uniform(A.shape)) @ q
    torch.testing.assert_close(module(x), expected.transpose(1, 2).flatten(2))


class Loop(nn.Module):
    """One head after another, (B, N, N) each."""

    num_heads = 4

    def forward(self, x):
        return torch.cat([torch.softmax(q @ q.mT, -1) @ q for q in x.chunk(4, -1)], -1)


def test_a_batch_is_never_taken_for_heads():
    module = gnn.set_response(Loop(), {"": "snl"})
    with pytest.raises(InputError, match="made for 4 heads, and the attention has 1"):
        module(torch.randn(8, 6, 32))
    module = gnn.set_response(TimmAttention(32, 2), {"": "snl"}, heads=3)
    with pytest.raises(InputError, match="made for 3 heads, and the attention has 2"):
        module(torch.randn(3, 6, 32))


def test_dropout_of_the_network_reaches_every_product():
    module = gnn.set_response(TimmAttention(8, 2), {"": "gfsa"}).double().train()
    scatter(module.response_)
    module.attn_drop.p = 0.5
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    assert not torch.allclose(module(x), module(x))


def test_cached_keys_are_refused_with_the_remedy():
    module = gnn.set_response(Grouped(), {"": "snl"})
    q, k = torch.randn(1, 4, 1, 8), torch.randn(1, 2, 5, 8)
    with pytest.raises(InputError, match=r"1 queries meet 5 keys.*use_cache=False"):
        module(q, k, k)


@pytest.mark.parametrize(
    ("responses", "options", "message"),
    [
        ({"layers.0.self_atn": "gfsa"}, {}, r"no module 'layers.0.self_atn'; did you mean 'layers"),
        ({"layers": "gfsa"}, {}, "'layers' is a ModuleList, which computes no attention"),
        ({"layers.0.self_attn": "gsfa"}, {}, "unknown attention response 'gsfa'; did you mean"),
        ({"layers.0.self_attn": None}, {}, "must be a name or a name with its options"),
        ({"layers.0.self_attn": ("gfsa", {"K": 1})}, {}, "'gfsa' has no option 'K'"),
        ({"layers.0.self_attn": "gfsa"}, {"order": 0}, "order=0 must be"),
        ({"layers.0.self_attn": "nl"}, {"order": 2}, "'nl' has no option 'order'"),
        ({"layers.0": "gfsa", "layers.0.self_attn": "gfsa"}, {}, "is inside of 'layers.0'"),
        ({"layers.0.self_attn": "gfsa"}, {"heads": 0}, "heads=0 must be a whole number"),
        ({"layers.0.self_attn": "gfsa"}, {"heads": 3}, "made for 3 heads, and the attention has 4"),
        ({"layers.0.linear1": "ns"}, {}, "'layers.0.linear1' .Linear. computed no attention"),
        ({"layers.0.linear1": "gfsa"}, {}, "number of heads of 'layers.0.linear1' .Linear. cannot"),
        ({"layers.0": "featscale", "norm": "nl"}, {}, "no module 'norm'"),
        ({}, {}, "must map names of modules to responses"),
        ("gfsa", {}, "must map names of modules to responses"),
    ],
)
def test_bad_names_and_options_are_named_and_change_nothing(responses, options, message):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 1).eval()
    state = set(model.state_dict())
    x = torch.randn(2, 5, 32)
    with pytest.raises(InputError, match=message):
        gnn.set_response(model, responses, **options)(x)
    if any("forward" in vars(m) for m in model.modules()):  # told at the first call
        gnn.set_response(model, dict.fromkeys(responses, "nl"))
    with pytest.raises(InputError, match=message):
        gnn.set_response(model, responses, example=x, **options)
    assert set(model.state_dict()) == state
    assert not any("forward" in vars(m) for m in model.modules())


def test_responses_in_one_another_are_refused():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 1)
    gnn.set_response(model, {"layers.0.self_attn": "gfsa"})
    with pytest.raises(InputError, match=r"'layers.0.self_attn' is inside of 'layers.0'"):
        gnn.set_response(model, {"layers.0": "gfsa"})
    gnn.set_response(model, {"layers.0": "gfsa", "layers.0.self_attn": "nl"})
    with pytest.raises(InputError, match=r"'layers.0' has a response, and 'layers.0.self_attn'"):
        gnn.set_response(model, {"layers.0.self_attn": "gfsa"})


def test_one_module_under_two_names_is_named_once():
    module = TimmAttention(32, 4)
    model = nn.ModuleDict({"a": module, "b": module})
    with pytest.raises(InputError, match="'a' and 'b' are one module"):
        gnn.set_response(model, {"a": "gfsa", "b": "gfsa"})
    gnn.set_response(model, {"a": "gfsa"})
    assert hasattr(model["b"], "response_")


def test_two_attentions_have_no_output_of_one():
    layer = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
    gnn.set_response(layer, {"": "featscale"})
    x = torch.randn(2, 5, 32)
    with pytest.raises(InputError, match="acts on the output of one attention, and '' computed 2"):
        layer(x, x)


def test_outputs_that_are_no_tokens_are_named():
    class Grid(TimmAttention):
        def forward(self, x):
            return super().forward(x).unflatten(1, (2, 3))

    module = gnn.set_response(Grid(32, 4), {"": "featscale"})
    with pytest.raises(
        InputError, match=r"acts on tokens \(B, N, 32\), and '' gives \(2, 2, 3, 32\)"
    ):
        module(torch.randn(2, 6, 32))


def test_unseen_kernels_are_told_with_the_remedy():
    class Flex(nn.Module):
        num_heads = 4

        def forward(self, x):
            return torch.exp(x @ x.mT) @ x

    module = gnn.set_response(Flex(), {"": "gfsa"})
    with pytest.raises(InputError, match=r"computed no attention that can be seen.*switch flex"):
        module(torch.randn(2, 5, 8))


def test_a_module_that_is_not_called_is_found_with_an_example():
    class Loose(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.loose = TimmAttention(8, 2), TimmAttention(8, 2)

        def forward(self, x):
            return self.used(x)

    model, x = Loose(), torch.randn(2, 5, 8)
    gnn.set_response(model, {"used": "gfsa"}, example=x)
    with pytest.raises(InputError, match="'loose' is not called"):
        gnn.set_response(model, {"loose": "gfsa"}, example=x)
    assert not hasattr(model.loose, "response_")


def test_sizes_are_read_from_a_run():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Parameter(torch.randn(3, 8, 8))

        def forward(self, x):
            q, k, v = ((x @ w).unflatten(-1, (4, 2)).transpose(1, 2) for w in self.maps)
            return (torch.softmax(q @ k.mT, -1) @ v).transpose(1, 2).flatten(2)

    model, x = nn.Sequential(Plain()), torch.randn(2, 5, 8)
    before = model(x)
    with pytest.raises(InputError, match=r"number of heads of '0'.*pass heads=, or example="):
        gnn.set_response(model, {"0": "gfsa"})
    gnn.set_response(model, {"0": "gfsa"}, example=x)
    assert model[0].response_.w_k.shape == (4,)
    with pytest.raises(InputError, match=r"channels of '0'.*pass example="):
        gnn.set_response(model, {"0": "featscale"})
    gnn.set_response(model, {"0": "featscale"}, example=x)
    assert model[0].response_.s.shape == (8,)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("name", ["gfsa", "attnscale", "contranorm"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_network_with_responses_is_compiled_and_exported(name, fused):
    torch.manual_seed(0)
    if fused:
        module = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
        gnn.set_response(module, {"self_attn": name})
    else:
        module = gnn.set_response(nn.Sequential(TimmAttention(32, 4)).eval(), {"0": name})
    x = torch.randn(2, 5, 32)
    expected = module(x)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), expected, atol=1e-6)
    exported = torch.export.export(module, (x,))
    assert torch.allclose(exported.module()(x), expected, atol=1e-6)


def test_a_response_set_after_compiling_is_not_ignored():
    module = nn.Sequential(TimmAttention(32, 4)).eval()
    compiled = torch.compile(module, backend="aot_eager")
    x = torch.randn(2, 5, 32)
    before = compiled(x)
    gnn.set_response(module, {"0": "ns"})
    assert not torch.allclose(compiled(x), before)
    assert torch.allclose(compiled(x), module(x), atol=1e-6)


@pytest.mark.parametrize("name", ["gfsa", "attnscale"])
def test_autocast_computes_in_half_precision(name):
    for module in (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), TimmAttention(32, 4)):
        module.eval()
        at = "self_attn" if hasattr(module, "self_attn") else ""
        x = torch.randn(2, 5, 32)
        exact = module(x)
        gnn.set_response(module, {at: name})
        with torch.autocast("cpu", torch.bfloat16):
            out = module(x)
        assert torch.allclose(out.float(), exact, atol=0.1)


class FusedMasked(nn.Module):
    """Attention of one tensor by torch's fused function, with a mask and dropout."""

    num_heads = 4

    def __init__(self, eager=False, dropout=0.0):
        super().__init__()
        self.eager, self.dropout, self.v = eager, dropout, nn.Linear(32, 32)

    def forward(self, x, mask=None):
        q, v = (y.unflatten(-1, (4, -1)).transpose(1, 2) for y in (x, self.v(x)))
        if self.eager:
            out = torch.softmax(q @ q.mT + mask, -1) @ v
        else:
            p = self.dropout if self.training else 0.0
            out = F.scaled_dot_product_attention(q, q, v, mask, p, scale=1.0)
        return out.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("low", [-torch.inf, -1e4, torch.finfo(torch.float64).min])
@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("name", ["attnscale", "featscale"])
def test_keys_with_a_low_score_are_out_of_sight(name, eager, low):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 32, dtype=torch.float64)
    hidden = torch.arange(6) >= torch.tensor([6, 4])[:, None]
    mask = torch.zeros(2, 1, 1, 6, dtype=torch.float64).masked_fill(hidden[:, None, None], low)
    module = gnn.set_response(FusedMasked(eager).double(), {"": name})
    scatter(module.response_)
    kept = module(x[1:, :4], torch.zeros(1, 1, 1, 4, dtype=torch.float64))
    torch.testing.assert_close(module(x, mask)[1:, :4], kept)


def test_dropout_of_fused_attention_reaches_every_product():
    module = gnn.set_response(FusedMasked(dropout=0.5), {"": "gfsa"})
    x = torch.randn(2, 6, 32)
    assert not torch.allclose(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


def test_an_audit_names_the_layers_and_not_their_responses():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    model.layers[1].self_attn = gnn.Attention.from_module(model.layers[1].self_attn, "gfsa")
    gnn.set_response(model, {"layers.0.self_attn": "gfsa"})
    audit = gnn.audit(model, torch.randn(2, 6, 32))
    assert {record.layer for record in audit.attention} == {f"layers.{i}.self_attn" for i in (0, 1)}
    assert len(audit.attention) == 8
