"""Attention at large scores in float32, against dense formulas in float64 of the same points."""

from __future__ import annotations

import pytest
import torch

from gspnl import nn as gnn
from gspnl.errors import DegreeError
from gspnl.nn.attention import attention
from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.attention.symmetric import joint_attention


def draw(*shape, seed, size=1.0):
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense(q, k, v, normalization):
    """A v of the dense scores, by logarithms of all entries."""
    s = q @ k.mT
    if normalization != "softmax":
        s = torch.logaddexp(s, s.mT)
    if normalization != "symmetric":
        return torch.softmax(s, -1) @ v
    d = torch.logsumexp(s, -1)
    return torch.exp(s - (d[..., :, None] + d[..., None, :]) / 2) @ v


def values(f, leaves, weights):
    """Output and gradients of Σ weights ∘ f, in float64."""
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    out = f(*leaves)
    grads = torch.autograd.grad((out * weights.to(out.dtype)).sum(), leaves)
    return [x.detach().double() for x in (out, *grads)]


def errors(got, wanted):
    """Errors relative to the largest expected entry of each."""
    return [float((a - b).abs().max() / b.abs().max()) for a, b in zip(got, wanted, strict=True)]


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("size", [100.0, 1e3, 1e4])
@pytest.mark.parametrize("normalization", ["softmax", "random_walk", "symmetric"])
def test_gradients_have_the_digits_of_float32(normalization, size, same):
    """Plain float32 formulas lose |s| ε of each weight; these gradients lose nothing."""
    q, k = (draw(2, 90, 6, seed=i, size=(size / 6) ** 0.5) for i in (1, 2))
    v, w = draw(2, 90, 3, seed=3), draw(2, 90, 3, seed=4)
    first = [q, v] if same else [q, k, v]
    wanted = values(
        lambda *t: dense(t[0], t[-2], t[-1], normalization), [x.double() for x in first], w
    )
    got = values(lambda *t: attention(t[0], t[-2], normalization, same).apply(t[-1]), first, w)
    plain = values(lambda *t: dense(t[0], t[-2], t[-1], normalization), first, w)
    assert errors(got, wanted)[0] < max(3 * errors(plain, wanted)[0], 1e-6)
    least = 1e-9 * size if size == 1e4 else 0.0  # most rows have one neighbour: nothing is left
    for a, b in zip(got[1:], wanted[1:], strict=True):
        assert float((a - b).abs().max()) < 1e-6 * float(b.abs().max()) + least


@pytest.mark.parametrize("normalization", ["softmax", "random_walk", "symmetric"])
def test_rows_with_one_neighbour_have_no_gradient_of_their_scores(normalization):
    """Scores of 1e4 on the diagonal, at least 3,800 below it elsewhere: A = I to any rounding."""
    angles = torch.arange(5) * 2 * torch.pi / 5
    q = (100 * torch.stack([angles.cos(), angles.sin()], 1)[None]).requires_grad_()
    v, w = draw(1, 5, 4, seed=1), draw(1, 5, 4, seed=2)
    out = attention(q, q, normalization, True).apply(v)
    (gradient,) = torch.autograd.grad((out * w).sum(), q)
    # d log A_ii of symmetric is s_ii − ℓ_i, which vanishes as ℓ_i = s_ii
    assert float((out - v).detach().abs().max()) < 1e-6
    assert float(gradient.abs().max()) < 1e-8


def test_row_and_column_sums_beyond_the_digits_of_float32_share_exactly():
    """Row 0 has scores 1e5 at nodes 1 and 3, column 0 at node 2: a third each."""
    q = torch.zeros(1, 4, 4)
    q[0, 0, 1] = q[0, 0, 3] = q[0, 2, 0] = 1e5
    first = joint_attention(q, torch.eye(4)[None], torch.eye(4)[None])[0, 0]
    assert torch.allclose(first, torch.tensor([0.0, 1 / 3, 1 / 3, 1 / 3]), rtol=0, atol=1e-7)


BLOCKS = [
    ("nl", {}),
    ("nl", {"sub_sample": 2}),
    ("nl", {"kernel": "embedded_gaussian", "temperature": 0.01}),
    ("nl", {"kernel": "gaussian"}),
    ("ns", {}),
    ("ns", {"normalization": "random_walk"}),
    ("ns", {"normalization": "symmetric"}),
    ("snl", {"kernel": "embedded_gaussian"}),
    ("chebyshev", {"kernel": "gaussian", "order": 4, "normalization": "symmetric"}),
    ("chebyshev", {"kernel": "embedded_gaussian", "order": 3}),
]


@pytest.mark.parametrize(("block", "options"), BLOCKS, ids=str)
@pytest.mark.parametrize("size", [20.0, 100.0, 1000.0])
def test_gradients_of_blocks_at_large_features(block, options, size):
    """Features whose products have few digits, as integers: φ and ψ are exact in float32."""

    def run(dtype):
        torch.manual_seed(1)
        net = gnn.create(block, 4, norm="none", zero_init=False, **options)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.round(4 * p) / 4)
        net = net.to(dtype)
        x = torch.round(draw(2, 4, 6, 6, seed=5, size=size)).to(dtype).requires_grad_()
        out = net(x)
        loss = (out * draw(2, 4, 6, 6, seed=6).to(dtype)).sum()
        return [t.detach().double() for t in (out, *torch.autograd.grad(loss, [x]))]

    assert max(errors(run(torch.float32), run(torch.float64))) < 1e-5


@pytest.mark.parametrize("normalization", ["softmax", "random_walk", "symmetric", "bistochastic"])
def test_rbf_of_far_groups_keeps_the_digits_of_distances(normalization):
    """Two groups 4,000 σ apart: the squares of 1.6e7 leave float32 one digit of distances of 1."""
    block = "nl" if normalization == "softmax" else "snl"

    def run(dtype):
        torch.manual_seed(0)
        net = gnn.create(
            block, 3, kernel="rbf", normalization=normalization, norm="none", zero_init=False
        ).to(dtype)
        x = torch.round(64 * draw(1, 3, 24, seed=7)).to(dtype) / 64
        x[..., :12] += 4096
        x.requires_grad_()
        out = net(x)
        w = draw(1, 3, 24, seed=8).to(dtype)
        return [t.detach().double() for t in (out - x, *torch.autograd.grad((out * w).sum(), x))]

    got, wanted = run(torch.float32), run(torch.float64)
    out_error = float((got[0] - wanted[0]).abs().max())
    assert out_error < 4096 * 4e-7  # the signal itself is rounded
    assert errors(got[1:], wanted[1:])[0] < 1e-4  # so is its product with the weights' gradient


@pytest.mark.parametrize("f", [softmax_attention, joint_attention])
def test_large_scores_under_transforms_and_compilation(f):
    q, k, v = (draw(3, 2, 40, 4, seed=i, size=30.0) for i in (1, 2, 3))
    normalization = "softmax" if f is softmax_attention else "random_walk"
    w = torch.ones(())
    wanted = values(lambda *t: dense(*t, normalization), [x.double() for x in (q, k, v)], w)[1:]

    def gradients(*t):
        return torch.func.grad(lambda *t: f(*t).sum(), argnums=(0, 1, 2))(*t)

    # The sum over outputs cancels in v only, so compare with the size of the gradients.
    for got in (gradients(q, k, v), torch.vmap(gradients)(q, k, v)):
        assert max(errors([x.double() for x in got], wanted)) < 1e-6
    torch.compiler.reset()
    run = torch.compile(f, fullgraph=True, backend="aot_eager")
    assert max(errors(values(run, [q, k, v], w)[1:], wanted)) < 1e-6
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = values(f, [q, k, v], w)[1:]
    assert max(errors(got, wanted)) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_at_large_scores(dtype):
    """Points of half precision are exact in float64; only results are rounded."""
    leaves = [draw(1, 50, 4, seed=i, size=s).to(dtype) for i, s in ((1, 30.0), (2, 30.0), (3, 1.0))]
    w = draw(1, 50, 4, seed=4)
    wanted = values(lambda *t: dense(*t, "softmax"), [x.double() for x in leaves], w.to(dtype))
    got = values(softmax_attention, leaves, w)
    assert max(errors(got, wanted)) < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [100.0, 1000.0])
def test_balanced_exponentials_whose_rows_underflow_are_refused(size, dtype):
    """Rows that underflow to 0 would pass for isolated positions, which keep their signal."""
    options = {"kernel": "embedded_gaussian", "normalization": "bistochastic", "norm": "none"}
    torch.manual_seed(0)
    block = gnn.create("snl", 8, **options).to(dtype)
    x = draw(1, 8, 6, 6, seed=1, size=size).to(dtype)
    with pytest.raises(DegreeError, match="EmbeddedGaussian kernel span more than"):
        block(x)
    small = block(x / size)
    assert bool(torch.isfinite(small).all())


def test_balanced_rbf_of_far_positions_is_the_identity():
    """Positions 1,000 σ apart: W = I to any rounding, and no row underflows."""
    torch.manual_seed(0)
    options = {"kernel": "rbf", "normalization": "bistochastic", "norm": "none"}
    block = gnn.create("nl", 3, zero_init=False, **options)
    x = 1000 * torch.arange(12.0).reshape(1, 1, 12).expand(1, 3, 12)
    stage = block.stages[0]
    wanted = x + stage.w.weight @ (stage.g.weight @ x)
    assert torch.allclose(block(x), wanted, rtol=1e-5)


def test_compiled_symmetric_attention_warns_of_lost_digits():
    torch.compiler.reset()
    v = draw(1, 20, 2, seed=3)

    def apply(x):
        return attention(x, 0.5 * x, "symmetric", False).apply(v)

    run = torch.compile(apply, fullgraph=True, backend="aot_eager")
    x = draw(1, 20, 4, seed=1).requires_grad_()
    wanted = torch.autograd.grad(apply(x).square().sum(), x)[0]
    (found,) = torch.autograd.grad(run(x).square().sum(), x)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-5)
    with pytest.warns(UserWarning, match="so weights lose digits"):
        run(30 * x)
