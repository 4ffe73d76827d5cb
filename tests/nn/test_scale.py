"""Blocks on features of any scale: A does not depend on a common factor of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import gspnl
from gspnl import nn as gnn
from gspnl.errors import DegreeError
from gspnl.nn import fast_path

KERNELS = [
    {"kernel": "dot", "feature_map": "relu"},
    {"kernel": "dot", "feature_map": "square"},
    {"kernel": "concatenation"},
]
SCALES = [1e-30, 3e-22, 2e-12, 5e10, 1e19, 4e28]


def block(name, dtype=torch.float32, **options):
    torch.manual_seed(3)
    net = gnn.create(name, 5, inner=4, norm="none", zero_init=False, **options)
    with torch.no_grad():  # away from features that vanish
        for part in (net.affinity.phi, net.affinity.psi):
            part.weight.abs_()
    return net.to(dtype)


def features(scale=1.0, items=2, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return scale * torch.rand(items, 5, 4, 6, generator=draw)


def dense(net, x, options):
    """F of the block's formula with dense weights, in float64, from features divided by scale."""
    X = x.double().flatten(2).mT
    weights = {k: v.detach().double() for k, v in net.state_dict().items()}
    phi, psi = (X @ weights[f"affinity.{p}.weight"].mT for p in ("phi", "psi"))
    if options["kernel"] == "concatenation":
        M = torch.relu(phi + psi.mT)
    else:
        h = torch.relu if options["feature_map"] == "relu" else torch.square
        M = h(phi) @ h(psi).mT
    normalization = options["normalization"]
    W = M if normalization == "softmax" else (M + M.mT) / 2
    if normalization == "bistochastic":
        s = torch.ones_like(W[..., :1])
        for _ in range(5000):
            s = torch.sqrt(s / (W @ s))
        A = s * W * s.mT
    else:
        d = W.sum(-1, keepdim=True)
        A = W / torch.sqrt(d) / torch.sqrt(d).mT if normalization == "symmetric" else W / d
    Z = X @ weights["stages.0.g.weight"].mT
    w1, w2 = (weights[f"stages.0.w_{k}.weight"] for k in (1, 2))
    return (X + Z @ w1.mT + A @ Z @ w2.mT).mT.reshape(x.shape)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic", "softmax"])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.get("feature_map", "concatenation"))
def test_outputs_scale_with_the_features(kernel, normalization, scale):
    options = {**kernel, "normalization": normalization}
    net, x = block("snl", **options), features()
    wanted = dense(net, x, options)
    got = net(x * scale).detach().double() / scale
    assert float((got - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


@pytest.mark.parametrize("storage", ["dense", "lowrank"])
@pytest.mark.parametrize("name", ["nl", "ns", "gsnl", "chebyshev", "spectral"])
def test_storages_and_blocks(name, storage):
    options = {"kernel": "dot", "storage": storage, "normalization": "random_walk"}
    net, x = block(name, **options), features()
    wanted = net(x).detach()
    for scale in (2.0**-80, 2.0**-40, 2.0**50, 2.0**90):
        assert torch.allclose(net(x * scale).detach() / scale, wanted, rtol=1e-5, atol=1e-6)


def test_items_of_a_batch_have_their_own_scales():
    options = {"kernel": "dot", "feature_map": "square", "normalization": "random_walk"}
    net, x = block("snl", **options), features(items=4)
    scales = torch.tensor([1e-25, 1.0, 1e-9, 1e20])[:, None, None, None]
    got = net(x * scales).detach().double() / scales.double()
    wanted = dense(net, x, options)
    assert float((got - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


@pytest.mark.parametrize("scale", [1e-25, 1e-11, 1e15])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.get("feature_map", "concatenation"))
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
def test_gradients_scale_with_the_features(kernel, normalization, scale):
    """For F homogeneous of degree 1 in x, dF/dx at c x is that at x."""
    options = {**kernel, "normalization": normalization}
    x = features()
    w = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    net = block("snl", **options)
    wide = x.double().requires_grad_()
    (wanted,) = torch.autograd.grad((dense(net, wide, options) * w.double()).sum(), wide)
    narrow = (x * scale).requires_grad_()
    (got,) = torch.autograd.grad((net(narrow) * w).sum(), narrow)
    assert float((got.double() - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


@pytest.mark.parametrize("normalization", ["random_walk", "softmax", "symmetric"])
def test_a_dark_position_is_no_isolated_one(normalization):
    """Its features are 1e-24 of the others: its average does not depend on that."""
    options = {"kernel": "dot", "feature_map": "relu", "normalization": normalization}
    net, x = block("snl", **options), features()
    x[0, :, 2, 3] *= 1e-24
    x.requires_grad_()
    out = net(x)
    wanted = dense(net, x.detach(), options)
    assert float((out.detach().double() - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())
    (grad,) = torch.autograd.grad(out.sum(), x)
    wide = x.detach().double().requires_grad_()
    (truth,) = torch.autograd.grad(dense(net, wide, options).sum(), wide)
    error = (grad.double() - truth).abs().amax(1)
    assert float((error / truth.abs().amax(1)).max()) < 1e-3


def test_positions_without_features_stay_on_the_fast_path(monkeypatch):
    calls = []
    whole = fast_path.FastUnit.apply

    def counted(*arguments):
        out = whole(*arguments)
        calls.append(1)
        return out

    monkeypatch.setattr(fast_path.FastUnit, "apply", counted)
    x = features()
    x[:, :, 1, 1] = 0
    block("snl", kernel="dot")(x)
    assert calls == [1]
    block("snl", kernel="dot")(x * 1e-20)
    assert calls == [1]


@pytest.mark.parametrize("name", ["nl", "snl", "chebyshev"])
def test_log_degrees_beyond_float64_are_refused(name):
    """Scores of 1e24, of which float64 knows the first 16 digits, are divided by log-degrees."""
    torch.manual_seed(0)
    options = {"kernel": "gaussian", "normalization": "symmetric"}
    net = gnn.create(name, 5, norm="none", zero_init=False, **options)
    with pytest.raises(DegreeError, match="scale the features down"):
        net(1e12 * (features() - 0.5))


@pytest.mark.parametrize("options", [{}, {"sub_sample": 2}])
@pytest.mark.parametrize("scale", [1e-21, 1e-18, 1e18])
def test_a_users_kernel_without_maps_is_scaled_too(scale, options):
    """f = |x|²|y|² of degree 4: only the size of the features leaves the range."""

    @dataclass(frozen=True)
    class Squares(gspnl.Kernel):
        embedding: ClassVar[str] = "none"
        homogeneous: ClassVar[int] = 2
        nonnegative: ClassVar[bool] = True

        def embed(self, X, weights):
            return X.abs(), X.abs()

        def affinity(self, phi, psi):
            return phi @ psi.mT

    torch.manual_seed(0)
    name, normalization = ("nl", "softmax") if options else ("snl", "random_walk")
    block = gnn.create(
        name, 8, kernel=Squares(), normalization=normalization, norm="none", zero_init=False,
        **options,
    )  # fmt: skip
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        truth = block(x) - x
        found = (block(scale * x) - scale * x) / scale
    assert (found - truth).abs().max() <= 1e-5 * truth.abs().max()


@pytest.mark.parametrize("options", [{}, {"kernel": "cosine"}, {"normalization": "symmetric"}])
def test_blocks_run_under_vmap(options):
    torch.manual_seed(0)
    block = gnn.create("snl", 8, norm="none", zero_init=False, **options)
    x = torch.randn(3, 2, 8, 5, 5)
    with torch.no_grad():
        truth = torch.stack([block(each) for each in x])
        found = torch.vmap(block)(x)
    assert (found - truth).abs().max() <= 1e-5 * truth.abs().max()
