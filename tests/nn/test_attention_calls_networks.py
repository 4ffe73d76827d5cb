"""Attention of many kinds of networks: what is seen, and that no bit of the output changes."""

from __future__ import annotations

import copy

import pytest
import torch
from support.nn_attention import (
    EagerAttention,
    FusedAttention,
    Layered,
    calling,
    global_hooks,
    observed,
    plain_output,
)
from torch import nn
from torch.nn import functional as F

from gspnl import nn as gnn
from gspnl.errors import InputError
from gspnl.nn.attention_calls import nothing_seen, observe

B, N, C, H = 3, 5, 16, 4
X = torch.randn(B, N, C, generator=torch.Generator().manual_seed(1))
PADDING = torch.arange(N) >= torch.tensor([[3], [5], [5]])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def encoder(**options):
    layer = nn.TransformerEncoderLayer(C, H, 32, **{"batch_first": True, **options})
    nested = layer.self_attn.batch_first and not layer.norm_first
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)


class Eager(FusedAttention):
    """Attention in steps that a test chooses."""

    def __init__(self, attend):
        super().__init__(C, H)
        self.way = attend

    def attend(self, q, k, v):
        return self.way(q, k, v)


def scores(q, k):
    return q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5


def triangle(value):
    return torch.full((N, N), value).triu(1)


def upcast(q, k, v):
    return (scores(q, k) + triangle(-1e9)).softmax(-1, dtype=torch.float32).type(v.dtype) @ v


def by_einsum(q, k, v):
    A = torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1)
    return torch.einsum("bhqk,bhkd->bqhd", A, v).transpose(1, 2)


def other_order(q, k, v):
    A = F.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k), dim=-1)
    return torch.einsum("bhqk,bhkd->hbqd", A, v).transpose(0, 1)


def by_bmm(q, k, v):
    q, k, v = (each.flatten(0, 1) for each in (q, k, v))
    A = torch.baddbmm(q.new_zeros(()), q, k.mT, beta=0, alpha=0.5).softmax(-1)
    return torch.bmm(F.dropout(A, 0.5, training=False), v).unflatten(0, (-1, H))


def transposed(q, k, v):
    A = torch.softmax(scores(q, k).transpose(-2, -1), dim=-2)  # over keys, which are rows
    return (v.transpose(-2, -1) @ A).transpose(-2, -1)


def looped(q, k, v):
    heads = [nn.Softmax(-1)(scores(q[:, h], k[:, h])) @ v[:, h] for h in range(H)]
    return torch.stack(heads, 1)


STEPS = [upcast, by_einsum, other_order, by_bmm, transposed]


class Windows(FusedAttention):
    """Shifted windows of 2 × 2 positions, as in Swin."""

    def attend(self, q, k, v):
        A = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        mask = A.new_zeros(4, 4, 4)
        mask[1, :2, 2:] = -100.0
        A = (A.view(-1, 4, self.num_heads, 4, 4) + mask[:, None]).view(A.shape)
        return A.softmax(-1) @ v

    def forward(self, x):
        x = torch.roll(x, (-1, -1), (1, 2))
        rows = x.unflatten(1, (2, 2)).unflatten(3, (2, 2)).transpose(2, 3).reshape(-1, 4, C)
        y = super().forward(rows).view(-1, 2, 2, 2, 2, C).transpose(2, 3).reshape(x.shape)
        return torch.roll(y, (1, 1), (1, 2))


class Channels(FusedAttention):
    """Attention over the channels of a head, as in XCiT."""

    def forward(self, x):
        q, k, v = (F.normalize(each.transpose(-2, -1), dim=-1) for each in self.split(x))
        v = self.split(x)[2].transpose(-2, -1)
        y = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.permute(0, 3, 1, 2).reshape(x.shape))


class ClassToken(nn.Module):
    """One query among all keys."""

    def __init__(self):
        super().__init__()
        self.num_heads = H
        self.q, self.k, self.v, self.proj = (nn.Linear(C, C) for _ in range(4))

    def forward(self, x):
        q, k, v = (
            f(y).unflatten(-1, (H, -1)).transpose(1, 2)
            for f, y in ((self.q, x[:, :1]), (self.k, x), (self.v, x))
        )
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Grouped(nn.Module):
    """Four query heads, two key heads."""

    def __init__(self, repeated):
        super().__init__()
        self.num_heads, self.repeated = H, repeated
        self.q, self.o = nn.Linear(C, C), nn.Linear(C, C, bias=False)
        self.k, self.v = nn.Linear(C, C // 2), nn.Linear(C, C // 2)

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (-1, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.repeated:
            k, v = (each.repeat_interleave(2, dim=1) for each in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o(y.transpose(1, 2).flatten(2))


class Transposed(nn.Module):
    """Weights (input, output), as in GPT-2."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(C, width) / 4)
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.addmm(self.bias, x.reshape(-1, C), self.weight)
        return y.view(*x.shape[:-1], -1)


class GPT(FusedAttention):
    def __init__(self):
        super().__init__(C, H)
        self.qkv, self.proj = Transposed(3 * C), Transposed(C)


class Pixels(nn.Module):
    """Attention between pixels by convolutions of one pixel, values first."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Conv2d(C, C, 1) for _ in range(3))

    def forward(self, x):
        q, k, v = (f(x).flatten(2) for f in (self.q, self.k, self.v))
        A = torch.softmax(torch.bmm(q.transpose(1, 2), k), dim=-1)
        return torch.bmm(v, A.transpose(1, 2)).view(x.shape) + x


class Forces(FusedAttention):
    """Gradients in the forward."""

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(super().forward(x).square().sum(), x)[0]


class Autocast(Layered):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(x)


class Inference(Layered):
    def forward(self, x):
        with torch.inference_mode():
            return self.inner(x)


def self_attention(layer, x):
    return layer(x, x, x)[0]


def padded(layer, x):
    return layer(x, src_key_padding_mask=PADDING)


NETWORKS = {
    "encoder": (lambda: encoder(), X, 2),
    "encoder, norm first": (lambda: encoder(norm_first=True), X, 2),
    "encoder, padded": (lambda: calling(encoder(), padded), X, 2),
    "encoder, not on the fast path": (lambda: encoder(batch_first=False), X, 2),
    "transformer": (lambda: calling(nn.Transformer(C, H, 1, 1, 32, batch_first=True), pair), X, 3),
    "multi-head attention": (
        lambda: calling(nn.MultiheadAttention(C, H, batch_first=True), self_attention), X, 1,
    ),
    "windows": (lambda: nn.Sequential(Windows(C, H), Windows(C, H)), torch.randn(2, 4, 4, C), 2),
    "channels": (lambda: Channels(C, H), X, 1),
    "class token": (ClassToken, X, 1),
    "grouped": (lambda: Grouped(False), X, 1),
    "repeated": (lambda: Grouped(True), X, 1),
    "GPT-2": (GPT, X, 1),
    "pixels": (Pixels, torch.randn(2, C, 3, 3), 1),
    "forces": (lambda: Forces(C, H), X, 1),
    "autocast": (lambda: Autocast(nn.Sequential(FusedAttention(C, H), EagerAttention(C, H))), X, 2),
    "inference mode": (lambda: Inference(nn.Sequential(*(Eager(s) for s in STEPS))), X, 5),
    **{step.__name__: (lambda step=step: Eager(step), X, 1) for step in STEPS},
}  # fmt: skip


def pair(model, x):
    return model(x, x[:, :4])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_bit_of_the_output_changes(name, dtype):
    make, x, count = NETWORKS[name]
    model, x = make().to(dtype).eval(), x.to(dtype)
    with torch.no_grad():
        before = model(x)
    calls, output = observed(model, x)
    assert torch.equal(output, before)
    assert len(calls) == count
    assert not calls.unseen
    assert global_hooks() == 0
    assert torch._C._len_torch_dispatch_stack() == 0


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_stochastic_and_heads_are_told(name):
    make, x, _ = NETWORKS[name]
    for call in observe(make().eval(), x):
        A, _ = plain_output(call)
        assert A.shape[1] == (1 if name == "pixels" else H)
        torch.testing.assert_close(A.sum(-1), torch.ones(A.shape[:-1]), rtol=0, atol=2e-2)
        assert call.cross == (A.shape[-1] != A.shape[-2])


@pytest.mark.parametrize("step", STEPS)
def test_attention_in_steps(step):
    model = Eager(step).eval()
    (call,) = observe(model, X)
    q, k, _ = model.split(X)
    plain = scores(q, k) if step not in (by_einsum, other_order) else q @ k.transpose(-2, -1)
    if step is upcast:
        plain = plain.masked_fill(triangle(1.0).bool(), -torch.inf)
    torch.testing.assert_close(call.weights, plain.softmax(-1).detach(), rtol=0, atol=1e-6)
    assert call.source == "softmax"
    assert call.causal == (step is upcast)
    assert call.mask is None


PROJECTED = [
    *("encoder", "encoder, not on the fast path", "multi-head attention", "windows", "grouped"),
    *("repeated", "GPT-2", "pixels", "by_einsum", "by_bmm", "transposed"),
]


@pytest.mark.parametrize("name", PROJECTED)
def test_value_weights_make_the_values_up_to_a_bias(name):
    make, x, _ = NETWORKS[name]
    model = make().double().eval()
    for call in observe(model, x.double()):
        v = call.v.repeat_interleave(len(call.value_weight) // call.v.shape[1], dim=1)
        bias = v - torch.einsum("bnc,hcd->bhnd", call.inputs, call.value_weight)
        assert call.inputs.shape[-1] == C
        torch.testing.assert_close(bias, bias[:1, :, :1].expand_as(bias), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", sorted({*PROJECTED, "class token"} - {"pixels"}))
def test_output_weights_make_what_the_layer_writes_up_to_a_bias(name):
    make, x, _ = NETWORKS[name]
    model = make().double().eval()
    written = {}
    outputs = {"encoder": None, "encoder, not on the fast path": None}
    if name in outputs:
        (call, _) = observe(model, x.double())
        layer = model.layers[0].self_attn
        y, _ = layer(*[x.double()] * 3)
        y = y if layer.batch_first else y.transpose(0, 1)
    else:
        layer = model[0] if name == "windows" else getattr(model, "inner", model)
        name = "out_proj" if name == "multi-head attention" else None
        last = layer.proj if hasattr(layer, "proj") else getattr(layer, "o", None)
        if last is not None:
            last.register_forward_hook(lambda m, a, out: written.setdefault("y", out))
        call = observe(model, x.double())[0]
        y = written.get("y")
        y = layer(*[x.double()] * 3)[0] if y is None else y
    _, heads = plain_output(call, torch.float64)
    rest = y - torch.einsum("bhnd,hdc->bnc", heads, call.output_weight)
    torch.testing.assert_close(rest, rest[:1, :1].expand_as(rest), rtol=0, atol=1e-10)


def test_channel_attention_has_no_value_weights():
    (call,) = observe(Channels(C, H), X)
    assert call.weights.shape == (B, H, C // H, C // H)
    assert call.value_weight is None
    assert call.output_weight is None
    assert "channels" in call.notes[0]


def test_padding_is_a_mask_of_keys():
    for call in observe(encoder(), {"src": X, "src_key_padding_mask": PADDING}):
        assert call.mask.shape == (B, 1, 1, N)
        assert torch.equal(call.mask[:, 0, 0], ~PADDING)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_triangle_is_causal(batch_first):
    mask = nn.Transformer.generate_square_subsequent_mask(N if batch_first else B)
    for call in observe(encoder(batch_first=batch_first), {"src": X, "mask": mask}):
        assert call.causal
        assert call.mask is None


def test_masks_of_numbers_that_only_take_keys_out_are_bool():
    keep = ~PADDING[:, None, None]
    lowest = torch.where(keep, 0.0, torch.finfo(torch.float32).min)
    bias = torch.randn(B, 1, N, N)
    for mask, kept in ((keep, keep), (lowest, keep), (bias, bias)):
        model = Eager(lambda q, k, v, m=mask: F.scaled_dot_product_attention(q, k, v, m))
        (call,) = observe(model, X)
        assert torch.equal(call.mask, kept)


def test_fused_attention_that_torch_computes_in_steps_is_one_call():
    model = Eager(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v[..., :3]).repeat(1, 1, 1, 2)
    )
    (call,) = observe(calling(model, lambda m, x: m.attend(*m.split(x))), X)
    q, k, v = model.split(X)
    assert call.source == "scaled_dot_product_attention"
    A, _ = plain_output(call)
    torch.testing.assert_close(A, scores(q, k).softmax(-1).detach(), rtol=0, atol=1e-6)
    assert torch.equal(call.v, v[..., :3])


def test_blocks_of_gspnl_are_left_out():
    block = gnn.create("nl", C, kernel="embedded_gaussian", normalization="softmax")
    assert observe(nn.Sequential(block), torch.randn(2, C, 6)) == []


class FlexAttention(FusedAttention):
    def attend(self, q, k, v):
        from torch.nn.attention.flex_attention import flex_attention

        return flex_attention(q, k, v)


class OwnAttention(FusedAttention):
    """Weights that no softmax computes."""

    def attend(self, q, k, v):
        A = scores(q, k).exp()
        return A / A.sum(-1, keepdim=True) @ v


class Mixing(FusedAttention):
    """Heads are mixed after the softmax, as in CaiT."""

    def __init__(self, dim, heads):
        super().__init__(dim, heads)
        self.mix = nn.Linear(heads, heads)

    def attend(self, q, k, v):
        A = scores(q, k).softmax(-1).permute(0, 2, 3, 1)
        return self.mix(A).permute(0, 3, 1, 2) @ v


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(C, 3)
        self.experts = nn.ModuleList(nn.Linear(C, C) for _ in range(3))

    def forward(self, x):
        experts = torch.stack([each(x) for each in self.experts], -2)
        return torch.einsum("bne,bnec->bnc", self.gate(x).softmax(-1), experts)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: FlexAttention(C, H), "flex_attention"),
        (lambda: OwnAttention(C, H), "OwnAttention"),
        (lambda: Mixing(C, H), "changed"),
        (Experts, "keys of their own"),
    ],
)
def test_attention_that_is_not_seen_is_named_with_the_remedy(model, named):
    calls = observe(nn.Sequential(model()), X)
    assert calls == []
    (note,) = calls.unseen
    assert named in note
    assert "attention={'0': function}" in note
    assert named in nothing_seen(calls.unseen)


def test_a_network_without_attention():
    calls = observe(nn.Sequential(nn.Linear(C, C), nn.Softmax(-1), nn.Linear(C, C)), X)
    assert calls == []
    assert calls.unseen == ()
    assert "scaled_dot_product_attention" in nothing_seen()


@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")  # of torch.export
def test_a_traced_and_an_exported_network():
    model = nn.Sequential(FusedAttention(C, H), EagerAttention(C, H)).eval()
    plain = observe(model, X)
    with torch.no_grad():
        program = torch.export.export(model, (X,))
    for other in (torch.export.unflatten(program), program.module()):
        calls = observe(other, X)
        for ours, theirs in zip(calls, plain, strict=True):
            assert torch.equal(ours.v, theirs.v)
            assert torch.equal(ours.value_weight, theirs.value_weight)


@pytest.mark.parametrize("whole", [True, False])
def test_compiled_networks_run_uncompiled(whole):
    model = nn.Sequential(FusedAttention(C, H), EagerAttention(C, H)).eval()
    plain = observe(copy.deepcopy(model), X)
    if whole:
        model = torch.compile(model, backend="aot_eager")
    else:
        for each in model:
            each.compile(backend="aot_eager")
    with torch.no_grad():
        model(X)
    calls = observe(model, X)
    assert [call.layer.removeprefix("_orig_mod.") for call in calls] == ["0", "1"]
    assert all(torch.equal(a.v, b.v) for a, b in zip(calls, plain, strict=True))


def test_nothing_remains_after_an_error_in_the_network():
    class Broken(FusedAttention):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("broken")

    model = Broken(C, H).train()
    state = torch.get_rng_state()
    with pytest.raises(InputError, match=r"cannot run this batch .*broken"):
        observe(model, X)
    assert global_hooks() == 0
    assert torch._C._len_torch_dispatch_stack() == 0
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_calls_are_handed_over_in_the_order_of_execution_and_not_kept():
    model = nn.Sequential(*(FusedAttention(C, H) for _ in range(7)))
    handed = []
    assert observe(model, X, on_call=handed.append) == []
    kept = observe(model, X)
    assert [call.layer for call in handed] == [call.layer for call in kept] == list("0123456")
    for ours, theirs in zip(handed, kept, strict=True):
        assert torch.equal(ours.output_weight, theirs.output_weight)


def test_errors_of_the_receiver_are_its_own():
    def stop(call):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        observe(FusedAttention(C, H), X, on_call=stop)
