"""Fused attention: dense formula in float64, gradients, memory, tracing, half precision."""

from __future__ import annotations

import contextlib
import math
import re

import pytest
import torch
from torch.profiler import profile

from gspnl.errors import InputError
from gspnl.nn.attention import flash, symmetric
from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.attention.symmetric import joint_attention, stacked_attention, stacked_log_degrees

LOG_2 = math.log(2)


def dense_softmax(q, k, v):
    return torch.softmax(q @ k.mT, dim=-1) @ v


def dense_joint(q, k, v):
    """(A v, log d) of W = ½(E + Eᵀ), through logarithms: any range."""
    s = q @ k.mT
    logs = torch.logaddexp(s, s.mT) - LOG_2
    d = torch.logsumexp(logs, dim=-1)
    return torch.exp(logs - d[..., None]) @ v, d


def joint_pair(q, k, v):
    return joint_attention(q, k, v, log_degrees=True)


def stacked_pair(q, k, v):
    return stacked_attention(q, k, v), stacked_log_degrees(q, k)


def listed(out):
    return out if isinstance(out, tuple) else (out,)


EVERY = [joint_attention, joint_pair, stacked_attention, stacked_pair, softmax_attention]


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def points(n=37, r=5, c=3, lead=(), m=None, dtype=torch.float64, scale=1.0):
    q, k = draw(*lead, n, r, seed=1, dtype=dtype), draw(*lead, m or n, r, seed=2, dtype=dtype)
    return [
        x.requires_grad_() for x in (q * scale, k * scale, draw(*lead, m or n, c, seed=3).to(dtype))
    ]


def results(f, leaves, weights=(1.0, 1.0), region=None):
    """Outputs of f, then the gradients of a fixed random functional of them."""
    with region or contextlib.nullcontext():
        out = listed(f(*leaves))
    loss = 0.0
    for i, (o, w) in enumerate(zip(out, weights, strict=False)):
        if w:
            loss = loss + w * (o * draw(*o.shape, seed=10 + i).to(o.dtype)).sum()
    grads = torch.autograd.grad(loss, leaves)
    return [o.detach() for o in out] + list(grads)


def gap(got, wanted):
    """The largest difference, relative to the largest expected entry (at least 1)."""
    assert len(got) == len(wanted)
    worst = 0.0
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert torch.isfinite(a).all()
        worst = max(worst, float((a.double() - b).abs().max() / max(1.0, float(b.abs().max()))))
    return worst


SHAPES = [
    {"n": 1},
    {"n": 2, "r": 1, "c": 1},
    {"n": 37, "r": 5, "c": 3, "lead": (2,)},
    {"n": 130, "r": 3, "c": 8},  # values wider than points
    {"n": 600, "r": 4, "c": 4, "lead": (2, 1)},  # blocks of rows of 256 and a rest
    {"n": 65, "r": 7, "c": 7, "lead": (2, 3, 1)},
    {"n": 33, "lead": (0,)},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pair", [joint_pair, stacked_pair])
def test_symmetrised_attention_equals_the_dense_formula(pair, shape):
    if shape.get("lead") == (0,):
        out, logs = pair(*points(**shape))
        assert out.shape == (0, 33, 3)
        assert logs.shape == (0, 33)
        return
    leaves = points(**shape)
    wanted = results(dense_joint, leaves)
    assert gap(results(pair, leaves), wanted) < 1e-13  # sums of N terms in float64
    for weights in ((1.0, 0.0), (0.0, 1.0)):  # a gradient through one output only
        if weights[0] == 0:  # v is then not in the graph of a dense formula
            leaves = [*leaves[:2], leaves[2].detach()]
            got = results(lambda q, k: pair(q, k, leaves[2]), leaves[:2], weights)  # noqa: B023
            dense = results(lambda q, k: dense_joint(q, k, leaves[2]), leaves[:2], weights)  # noqa: B023
        else:
            got, dense = results(pair, leaves, weights), results(dense_joint, leaves, weights)
        assert gap(got, dense) < 1e-13
    only = results(joint_attention, leaves := points(**shape))
    assert gap(only, results(lambda *t: dense_joint(*t)[0], leaves)) < 1e-13


@pytest.mark.parametrize(
    "shape", [*SHAPES[:-1], {"n": 70, "m": 18, "lead": (2,)}, {"n": 5, "m": 1}], ids=str
)
def test_softmax_attention_equals_the_dense_formula(shape):
    leaves = points(**shape)
    assert gap(results(softmax_attention, leaves), results(dense_softmax, leaves)) < 1e-13


def test_empty_batch():
    assert softmax_attention(*points(lead=(0, 2))).shape == (0, 2, 37, 3)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kernel", ["gaussian", "rbf"])
def test_symmetric_scores_take_one_pass_and_equal_the_formula(kernel, fused, monkeypatch):
    """E = Eᵀ: one pass. The rbf has two sets of columns for one set of points."""
    if not fused:
        monkeypatch.setattr(flash, "FORWARD", None)
    x, _, v = points(n=90, r=4, c=3)
    calls = []
    monkeypatch.setattr(symmetric, "stacked_attention", lambda *t: calls.append(t))

    def attend(x, v):
        if kernel == "gaussian":
            return joint_attention(x, x, v, log_degrees=True)
        half, one = (x * x).sum(-1, keepdim=True) / -2, torch.ones_like(x[:, :1])
        q, k = torch.cat([x, half, one], -1), torch.cat([x, one, half], -1)
        return joint_attention(q, k, v, log_degrees=True, symmetric=True)

    def dense(x, v):
        s = x @ x.T if kernel == "gaussian" else -((x[:, None] - x) ** 2).sum(-1) / 2
        return torch.softmax(s, -1) @ v, torch.logsumexp(s, -1)

    assert gap(results(attend, [x, v]), results(dense, [x, v])) < 1e-13
    assert not calls
    only = results(lambda x, v: joint_attention(x, x, v), [x, v])
    if kernel == "gaussian":
        assert gap(only, results(lambda x, v: dense(x, v)[0], [x, v])) < 1e-13


def test_symmetric_scores_call_the_kernel_once(monkeypatch):
    calls = []
    run = flash.FORWARD
    monkeypatch.setattr(flash, "FORWARD", lambda *t, **o: (calls.append(1), run(*t, **o))[1])
    q, k, v = points()
    joint_attention(q, q, v, log_degrees=True)
    assert len(calls) == 1
    joint_attention(q, k, v, log_degrees=True)
    assert len(calls) == 3


@pytest.mark.parametrize("pair", [joint_pair, stacked_pair, softmax_attention])
def test_gradcheck(pair):
    assert torch.autograd.gradcheck(pair, points(n=6, r=3, c=2, lead=(2,)))
    assert torch.autograd.gradcheck(pair, points(n=4, r=1, c=3))


@pytest.mark.parametrize("f", [joint_attention, joint_pair, softmax_attention])
def test_second_derivatives_raise(f):
    q, k, v = points()
    out = listed(f(q, k, v))[0]
    (grad,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    for leaf in (q, k, v):
        with pytest.raises(RuntimeError, match="_backward is not implemented"):
            torch.autograd.grad(grad.square().sum(), leaf, allow_unused=True, retain_graph=True)
    with pytest.raises(RuntimeError, match="_backward is not implemented"):
        grad.square().sum().backward()


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("f", [joint_attention, stacked_attention, softmax_attention])
def test_strided_points(f, width):
    """Channels-first views, rows of a larger matrix, expanded points: the same result."""
    base = [draw(2, width, 40, seed=i) for i in range(3)]
    wanted = f(*(x.mT.contiguous() for x in base))
    assert torch.equal(f(*(x.mT for x in base)), wanted)
    joined = torch.cat([x.mT for x in base], -1)
    assert torch.equal(f(*joined.split(width, -1)), wanted)
    one = [x[0].mT.expand(3, 40, width).requires_grad_() for x in base]
    assert torch.allclose(f(*one)[2], wanted[0], rtol=0, atol=1e-14)
    f(*one).sum().backward()  # an expanded gradient


@pytest.mark.parametrize("f", EVERY)
@pytest.mark.parametrize(("width", "channels"), [(8, 8), (1, 1), (3, 16), (16, 3)])
def test_memory_is_linear(f, width, channels):
    """All allocations, inside the operators too, against one N × N matrix.

    On one thread: the fused kernel takes a block of 1 MiB for each.
    """
    n, threads = 2048, torch.get_num_threads()
    torch.set_num_threads(1)
    leaves = [
        draw(1, c, n, seed=c, dtype=torch.float32).requires_grad_() for c in (width, channels)
    ]
    stacked_chunk, symmetric.CHUNK = symmetric.CHUNK, n * 64
    try:
        with profile(profile_memory=True) as run:
            out = f(leaves[0].mT, leaves[0].mT * 0.5, leaves[1].mT)
            sum(o.sum() for o in listed(out)).backward()
    finally:
        symmetric.CHUNK = stacked_chunk
        torch.set_num_threads(threads)
    events = run.profiler.kineto_results.events()
    sizes = [e.nbytes() for e in events if e.name() == "[memory]"]
    held = peak = 0
    for size in sizes:
        held += size
        peak = max(peak, held)
    assert leaves[0].grad is not None
    assert max(sizes) > n * 4  # the profiler sees something
    assert max(sizes) < n * n * 4 / 8
    assert peak < n * n * 4 / 3


@pytest.mark.parametrize("pair", [joint_pair, stacked_pair])
@pytest.mark.parametrize("size", [1e3, 1e4])
@pytest.mark.parametrize(
    ("dtype", "digits"), [(torch.float64, 2.0**-53), (torch.float32, 2.0**-24)]
)
def test_large_scores_keep_their_relative_precision(pair, size, dtype, digits):
    """A score s is rounded by a few |s| ε, and that is the relative error of its weight."""
    leaves = points(n=300, r=6, c=4, dtype=dtype, scale=math.sqrt(size / 6))
    wide = [x.detach().double().requires_grad_() for x in leaves]
    s = wide[0] @ wide[1].mT
    assert s.abs().max() > size
    reach = float((wide[0].abs() @ wide[1].abs().mT).detach().max())
    assert gap(results(pair, leaves), results(dense_joint, wide)) < 8 * digits * reach
    if pair is joint_pair:
        got, wanted = results(softmax_attention, leaves), results(dense_softmax, wide)
        assert gap(got, wanted) < 8 * digits * reach


@pytest.mark.parametrize("size", [1.0, 1e3, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pair", [joint_pair, stacked_pair, softmax_attention])
def test_half_precision(pair, dtype, size):
    """Scores are float32 sums of exact products; weights, values and outputs are rounded."""
    leaves = points(n=300, r=6, c=4, dtype=dtype, scale=math.sqrt(size / 6))
    wide = [x.detach().double().requires_grad_() for x in leaves]
    got = results(pair, leaves)
    assert got[0].dtype == dtype
    dense = dense_softmax if pair is softmax_attention else dense_joint
    wanted = results(dense, wide)
    tolerance = 8 * torch.finfo(dtype).eps + 8 * 2.0**-24 * 10 * size
    assert gap(got[:1], wanted[:1]) < tolerance
    assert gap(got, wanted) < 4 * tolerance
    if pair is not softmax_attention:
        assert got[1].dtype == torch.float32
        assert (got[1] - wanted[1]).abs().max() < 1e-6 * size + 3e-5


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_round_scores(dtype, compiled):
    """Float32 points stay float32; maps under autocast mix half precision and float32."""
    leaves = points(n=80, r=6, c=4, dtype=torch.float32, scale=math.sqrt(1e3 / 6))
    for f in (joint_pair, softmax_attention) if compiled else EVERY:
        run = torch.compile(f, fullgraph=True, backend="aot_eager") if compiled else f
        wanted = results(f, leaves)
        got = results(run, leaves, region=torch.autocast("cpu", dtype=dtype))
        assert got[0].dtype == torch.float32
        q, k, v = (x.detach() for x in leaves)
        with torch.autocast("cpu", dtype=dtype):
            mixed = run(q.to(dtype), k, v.to(dtype))
        assert gap(got, [x.double() for x in wanted]) < 1e-4
        rounded = f(q.to(dtype).float(), k, v.to(dtype).float())
        for a, b in zip(
            *((x if isinstance(x, tuple) else (x,)) for x in (mixed, rounded)), strict=True
        ):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-4)


class Attention(torch.nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, q, k, v):
        return self.f(q, k, v)


@pytest.mark.parametrize("f", [joint_attention, joint_pair, softmax_attention, stacked_pair])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compile(f, dynamic):
    torch.compiler.reset()
    leaves = points(n=50, r=5, c=3, lead=(2,))
    run = torch.compile(f, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    assert gap(results(run, leaves), results(f, leaves)) < 1e-13
    if dynamic:
        leaves = points(n=61, r=5, c=3, lead=(3,))
        assert gap(results(run, leaves), results(f, leaves)) < 1e-13


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor's own imports
def test_compile_by_the_default_backend():
    torch.compiler.reset()
    leaves = points(n=50, r=5, c=3, lead=(2,))
    run = torch.compile(joint_pair, fullgraph=True)
    assert gap(results(run, leaves), results(joint_pair, leaves)) < 1e-13


@pytest.mark.parametrize("f", [joint_attention, softmax_attention])
def test_function_transforms(f):
    leaves = points(lead=(2,))

    def loss(q, k, v):
        return f(q, k, v).sin().sum()

    got = torch.func.grad(loss, argnums=(0, 1, 2))(*(x.detach() for x in leaves))
    assert gap(got, torch.autograd.grad(loss(*leaves), leaves)) < 1e-14


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("f", [joint_attention, joint_pair, softmax_attention])
def test_export(f, strict):
    nodes, batch = torch.export.Dim("nodes", min=2), torch.export.Dim("batch", min=2)
    shape = {0: batch, 1: nodes}
    leaves = [x.detach() for x in points(n=50, lead=(2,))]
    program = torch.export.export(
        Attention(f),
        tuple(leaves),
        dynamic_shapes=({"q": shape, "k": shape, "v": shape}),
        strict=strict,
    )
    assert not {"flash", "gspnl"} & set(
        re.findall(r"[a-z]+", program.graph_module.code)
    )  # public operators only
    for n, b in ((50, 2), (77, 3)):
        leaves = [x.detach() for x in points(n=n, lead=(b,))]
        got, wanted = program.module()(*leaves), f(*leaves)
        for x, y in zip(
            *((t if isinstance(t, tuple) else (t,)) for t in (got, wanted)), strict=True
        ):
            assert torch.allclose(x, y, rtol=0, atol=1e-13)


def test_stacked_form_without_private_operators(monkeypatch):
    leaves = points(lead=(2,))
    wanted = results(dense_joint, leaves)
    monkeypatch.setattr(flash, "BACKWARD", None)
    calls = []
    monkeypatch.setattr(
        symmetric, "stacked_attention", lambda *t: (calls.append(t), stacked_attention(*t))[1]
    )
    assert gap(results(joint_pair, leaves), wanted) < 1e-13
    assert len(calls) == 1
    out, logs = joint_attention(*(x.detach().to("meta") for x in leaves), log_degrees=True)
    assert out.shape == (2, 37, 3)
    assert logs.shape == (2, 37)


@pytest.mark.parametrize("chunk", [1, 1000, 2**22])
def test_log_degrees_in_chunks(chunk, monkeypatch):
    monkeypatch.setattr(symmetric, "CHUNK", chunk)
    leaves = points(lead=(2,))
    assert gap(results(stacked_pair, leaves), results(dense_joint, leaves)) < 1e-13


def test_without_gradients():
    leaves = [x.detach() for x in points()]
    with torch.inference_mode():
        out, logs = joint_attention(*leaves, log_degrees=True)
    wanted = dense_joint(*leaves)
    assert gap([out, logs], wanted) < 1e-13


@pytest.mark.parametrize("f", [joint_attention, softmax_attention])
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((5, 3), (5, 4), (5, 2)), "same width"),
        (((5, 3), (5, 3), (4, 2)), "same number of nodes"),
        (((2, 5, 3), (5, 3), (5, 2)), "leading dimensions"),
        (((3,), (5, 3), (5, 2)), r"q has shape \(3,\)"),
        (((0, 3), (0, 3), (0, 2)), "no node"),
        (((5, 0), (5, 0), (5, 2)), "no node, no width"),
        (((5, 3), (5, 3), (5, 0)), "no channel"),
    ],
)
def test_bad_shapes(f, shapes, words):
    with pytest.raises(InputError, match=words):
        f(*(torch.zeros(s) for s in shapes))


@pytest.mark.parametrize("f", [joint_attention, softmax_attention])
def test_bad_tensors(f):
    x = torch.zeros(5, 3)
    with pytest.raises(InputError, match="k has dtype"):
        f(x, x.long(), x)
    with pytest.raises(InputError, match="v must be a torch tensor, not ndarray"):
        f(x, x, x.numpy())
    with pytest.raises(InputError, match="k is on meta and q on cpu"):
        f(x, x.to("meta"), x)
    with pytest.raises(InputError, match="q has 5 nodes and k 4"):
        joint_attention(x, x[:4], x[:4])
