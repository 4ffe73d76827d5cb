"""Responses of attention equal their dense formulas, with masks, gradients and half precision."""

from __future__ import annotations

import copy

import pytest

from gspnl.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.nn.functional as F  # noqa: E402
from support.nn_responses import (  # noqa: E402
    NL_AT_FIRST,
    RESPONSES,
    SELF_ONLY,
    dense_attention,
    dense_filter,
    dense_finish,
    dense_softmax,
    scatter,
    uniform,
)

from gspnl import nn as gnn  # noqa: E402
from gspnl.nn.attention_responses import Fused, Mask, Stored, make_response  # noqa: E402
from gspnl.nn.attention_responses.combine import combine, weighted  # noqa: E402

B, H, N, C = 2, 4, 17, 32
EVERY = pytest.mark.parametrize("name", RESPONSES)
IN_HEADS = pytest.mark.parametrize(
    "name", [n for n in RESPONSES if n not in ("featscale", "contranorm")]
)


def close(found, expected, tolerance=1e-6):
    found, expected = found.detach(), expected.detach()
    norm = torch.linalg.vector_norm
    assert float(norm(found.double() - expected)) <= tolerance * max(1e-3, float(norm(expected)))


def attention(name, seed=0):
    torch.manual_seed(seed)
    module = gnn.Attention(C, H, name, **RESPONSES[name])
    torch.nn.init.normal_(module.in_proj_bias)
    scatter(module.response)
    return module, torch.randn(B, N, C)


def visible_masks():
    lengths = torch.tensor([N, 9])
    padded = (torch.arange(N) < lengths[:, None])[:, None, None, :]
    causal = torch.ones(N, N, dtype=torch.bool).tril()[None, None]
    drawn = torch.rand(B, 1, N, N, generator=torch.Generator().manual_seed(1)) < 0.6
    return {
        "none": None,
        "padded": padded,
        "causal": causal,
        "any": drawn | torch.eye(N, dtype=torch.bool),
    }


def test_every_registered_response_is_tested():
    assert set(gnn.ATTENTION_RESPONSES) == set(RESPONSES)


@EVERY
@pytest.mark.parametrize("mask", visible_masks())
def test_outputs_and_gradients_equal_the_dense_formula(name, mask):
    module, x = attention(name)
    visible = visible_masks()[mask]
    options = {"is_causal": True} if mask == "causal" else {"attn_mask": visible}
    weight = torch.randn(B, N, C)

    def gradients(module, function, dtype):
        signal = x.to(dtype).requires_grad_()
        out = function(signal)
        leaves = [signal, *module.parameters()]
        return out, torch.autograd.grad((out * weight.to(dtype)).sum(), leaves, allow_unused=True)

    found, grads = gradients(module, lambda s: module(s, **options), torch.float32)
    dense = copy.deepcopy(module).double()
    expected, truth = gradients(
        dense, lambda s: dense_attention(name, dense, s, visible), torch.float64
    )
    close(found, expected)
    assert [one is None for one in grads] == [other is None for other in truth]
    joined = [torch.cat([g.flatten() for g in each if g is not None]) for each in (grads, truth)]
    close(*joined)


@EVERY
def test_a_response_in_float64_equals_the_dense_formula_to_rounding(name):
    module, x = attention(name)
    module, x = module.double(), x.double()
    close(module(x), dense_attention(name, module, x), 1e-13)
    assert torch.autograd.gradcheck(lambda s: module(s), (x[:1, :5].clone().requires_grad_(),))


@IN_HEADS
def test_stored_weights_give_what_fused_attention_gives(name):
    q, k, v = torch.randn(3, B, H, N, 8, dtype=torch.float64)
    response = scatter(make_response(name, H, C, **RESPONSES[name])).double()
    A = dense_softmax(q, k)
    expected = dense_filter(name, response, A, uniform(A.shape)) @ v
    close(response(Fused(q, k), v), expected, 1e-13)
    close(response(Stored(A), v), expected, 1e-13)


@pytest.mark.parametrize("name", NL_AT_FIRST)
def test_a_new_response_gives_plain_attention_bit_for_bit(name):
    q, k, v = torch.randn(3, B, H, N, 8)
    response = make_response(name, H, C)
    assert torch.equal(response(Fused(q, k), v), F.scaled_dot_product_attention(q, k, v))
    Y = torch.randn(B, N, C)
    assert torch.equal(response.finished(Y, Mask()), Y)


@EVERY
def test_every_parameter_of_a_response_learns(name):
    module, x = attention(name)
    module(x).square().mean().backward()
    for parameter in module.response.parameters():
        assert parameter.grad is not None
        assert bool((parameter.grad != 0).any(-1).all())


@EVERY
def test_core_gives_the_gain_of_each_eigenvalue(name):
    torch.manual_seed(3)
    response = scatter(make_response(name, H, H, **RESPONSES[name])).double()
    points = torch.randn(1, 1, N, 3, dtype=torch.float64)
    W = torch.exp(-torch.cdist(points, points))
    for _ in range(500):  # rows and columns sum to 1: uniform π, so attnscale is a filter as well
        W = W / torch.sqrt(W.sum(-1, keepdim=True) * W.sum(-2, keepdim=True))
    lam, U = torch.linalg.eigh(torch.eye(N) - W[0, 0])
    for head in range(H):
        gain = response.core(head)(lam.numpy().clip(0))
        if name == "featscale":
            Y = torch.randn(1, N, H, dtype=torch.float64)
            mean = Y.mean(1, keepdim=True)
            gain = response.core(head)(torch.tensor([0.0, 1.0]).double().numpy())
            found = response.finished(Y, Mask())[..., head]
            close(found, (gain[0] * mean + gain[1] * (Y - mean))[..., head], 1e-12)
        elif name == "contranorm":
            with torch.no_grad():
                response.norm.weight.fill_(1), response.norm.bias.fill_(0)
            Y = torch.randn(1, N, H, dtype=torch.float64)
            A = dense_softmax(Y[:, None], Y[:, None], scale=1.0)[0, 0]
            lam, U = torch.linalg.eig(torch.eye(N) - A)  # similar to a symmetric matrix
            filters = [
                U
                @ torch.diag(torch.from_numpy(response.core(c)(lam.numpy())))
                @ torch.linalg.inv(U)
                @ Y[0, :, c].to(U)
                for c in range(H)
            ]
            Z = torch.stack(filters, -1).real
            close(response.finished(Y, Mask())[0], F.layer_norm(Z, (H,)), 1e-10)
        else:
            every = response(Stored(W.expand(1, H, N, N)), torch.eye(N).double().expand(1, H, N, N))
            close(every[0, head], U @ torch.diag(torch.from_numpy(gain)) @ U.T, 1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@EVERY
def test_half_precision_is_half_as_exact(name, dtype):
    module, x = attention(name)
    half = copy.deepcopy(module).to(dtype)
    out = half(x.to(dtype))
    assert out.dtype == dtype
    exact = dense_attention(name, copy.deepcopy(half).double(), x.to(dtype).double())
    error = (out.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error < 8 * torch.finfo(dtype).eps


@EVERY
def test_autocast_computes_in_half_precision(name):
    module, x = attention(name)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(x)
    exact = dense_attention(name, copy.deepcopy(module).double(), x.double())
    error = (out.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 1e-5 < error < 0.05
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in module.response.parameters())


@pytest.mark.parametrize("name", SELF_ONLY)
def test_cross_attention_is_refused_where_identity_or_powers_are_used(name):
    module, x = attention(name)
    with pytest.raises(InputError, match=f"{name!r}.*17 queries meet 9 keys"):
        module(x.transpose(0, 1), x[:, :9].transpose(0, 1), x[:, :9].transpose(0, 1))


@pytest.mark.parametrize("name", ["nl", "attnscale"])
def test_cross_attention_equals_the_dense_formula(name):
    q, k, v = (torch.randn(B, H, n, 8, dtype=torch.float64) for n in (N, 9, 9))
    response = scatter(make_response(name, H, C)).double()
    A = dense_softmax(q, k)
    close(response(Fused(q, k), v), dense_filter(name, response, A, uniform(A.shape)) @ v, 1e-13)


@pytest.mark.parametrize("name", ["featscale", "contranorm"])
def test_cross_attention_with_padded_keys_averages_all_queries(name):
    module, x = attention(name)
    keys = torch.randn(B, 9, C)
    padding = torch.arange(9).expand(B, 9) > 6
    module.batch_first = True
    found, _ = module(x, keys, keys, key_padding_mask=padding)
    kept, _ = module(x, keys[:, :7], keys[:, :7])
    close(found, kept.double())


@pytest.mark.parametrize("queries", [5, 9, 12])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", ["none", "keys", "pairs", "floats", "one column"])
def test_means_are_over_the_keys_in_sight(form, causal, queries):
    keys, draw = 9, torch.Generator().manual_seed(2)
    V = torch.randn(B, H, keys, 3, dtype=torch.float64, generator=draw)
    mask = {
        "none": None,
        "keys": torch.rand(B, 1, 1, keys, generator=draw) < 0.5,
        "pairs": torch.rand(B, H, queries, keys, generator=draw) < 0.5,
        "one column": torch.rand(queries, 1, generator=draw) < 0.5,
    }.get(form)
    if form == "floats":
        mask = torch.randn(queries, keys, generator=draw) * 50
        mask[:, 3:5] = torch.finfo(torch.float32).min
        mask[:, 7] = -torch.inf
    visible = torch.ones(1, 1, queries, keys, dtype=torch.bool)
    if mask is not None:
        visible = visible & (mask if mask.dtype == torch.bool else mask > -1e3)
    if causal:
        visible = visible & torch.ones(queries, keys, dtype=torch.bool).tril()
    expected = uniform((B, H, queries, keys), visible) @ V
    found = Mask(mask, causal).mean(V, queries)
    assert float((found - expected).abs().max()) < 1e-14


def test_a_constant_signal_stays_constant_under_attnscale_with_padding():
    response = scatter(make_response("attnscale", H, C))
    padded = (torch.arange(N) < 9).expand(B, 1, 1, N)
    q, k = torch.randn(2, B, H, N, 8)
    out = response(Fused(q, k, Mask(padded)), torch.ones(B, H, N, 8))
    assert float((out - 1).detach().abs().max()) < 1e-6


def test_cosine_compares_features_of_length_one():
    response = make_response("contranorm", 1, C, s=0.4, cosine=True, dtype=torch.float64)
    Y = torch.randn(B, N, C, dtype=torch.float64)
    unit = (Y / Y.norm(dim=-1, keepdim=True))[:, None]
    near = dense_softmax(unit, unit, scale=1.0)[:, 0] @ Y
    close(response.finished(Y, Mask()), F.layer_norm(Y - 0.4 * near, (C,)), 1e-12)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nlx", {}, "unknown attention response 'nlx'; did you mean 'nl'"),
        (None, {}, "unknown attention response None"),
        ("nl", {"order": 2}, "response 'nl' has no option 'order'; it takes none"),
        ("gfsa", {"K": 2}, "response 'gfsa' has no option 'K'; it takes order"),
        ("gfsa", {"order": 0}, "order=0 must be a whole number ≥ 1"),
        ("chebyshev", {"order": 1.5}, "order=1.5 must be a whole number from 1 to 100"),
        ("contranorm", {"s": float("nan")}, "s=nan must be a finite number"),
        ("contranorm", {"cosine": 1}, "cosine=1 must be True or False"),
    ],
)
def test_bad_responses_and_options_are_named(name, options, message):
    with pytest.raises(InputError, match=message):
        make_response(name, H, C, **options)
    with pytest.raises(InputError, match=message):
        gnn.Attention(C, H, name, **options)


@EVERY
def test_no_matrix_of_all_pairs_is_stored(name):
    """Count the entries of every tensor of a forward and backward pass of 4,096 tokens."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        entries = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for each in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(each, torch.Tensor):
                    Largest.entries = max(Largest.entries, each.numel())
            return out

    module = gnn.Attention(16, 2, name, **RESPONSES[name])
    x = torch.randn(1, 4096, 16)
    with Largest():
        module(x).sum().backward()
    assert Largest.entries <= 3 * x.numel()


@EVERY
def test_a_response_is_compiled_and_exported(name):
    module, x = attention(name)
    expected = module(x)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    close(compiled(x), expected.double())
    exported = torch.export.export(module, (x,))
    close(exported.module()(x), expected.double())


@pytest.mark.parametrize("name", ["featscale", "contranorm"])
def test_the_output_is_averaged_over_keys_that_any_head_sees(name):
    module, _ = attention(name)
    visible = torch.zeros(B, H, N, N, dtype=torch.bool)
    for head in range(H):
        visible[:, head, :, head :: H + 1] = True
    Y = torch.randn(B, N, C)
    found = module.response.finished(Y, Mask(visible))
    any_head = visible.any(1).expand(B, N, N)
    response = copy.deepcopy(module.response).double()
    close(found, dense_finish(name, response, Y.double(), any_head))


@pytest.mark.parametrize("layout", ["contiguous", "packed"])
def test_combined_signals_have_first_and_second_gradients(layout):
    shares = torch.randn(3, H, dtype=torch.float64, requires_grad=True)
    signals = torch.randn(3, B, H, 3, 2, dtype=torch.float64)
    if layout == "packed":
        signals = torch.randn(B, 3, 3, H, 2, dtype=torch.float64).permute(2, 0, 3, 1, 4)
    signals = [each.detach().requires_grad_() for each in (*signals[:2], signals[2][..., :1, :])]

    def function(shares, *signals):
        return combine(shares.unbind(0), signals)

    close(function(shares, *signals), weighted(shares, *signals), 1e-14)
    assert torch.autograd.gradcheck(function, (shares, *signals))
    assert torch.autograd.gradgradcheck(function, (shares, *signals))
    assert torch.autograd.gradcheck(function, (shares.detach(), *signals))


def test_combined_signals_are_transformed_by_torch_func():
    shares, signals = torch.randn(2, H), torch.randn(2, 5, B, H, N, 3)

    def loss(shares, one, two):
        return combine(shares.unbind(0), (one, two)).square().sum()

    found = torch.vmap(torch.func.grad(loss), (None, 0, 0))(shares, *signals)
    for each, one, two in zip(found, *signals, strict=True):
        leaf = shares.clone().requires_grad_()
        (expected,) = torch.autograd.grad(weighted(leaf, one, two).square().sum(), leaf)
        close(each, expected.double(), 1e-6)


def test_a_newly_registered_response_is_taken_everywhere():
    @gnn.ATTENTION_RESPONSES.register("cubed")
    class Cubed(gnn.AttentionResponse):
        row = gnn.AttentionRow("cubed", "A³ V", "μ³", "3", "0", "cubed", "this test")
        square = True

        def filtered(self, A, V):
            return A.apply(A.apply(A.apply(V)))

    try:
        q, k, v = torch.randn(3, B, H, N, 8, dtype=torch.float64)
        A = dense_softmax(q, k)
        close(make_response("cubed", H, C)(Fused(q, k), v), A @ A @ A @ v, 1e-12)
        module = gnn.Attention(C, H, "cubed")
        assert "| cubed | A³ V | μ³ | 3 |" in gnn.attention_table()
        other = torch.nn.MultiheadAttention(C, H, batch_first=True)
        module.load_state_dict(other.state_dict())
        x = torch.randn(B, N, C)
        gnn.set_response(other, {"": "cubed"})
        close(other(x, x, x)[0], module(x).double())
        with pytest.raises(NotImplementedError, match="override core"):
            module.response.core()
    finally:
        gnn.ATTENTION_RESPONSES.unregister("cubed")
