"""Hooks on a block: values stay unmodified, and full backward hooks work."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import NAMES, OWN
from torch import nn

from gspnl import nn as gnn


@pytest.mark.parametrize("name", NAMES)
def test_tensors_seen_by_a_hook_are_not_modified(name):
    block = gnn.create(name, 8, zero_init=False, **OWN.get(name, {})).eval()
    kept = []

    def keep(module, args, output):
        if isinstance(output, torch.Tensor):
            kept.append((output, output.clone()))

    for module in block.modules():
        module.register_forward_hook(keep)
    x = torch.randn(2, 8, 4, 5)
    before = x.clone()
    block(x)
    assert len(kept) >= 3  # the norm, the unit, the block
    assert all(torch.equal(now, then) for now, then in kept)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_full_backward_hooks_are_called(name):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), gnn.create(name, 8, **OWN.get(name, {})))
    seen = []
    for module in net.modules():
        # Of a module that is called with a tensor and gives one; the others have no gradient.
        if isinstance(module, (nn.Conv2d, nn.BatchNorm1d, gnn.Block)):
            module.register_full_backward_hook(lambda m, *_: seen.append(type(m)))
    net(torch.randn(2, 3, 8, 8, requires_grad=True)).sum().backward()
    assert nn.BatchNorm1d in seen
    assert nn.Conv2d in seen
