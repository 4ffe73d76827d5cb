"""Large batches are worked on in parts: the same numbers as all at once."""

from __future__ import annotations

import pytest
import torch

from gspnl import nn as gnn
from gspnl.nn import embed


@pytest.mark.parametrize("options", [{}, {"normalization": "bistochastic"}, {"kernel": "cosine"}])
@pytest.mark.parametrize("name", ["nl", "snl", "chebyshev", "spectral"])
def test_parts_of_a_batch(name, options, monkeypatch):
    torch.manual_seed(0)
    kernel = {"kernel": "dot", "normalization": "random_walk"}
    block = gnn.create(name, 8, units=2, zero_init=False, **kernel | options).double()
    x = torch.randn(5, 8, 3, 4, dtype=torch.float64, requires_grad=True)
    leaves = [x, *block.parameters()]
    found, seen = [], []
    block.affinity.register_forward_hook(lambda m, a, operator: seen.append(type(operator)))
    for size in (1 << 40, 2 * 12 * 8 * 8):  # all five; two, two and one
        monkeypatch.setattr(embed, "AT_ONCE", size)
        y = block(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    assert embed.Batched not in seen[:1]
    assert seen[1] is embed.Batched
    for whole, parts in zip(*found, strict=True):
        assert (whole - parts).abs().max() < 1e-11 * whole.abs().max()
