"""gnn.Attention takes the place of torch's MultiheadAttention and of timm's Attention."""

from __future__ import annotations

import copy
import pickle

import pytest

from gspnl.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed")
from support.nn_responses import NL_AT_FIRST, RESPONSES, TimmAttention, scatter  # noqa: E402
from torch import nn  # noqa: E402

from gspnl import nn as gnn  # noqa: E402

B, H, N, M, C = 3, 4, 7, 5, 32


def drawn(module, seed=0):
    """Draw all parameters, also those that start at 0."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.2)
    return module


def pair(**options):
    """Return torch's module and ours with its state dict, both in evaluation mode."""
    theirs = drawn(nn.MultiheadAttention(C, H, **options)).eval()
    ours = gnn.Attention(C, H, **options).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def agree(found, expected, tolerance=1e-6):
    assert (found is None) == (expected is None)
    if found is not None:
        assert found.shape == expected.shape
        scale = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def masks(b=B, n=N, m=N):
    draw = torch.Generator().manual_seed(4)
    hidden = torch.rand(n, m, generator=draw) < 0.4
    hidden[:, 0] = False
    padding = torch.arange(m).expand(b, m) >= torch.tensor([m, m - 1, m - 3])[:b, None]
    per_head = torch.rand(b * H, n, m, generator=draw) < 0.4
    per_head[..., 0] = False
    floats = torch.randn(n, m, generator=draw)
    minus_infinity = torch.zeros(b, m).masked_fill(padding, -torch.inf)
    return {
        "none": {},
        "pairs": {"attn_mask": hidden},
        "pairs of heads": {"attn_mask": per_head},
        "floats": {"attn_mask": floats},
        "padding": {"key_padding_mask": padding},
        "padding as floats": {
            "key_padding_mask": torch.zeros(b, m).masked_fill(padding, -torch.inf)
        },
        "both": {"key_padding_mask": padding, "attn_mask": hidden},
        "bools and floats": {
            "key_padding_mask": minus_infinity,
            "attn_mask": floats,
        },
        "causal": {"attn_mask": torch.ones(n, m, dtype=torch.bool).triu(1), "is_causal": True},
        "causal and padding": {
            "attn_mask": torch.ones(n, m, dtype=torch.bool).triu(1),
            "key_padding_mask": padding,
            "is_causal": True,
        },
    }


@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_outputs_weights_and_gradients_are_torchs(mask, need_weights, batch_first):
    theirs, ours = pair(batch_first=batch_first)
    x = torch.randn((B, N, C) if batch_first else (N, B, C), requires_grad=True)
    options = {**masks()[mask], "need_weights": need_weights}
    results = [module(x, x, x, **options) for module in (ours, theirs)]
    for found, expected in zip(*results, strict=True):
        agree(found, expected)
    weight = torch.randn_like(x)
    gradients = [
        torch.autograd.grad((out * weight).sum(), [x, *module.parameters()])
        for module, (out, _) in zip((ours, theirs), results, strict=True)
    ]
    for found, expected in zip(*gradients, strict=True):
        agree(found, expected, 5e-6)


@pytest.mark.parametrize("mask", masks())
def test_outputs_are_those_of_torchs_fast_path(mask):
    theirs, ours = pair(batch_first=True)
    x = torch.randn(B, N, C)
    with torch.no_grad():
        agree(ours(x, x, x, **masks()[mask])[0], theirs(x, x, x, **masks()[mask])[0])


@pytest.mark.parametrize(
    "options",
    [
        {"kdim": 12},
        {"kdim": 12, "vdim": 20},
        {"bias": False},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"add_bias_kv": True, "add_zero_attn": True, "vdim": 20, "bias": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("mask", masks())
def test_cross_attention_with_every_option_is_torchs(options, mask):
    theirs, ours = pair(**options)
    query = torch.randn(N, B, C)
    key = torch.randn(M, B, options.get("kdim", C))
    value = torch.randn(M, B, options.get("vdim", C))
    given = masks(m=M)[mask]
    if "causal" in mask:
        given["is_causal"] = False  # torch reads the hint in two ways where keys are added
    for need_weights in (True, False):
        results = [
            module(query, key, value, need_weights=need_weights, **given)
            for module in (ours, theirs)
        ]
        for found, expected in zip(*results, strict=True):
            agree(found, expected)


def test_added_keys_are_seen_by_every_query_of_a_causal_attention():
    theirs, ours = pair(add_bias_kv=True)
    x, causal = torch.randn(N, B, C), torch.ones(N, N, dtype=torch.bool).triu(1)
    agree(ours(x, x, x, is_causal=True)[0], theirs(x, x, x, attn_mask=causal)[0])


def test_weights_a_head_and_tokens_without_a_batch_are_torchs():
    theirs, ours = pair()
    x = torch.randn(N, C)
    for options in ({}, {"average_attn_weights": False}, {"need_weights": False}):
        for given in ({}, {"key_padding_mask": torch.arange(N) > 4}):
            for found, expected in zip(
                ours(x, x, x, **options, **given), theirs(x, x, x, **options, **given), strict=True
            ):
                agree(found, expected)


def test_dropout_draws_what_torch_draws_where_weights_are_returned():
    theirs, ours = (module.train() for module in pair(dropout=0.3))
    x = torch.randn(N, B, C)
    results = []
    for module in (ours, theirs):
        torch.manual_seed(5)
        results.append(module(x, x, x))
    for found, expected in zip(*results, strict=True):
        agree(found, expected)
    torch.manual_seed(6)
    assert not torch.allclose(ours(x, x, x)[0], results[0][0])


@pytest.mark.parametrize("name", RESPONSES)
def test_dropout_keeps_the_mean_of_each_product(name):
    torch.manual_seed(0)
    module = gnn.Attention(8, 2, name, dropout=0.2, dtype=torch.float64, **RESPONSES[name])
    scatter(module.response)
    if module.response.finishes:
        return  # not linear in A
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    mean = module(x.expand(20_000, 5, 8)).mean(0)
    expected = module.eval()(x)[0]
    assert float((mean - expected).detach().abs().max()) < 0.05 * float(
        expected.detach().abs().max()
    )


def test_without_a_batch_axis_first_the_first_axis_is_that_of_tokens():
    torch.manual_seed(0)
    ours = gnn.Attention(C, H)
    x = torch.randn(B, N, C)
    agree(ours(x.transpose(0, 1), *[x.transpose(0, 1)] * 2)[0].transpose(0, 1), ours(x))


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("mask", ["none", "bool", "floats", "causal"])
def test_outputs_and_gradients_are_timms(mask, qkv_bias, qk_norm):
    theirs = drawn(TimmAttention(C, H, qkv_bias=qkv_bias, qk_norm=qk_norm))
    ours = gnn.Attention(C, num_heads=H, qkv_bias=qkv_bias, qk_norm=qk_norm)
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    draw = torch.Generator().manual_seed(4)
    options = {
        "none": {},
        "bool": {"attn_mask": (torch.rand(B, 1, N, N, generator=draw) < 0.5) | torch.eye(N).bool()},
        "floats": {"attn_mask": torch.randn(N, N, generator=draw)},
        "causal": {"is_causal": True},
    }[mask]
    x = torch.randn(B, N, C, requires_grad=True)
    results = [module(x, **options) for module in (ours, theirs)]
    agree(*results)
    weight = torch.randn(B, N, C)
    gradients = [torch.autograd.grad((out * weight).sum(), x)[0] for out in results]
    agree(*gradients, 5e-6)
    leaves = (ours.out_proj.weight, theirs.proj.weight)
    sums = ((module(x, **options) * weight).sum() for module in (ours, theirs))
    agree(*(torch.autograd.grad(*each)[0] for each in zip(sums, leaves, strict=True)), 5e-6)


@pytest.mark.parametrize("name", RESPONSES)
def test_state_dicts_of_both_load_into_every_response(name):
    theirs = drawn(nn.MultiheadAttention(C, H, batch_first=True))
    timm = TimmAttention(C, H, qkv_bias=True)
    timm.qkv.weight, timm.qkv.bias = theirs.in_proj_weight, theirs.in_proj_bias
    timm.proj.weight, timm.proj.bias = theirs.out_proj.weight, theirs.out_proj.bias
    x = torch.randn(B, N, C)
    for state in (theirs.state_dict(), timm.state_dict()):
        before = dict(state)
        ours = gnn.Attention(C, H, name, **RESPONSES[name])
        start = copy.deepcopy(ours.response.state_dict())
        ours.load_state_dict(state)
        assert state.keys() == before.keys()
        assert all(torch.equal(start[k], v) for k, v in ours.response.state_dict().items())
        if name in NL_AT_FIRST:
            agree(ours(x), theirs(x, x, x)[0])
        scatter(ours.response)
        again = gnn.Attention(C, H, name, **RESPONSES[name])
        again.load_state_dict(ours.state_dict())
        assert torch.equal(again(x), ours(x))


def test_state_dicts_load_inside_a_network():
    class Twice(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.first, self.second = make(), nn.ModuleList([make()])

    theirs = Twice(lambda: drawn(TimmAttention(C, H)))
    ours = Twice(lambda: gnn.Attention(C, H, "gfsa"))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(B, N, C)
    agree(ours.second[0](x), theirs.second[0](x))
    broken = theirs.state_dict()
    del broken["second.0.qkv.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*second\.0\.in_proj_weight"):
        ours.load_state_dict(broken)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({})
    half = gnn.Attention(C, H, "gfsa").state_dict()
    del half["response.w_k"]
    with pytest.raises(RuntimeError, match=r"Missing key.*response\.w_k"):
        gnn.Attention(C, H, "gfsa").load_state_dict(half)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*response\.w_k"):
        gnn.Attention(C, H).load_state_dict(gnn.Attention(C, H, "gfsa").state_dict())


def test_a_missing_bias_loads_as_zeros():
    theirs = drawn(nn.MultiheadAttention(C, H, bias=False, batch_first=True))
    ours = drawn(gnn.Attention(C, H))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(B, N, C)
    agree(ours(x), theirs(x, x, x)[0])


@pytest.mark.parametrize("name", RESPONSES)
def test_copies_and_pickles_compute_the_same(name):
    module = drawn(gnn.Attention(C, H, name, **RESPONSES[name]))
    x = torch.randn(B, N, C)
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(again(x), module(x))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("padded", [False, True])
def test_it_takes_the_place_of_attention_in_torchs_encoder(padded):
    """Fast paths of encoder layers would compute plain attention; they have to stay off."""
    torch.manual_seed(0)
    options = {"nhead": H, "dim_feedforward": 16, "batch_first": True, "dropout": 0.0}
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(C, **options), 2).eval()
    ours = copy.deepcopy(encoder)
    for layer in ours.layers:
        layer.self_attn = gnn.Attention.from_module(layer.self_attn, "attnscale")
    mask = torch.arange(N) >= torch.tensor([7, 4, 5])[:, None] if padded else None
    x = torch.randn(B, N, C)
    with torch.no_grad():
        agree(ours(x, src_key_padding_mask=mask), encoder(x, src_key_padding_mask=mask))
        for layer in ours.layers:
            layer.self_attn.response.omega.fill_(0.5)
        fast = ours(x, src_key_padding_mask=mask)
    slow = ours(x, src_key_padding_mask=mask)
    kept = slice(None) if mask is None else ~mask
    agree(fast[kept], slow.detach()[kept])
    assert not torch.allclose(fast, encoder(x, src_key_padding_mask=mask), atol=1e-3)


def test_from_module_copies_torchs_and_timms():
    x = torch.randn(B, N, C)
    theirs = drawn(nn.MultiheadAttention(C, H, dropout=0.1, batch_first=True)).double().eval()
    ours = gnn.Attention.from_module(theirs, "gfsa", order=5)
    assert (ours.training, ours.dropout, ours.response.options) == (False, 0.1, {"order": 5})
    agree(ours(x.double()), theirs(*[x.double()] * 3)[0], 1e-12)
    timm = drawn(TimmAttention(C, H, qk_norm=True, proj_bias=False))
    ours = gnn.Attention.from_module(timm)
    agree(ours(x), timm(x))
    ours.in_proj_weight.data.zero_()
    assert bool(timm.qkv.weight.any())  # a copy


def test_from_module_refuses_what_it_cannot_compute():
    class Rotary(TimmAttention):
        def forward(self, x):
            return super().forward(x.flip(-1))

    with pytest.raises(InputError, match=r"Rotary has the parts.*set_response"):
        gnn.Attention.from_module(Rotary(C, H))
    more = TimmAttention(C, H)
    more.gate = nn.Linear(C, C)
    more.table = nn.Parameter(torch.zeros(3))
    with pytest.raises(InputError, match="TimmAttention has 'gate', 'table'"):
        gnn.Attention.from_module(more)
    with pytest.raises(InputError, match="Linear is neither"):
        gnn.Attention.from_module(nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "heads=5 does not divide dim=32"),
        ({"heads": 0}, "heads=0 must be a whole number"),
        ({"dim": 3.5}, "dim=3.5 must be a whole number"),
        ({"heads": 4, "num_heads": 8}, "heads=4 and num_heads=8 are the same"),
        ({"dropout": 1.5}, "dropout=1.5 must be a finite number"),
        ({"response": "snl", "add_bias_kv": True}, "add_bias_kv and add_zero_attn add keys"),
        ({"response": 0.1}, "unknown attention response 0.1"),
        ({"scale_norm": True}, "scale_norm=True"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        gnn.Attention(**{"dim": C, "heads": H, **options})


def test_bad_tokens_and_masks_are_named():
    ours = gnn.Attention(C, H)
    x = torch.randn(B, N, C)
    cases = [
        ((x[..., :5],), {}, r"x has shape \(3, 7, 5\); this attention takes \(B, N, 32\)"),
        ((x[0],), {}, r"x has shape \(7, 32\)"),
        ((x.double(),), {}, r"x has dtype torch.float64 and the weights torch.float32"),
        (([1.0],), {}, "x must be a torch tensor, not list"),
        ((x, x), {}, r"attention\(x\) with one tensor or attention\(query, key, value\)"),
        ((x,), {"key_padding_mask": torch.zeros(B, N).bool()}, "the call with one tensor takes"),
        ((x,), {"attn_mask": torch.zeros(N, 3)}, r"attn_mask has shape \(7, 3\)"),
        ((x,), {"attn_mask": torch.zeros(N, N).long()}, "attn_mask has dtype torch.int64"),
        ((x, x, x), {"attn_mask": torch.zeros(3, 7)}, r"attn_mask has shape \(3, 7\)"),
        ((x, x, x), {"key_padding_mask": torch.zeros(3, 7)}, "key_padding_mask has shape"),
        ((x, x, x[:2]), {}, "key and value need the same tokens"),
        ((x, x[:, :2], x[:, :2]), {}, "query holds a batch of 7, and key and value of 2"),
        ((x, x[..., :4], x), {}, r"key has shape \(3, 7, 4\)"),
    ]
    for args, options, message in cases:
        with pytest.raises(InputError, match=message):
            ours(*args, **options)


def test_two_tokens_and_one_token_are_attended():
    for n in (1, 2):
        for name, options in RESPONSES.items():
            module = scatter(gnn.Attention(C, H, name, **options))
            assert module(torch.randn(1, n, C)).isfinite().all()
