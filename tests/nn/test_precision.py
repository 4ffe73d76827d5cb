"""Half precision: autocast, and blocks in half precision throughout.

What is rounded are the projections (inputs of the affinity, and Z), and the output; the affinity,
its degrees, the series and the norm are float32. So F is off by the rounding of its inputs:
measured, 0.2 to 0.5 eps of its root mean square, and 1 eps is the tolerance. It holds for every
block at features of size 1, and at any size for the blocks whose A does not change when the
features grow. Softmax attention does: its scores grow with the square of the features, and are off
by eps times their size, so near-ties change hands. There F was off by 0.03 (float16) and 0.13
(bfloat16) of its size at features of 100 and 10,000; a quarter is the tolerance.
"""

from __future__ import annotations

import re
from copy import deepcopy
from itertools import product

import pytest
import torch
from support.nn_cases import NAMES, OWN, noise

from gspnl import nn as gnn
from gspnl.errors import InputError

DTYPES = (torch.float16, torch.bfloat16)
SIZES = (1.0, 1e2, 1e4)  # at 1e4 randn reaches 4.5e4, and float16 ends at 6.5e4
SHARPENING = ("nl", "ns", "a2", "cc")  # scores under a softmax
SATURATED = 0.25
CHANNELS, SIDE = 16, 32


def close_to(dtype, name, size):
    eps = torch.finfo(dtype).eps
    return SATURATED if name in SHARPENING and size > 1 else eps


def case(name, dtype, size, **options):
    """A block and features that the half type holds exactly, and the gradient of the output."""
    torch.manual_seed(0)
    block = gnn.create(name, CHANNELS, zero_init=False, **OWN.get(name, {}), **options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(parameter.to(dtype))
    x = noise(2, CHANNELS, SIDE, SIDE, dtype=torch.float32, scale=size).to(dtype).float()
    return block, x, noise(*x.shape, seed=1, dtype=torch.float32).to(dtype).float()


def run(block, x, weight, autocast=None):
    """Output and gradients; backward outside of autocast, as torch asks for."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        y = block(x)
    (y.float() * weight).sum().backward()
    return y.detach(), [x.grad, *(p.grad for p in block.parameters())]


def autocast(block, x, weight, dtype):
    return run(deepcopy(block), x, weight, dtype)


def halved(block, x, weight, dtype):
    return run(deepcopy(block).to(dtype), x.to(dtype), weight)


def rms(t):
    return t.double().square().mean().sqrt().item()


def off(actual, expected):
    return rms(actual.double() - expected) / rms(expected)


@pytest.mark.parametrize(("dtype", "size"), list(product(DTYPES, SIZES)))
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_approximates_float32(name, dtype, size):
    block, x, weight = case(name, dtype, size)
    y, truths = run(deepcopy(block), x, weight)
    limit = close_to(dtype, name, size)
    out, grads = autocast(block, x, weight, dtype)
    assert off(out - x, y - x) <= limit  # F: the sum with x is in float32
    whole, others = halved(block, x, weight, dtype)
    assert whole.dtype == dtype
    # The output is rounded too, and F is at most as large as X + F here up to a factor of 2.
    assert off(whole, y) <= 2 * limit
    for found in (grads, others):
        assert all(torch.isfinite(g).all() for g in (out, whole, *found))
    if name not in SHARPENING or size == 1:
        # 0.5 eps, but for weights whose gradient is a small difference of large sums: 8 eps.
        for g, h, truth in zip(grads, others, truths, strict=True):
            assert max(off(g, truth), off(h, truth)) <= 16 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_inference_with_statistics_beyond_half_precision(name, dtype):
    """Variances of F reach 1e30, in blocks of inputs and outputs of 1e4: norms stay wide."""
    block, x, _ = case(name, dtype, 1e4)
    block.stages[0].norm.momentum = 1.0
    with torch.no_grad():
        block.train()(x)
        y = block.eval()(x)
        half = block.to(dtype)(x.to(dtype))
    assert half.dtype == dtype
    assert block.stages[0].norm.running_var.dtype == torch.float32
    assert off(half, y) <= torch.finfo(dtype).eps


def test_degrees_exceed_float16():
    """Degrees of these tests would overflow in the dtype of the features."""
    block, x, _ = case("snl", torch.float16, 1e2)
    X = x.flatten(2).mT
    phi, psi = (torch.relu(X @ getattr(block.affinity, k).weight.mT) for k in ("phi", "psi"))
    degrees = (phi * psi.sum(-2, keepdim=True) + psi * phi.sum(-2, keepdim=True)).sum(-1) / 2
    assert (degrees > torch.finfo(torch.float16).max).float().mean() > 0.99


@pytest.mark.parametrize("norm", ["group", "layer", "none"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_norms_approximate_float32(norm, dtype):
    block, x, weight = case("gsnl", dtype, 1e2, norm=norm, activation="relu", bias=True, units=2)
    y, _ = run(deepcopy(block), x, weight)
    for mode in (autocast, halved):
        out, grads = mode(block, x, weight, dtype)
        assert off(out, y) <= 2 * torch.finfo(dtype).eps  # two units
        assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize(
    "options",
    [
        *({"kernel": kernel} for kernel in ("cosine", "rbf", "embedded_gaussian", "concatenation")),
        {"normalization": "symmetric"},
        {"normalization": "bistochastic"},
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_affinities_approximate_float32(options, dtype):
    block, x, weight = case("snl", dtype, 1.0, **options)
    x, weight = x[..., :12, :12], weight[..., :12, :12]
    y, _ = run(deepcopy(block), x, weight)
    for mode in (autocast, halved):
        out, grads = mode(block, x, weight, dtype)
        assert off(out, y) <= torch.finfo(dtype).eps
        assert all(torch.isfinite(g).all() for g in grads)


def test_norms_are_converted_to_wider_dtypes():
    block = gnn.create("snl", 6)
    assert {t.dtype for t in block.double().stages[0].norm.parameters()} == {torch.float64}
    assert {t.dtype for t in block.float().stages[0].norm.parameters()} == {torch.float32}
    block.half()
    assert block.stages[0].g.weight.dtype == torch.float16
    assert [name for name, _ in block.stages[0].named_children()] == ["g", "w_1", "w_2", "norm"]
    assert block.float().stages[0].g.weight.dtype == torch.float32
    assert block.to("meta").stages[0].norm.weight.device.type == "meta"


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_values_raise_with_their_number_and_a_fix(dtype):
    block, x, _ = case("snl", dtype, 1.0)
    x = x.to(dtype)
    x[0, 1, 2, 3:5], x[1, 0, 0, 0] = float("inf"), float("nan")
    message = (
        rf"SNL got 3 infinite or NaN values among {x.numel()} .*{re.escape(str(dtype))}.*scale"
    )
    with pytest.raises(InputError, match=message):
        block.to(dtype)(x)
    with torch.autocast("cpu", dtype=dtype), pytest.raises(InputError, match="SNL got 3"):
        block(x)  # the output of a layer before, under autocast


def test_traced_blocks_do_not_check_values():
    """A check of values would break the graph: infinities pass, as through torch's layers."""
    torch.compiler.reset()
    block = gnn.create("snl", 6, zero_init=False).half().eval()
    x = torch.ones(1, 6, 3, 3, dtype=torch.float16)
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    assert off(compiled(x).detach(), block(x).detach()) <= torch.finfo(torch.float16).eps
    x[0, 0, 0, 0] = float("inf")
    assert not torch.isfinite(compiled(x)).all()
