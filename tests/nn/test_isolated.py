"""Isolated positions and all-zero maps: A_ii = 1 and finite gradients."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import (
    ATTENDING,
    CHANNELS,
    KERNELS,
    PLAIN,
    SYMMETRIC,
    allowed,
    close,
    compare,
    formula,
    make,
    settings,
    signal,
    state,
)

from gspnl import nn as gnn


def isolated(name, x, dead, **options):
    """The block at an isolated position: A_ii = 1, so A Z = Z there, here the bias of g."""
    options = {"kernel": "dot", "bias": True, "norm": "none"} | options
    block = make(name, **options)
    with torch.no_grad():  # below zero, clear of the kink of relu, where slopes are a convention
        for part in (block.affinity.phi, block.affinity.psi):
            part.bias.fill_(-0.01 if options["feature_map"] == "relu" else 0.0)
    compare(name, x, True, block=block, **options)
    Z = block.stages[0].g.bias.detach()
    Y = (block(x) - x).detach()[0].flatten(1)[:, dead]
    return Y, Z, block.stages[0]


@pytest.mark.parametrize("normalization", [*SYMMETRIC, "softmax"])
def test_isolated_position_keeps_its_signal(normalization):
    options = {"feature_map": "relu", "normalization": normalization}
    x = signal()
    if normalization == "bistochastic":  # relu left weights without full support
        options["feature_map"] = "square"
    x[0, :, 1, 2] = 0
    Y, Z, stage = isolated("nl", x, 6, **options)
    close(Y, stage.w.weight @ Z + stage.w.bias)
    Y, Z, stage = isolated("ns", x, 6, **options)
    close(Y, stage.w.bias, floor=1e-14)  # λ = 0
    Y, Z, stage = isolated("snl", x, 6, **options)
    close(Y, stage.w_1.weight @ Z + stage.w_2.weight @ Z + total_bias(stage))
    Y, Z, stage = isolated("gsnl", x, 6, **options)
    sums = stage.w_1.weight + stage.w_2.weight + stage.w_3.weight
    close(Y, sums @ Z + total_bias(stage))
    if normalization != "softmax":
        Y, Z, stage = isolated("chebyshev", x, 6, **options)  # T_k(−1) = (−1)^k
        sums = sum((-1) ** k * getattr(stage, f"w_{k}").weight for k in range(4))
        close(Y, sums @ Z + total_bias(stage))
        Y, Z, stage = isolated("spectral", x, 6, **options)  # exp(−τ 0)
        close(Y, (stage.w_0.weight + stage.w_1.weight) @ Z + total_bias(stage))


@pytest.mark.parametrize("storage", ["dense", "lowrank"])
@pytest.mark.parametrize("normalization", [*SYMMETRIC, "softmax"])
def test_isolated_zero_drops_the_signal(normalization, storage):
    """isolated="zero": the convention of graphs without self-loops."""
    x = signal()
    x[0, :, 1, 2] = 0
    options = {"normalization": normalization, "isolated": "zero", "storage": storage}
    options["feature_map"] = "square" if normalization == "bistochastic" else "relu"
    Y, _, stage = isolated("nl", x, 6, **options)
    close(Y, stage.w.bias)
    Y, Z, stage = isolated("snl", x, 6, **options)
    close(Y, stage.w_1.weight @ Z + total_bias(stage))


def total_bias(stage):
    return sum(v for k, v in stage.state_dict().items() if k.startswith("w_") and "bias" in k)


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "none"])
@pytest.mark.parametrize("name", ATTENDING)
def test_all_zero_map_is_finite(name, norm):
    """Every node isolated: finite outputs and gradients, in training and after it."""
    block = make(name, norm=norm)
    for training in (True, False):
        block.train(training)
        x = torch.zeros(2, CHANNELS, 3, 4, dtype=torch.float64, requires_grad=True)
        y = block(x)
        assert torch.isfinite(y).all()
        y.sum().backward()
        assert torch.isfinite(x.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in block.parameters())
        close(y.detach(), formula(name, state(block), x, training, norm=norm).detach(), 1e-300)


@pytest.mark.parametrize(
    ("kernel", "normalization"),
    [
        (kernel, normalization)
        for kernel in KERNELS
        for normalization in SYMMETRIC + PLAIN
        # Without positive biases the concatenation kernel has no bistochastic scales.
        if allowed(kernel, normalization) and not settings(kernel, normalization)[1].get("bias")
    ],
)
def test_zero_nodes_have_finite_gradients(kernel, normalization):
    """One zero position, then all zeros, under every valid kernel and normalisation."""
    for dead in ((0, slice(None), 1, 2), ()):
        x, options = settings(kernel, normalization)
        x[dead] = 0
        x.requires_grad_()
        for name in ("nl", "snl"):
            block = make(name, norm="layer", **options)
            y = block(x)
            grads = torch.autograd.grad(y.sum() + (y**2).sum(), [x, *block.parameters()])
            assert all(torch.isfinite(t).all() for t in (y, *grads))


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
@pytest.mark.parametrize("name", ["nl", "snl", "gsnl", "chebyshev", "spectral"])
@pytest.mark.parametrize("size", [1e-40, 1e-36, 1e-20, 1e-10])
def test_degrees_near_zero_are_finite(name, normalization, size):
    """In float32 1/d² overflows below d = 1e-19: such positions are isolated, nothing is NaN."""
    for chosen in ((0, slice(None), 1, 2), (0,)):
        x = torch.randn(2, 8, 4, 5, generator=torch.Generator().manual_seed(1))
        x[chosen] *= size
        x.requires_grad_()
        block = gnn.create(name, 8, kernel="dot", normalization=normalization, zero_init=False)
        y = block(x)
        y.square().sum().backward()
        tensors = [y, x.grad, *(p.grad for p in block.parameters())]
        assert all(torch.isfinite(t).all() for t in tensors)
        new = gnn.create(name, 8, kernel="dot", normalization=normalization)
        assert torch.equal(new(x), x)
