"""Exponential kernels whose degrees exceed the range of their dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import gspnl
from gspnl import nn as gnn
from gspnl.errors import InputError


def block(name, channels, dtype, **options):
    torch.manual_seed(0)
    return gnn.create(name, channels, zero_init=False, norm="none", **options).to(dtype)


def feature_maps():
    """One bright position on black; sharp features; a few bright ones on a dark background."""
    draw = torch.Generator().manual_seed(0)
    bright = torch.zeros(1, 256, 196)
    bright[..., 0] = 2
    dark = 0.1 * torch.randn(1, 4, 8, generator=draw)
    dark[0, 0, :4] = 11
    return [bright, torch.randn(1, 16, 40, generator=draw) * 4, dark]


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic", "softmax"])
def test_float32_approximates_float64(which, normalization):
    x = feature_maps()[which]
    options = {"kernel": "gaussian", "normalization": normalization}
    if normalization == "bistochastic" and which == 1:
        pytest.skip("no balance within 2000 steps, and an error says so")
    found = []
    for dtype in (torch.float32, torch.float64):
        z = x.to(dtype, copy=True).requires_grad_()
        y = block("snl", x.shape[1], dtype, **options)(z)
        y.square().sum().backward()
        found.append((y.detach().double(), z.grad.double()))
    for narrow, wide in zip(*found, strict=True):
        assert torch.isfinite(narrow).all()
        # scores of some hundreds are rounded by 1e-5, and exponentials follow
        assert (narrow - wide).abs().max() < 1e-3 * wide.abs().max()


def test_kernels_with_their_own_embedding_raise():
    @dataclass(frozen=True)
    class Own(gspnl.Kernel):
        embedding: ClassVar[str] = "matrices"

        def embed(self, X, weights):
            return X, X

    with pytest.raises(InputError, match="embeds in its own way"):
        gnn.create("snl", 8, kernel=Own())


def test_normalizations_registered_in_the_core_only_raise():
    from gspnl.affinity.normalization import NORMALIZATIONS

    NORMALIZATIONS.register("quarter")(NORMALIZATIONS["symmetric"])
    try:
        with pytest.raises(InputError, match="unknown normalization 'quarter'"):
            gnn.create("snl", 8, normalization="quarter")
    finally:
        NORMALIZATIONS.unregister("quarter")


def test_degrees_of_symmetric_attention_are_computed_once(monkeypatch):
    from gspnl.nn import attention

    calls = []
    whole = attention.joint_attention
    monkeypatch.setattr(
        attention, "joint_attention", lambda *a, **k: (calls.append(1), whole(*a, **k))[1]
    )
    kernel = {"kernel": "embedded_gaussian", "normalization": "symmetric"}
    gnn.create("chebyshev", 8, order=6, **kernel)(torch.randn(1, 8, 9))
    assert len(calls) == 7
