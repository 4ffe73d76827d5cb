"""New blocks are the identity and have gradients; inner widths matched by parameters."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import CHANNELS, NAMES, OWN, noise, signal

from gspnl import nn as gnn
from gspnl.errors import InputError

NORMS = ["batch", "group", "layer", "none"]


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_new_block_is_the_identity(name, norm, activation):
    for bias, units in ((False, 1), (True, 3)):
        options = {"norm": norm, "activation": activation, "bias": bias, "units": units}
        block = gnn.create(name, CHANNELS, inner=4, **OWN.get(name, {}) | options)
        for dims in (1, 2, 3):
            x = signal(dims).float()
            for training in (True, False):
                assert torch.equal(block.train(training)(x), x)


@pytest.mark.parametrize("name", NAMES)
def test_zero_init_is_an_option(name):
    block = gnn.create(name, CHANNELS, inner=4, zero_init=False, **OWN.get(name, {}))
    x = signal().float()
    assert (block(x) - x).abs().max() > 1e-3


def steps(block, x, target, count=2, rate=0.1):
    """The largest gradient each parameter has had over some steps of gradient descent."""
    optimizer = torch.optim.SGD(block.parameters(), lr=rate)
    largest = dict.fromkeys((key for key, _ in block.named_parameters()), 0.0)
    for _ in range(count):
        optimizer.zero_grad()
        ((block(x) - target) ** 2).sum().backward()
        for key, parameter in block.named_parameters():
            if parameter.grad is not None:
                largest[key] = max(largest[key], parameter.grad.abs().max().item())
        optimizer.step()
    return largest


# Biases that the output does not depend on, by algebra: a softmax over positions is the same when
# all its scores move by one number, and L of a constant is 0.
SILENT = {
    "nl": ("psi.bias",),
    "ns": ("psi.bias", "g.bias"),
    "a2": ("psi.bias",),
    "cc": ("psi.bias",),
}


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_gradient_within_two_steps(name, norm, activation):
    # A bias before a batch norm has no gradient by algebra: biases where no norm removes them.
    bias = norm == "none"
    silent = SILENT.get(name, ()) if bias else ()
    for units in (1, 3):
        options = {"norm": norm, "activation": activation, "bias": bias, "units": units}
        torch.manual_seed(0)
        block = gnn.create(name, CHANNELS, inner=4, **OWN.get(name, {}) | options).double()
        largest = steps(block, signal(), noise(2, CHANNELS, 3, 4, seed=1), rate=0.02)
        # Rounding of a gradient that is 0 by algebra would be around 1e-15.
        still = [key for key, size in largest.items() if size < 1e-9]
        still = [key for key in still if not key.endswith(silent)]
        assert not still, f"{name}: {still} had no gradient"


def test_no_gate_without_an_activation():
    for name in NAMES:
        keys = gnn.create(name, CHANNELS, inner=4, **OWN.get(name, {})).state_dict()
        assert "stages.0.gate" not in keys
        assert (keys["stages.0.norm.weight"] == 0).all()
        keys = gnn.create(
            name, CHANNELS, inner=4, activation="relu", **OWN.get(name, {})
        ).state_dict()
        assert (keys["stages.0.gate"] == 0).all()
        assert (keys["stages.0.norm.weight"] != 0).all()


def test_zero_scale_before_relu_has_no_gradient():
    """Erratum K2: γ = β = 0 before ReLU, whose slope at 0 is 0: x + relu(norm(F)) stays x."""

    class Faulty(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.map = torch.nn.Linear(CHANNELS, CHANNELS, bias=False)
            self.norm = torch.nn.BatchNorm1d(CHANNELS)
            torch.nn.init.zeros_(self.norm.weight)

        def forward(self, x):
            F = self.map(x.flatten(2).mT).mT
            return x + torch.relu(self.norm(F)).reshape(x.shape)

    x, target = signal(), noise(2, CHANNELS, 3, 4, seed=1)
    block = Faulty().double()
    assert set(steps(block, x, target, count=20).values()) == {0.0}
    assert torch.equal(block(x), x)


# Equal-parameter mode (K5).


def count(block):
    return sum(parameter.numel() for parameter in block.parameters())


def test_nl_matched_to_snl_has_five_quarters_of_its_width():
    """SNL: φ, ψ, g, w_1, w_2 of C·Cs and a norm of 2C; NL has one map less: Cs = 5/4 of SNL's."""
    snl = 5 * 64 * 32 + 2 * 64
    assert count(gnn.create("snl", 64)) == snl
    block = gnn.create("nl", 64, match="snl")
    assert count(block) == 4 * 64 * 40 + 2 * 64 == snl
    assert block.stages[0].g.weight.shape == (40, 64)


def test_gsnl_matched_to_snl_rounds_the_width():
    """6·64·Cs against 5·64·32: 26.67, so 27."""
    assert gnn.create("gsnl", 64, match="snl").stages[0].g.weight.shape == (27, 64)


@pytest.mark.parametrize("name", NAMES)
def test_matched_width_is_the_nearest(name):
    own = {k: v for k, v in OWN.get(name, {}).items() if k != "groups"}
    for other in ("snl", "gsnl", "linear", "a2"):
        target = count(gnn.create(other, 12))
        matched = count(gnn.create(name, 12, match=other, **own))
        every = [count(gnn.create(name, 12, inner=i, **own)) for i in range(1, 60)]
        assert abs(matched - target) == min(abs(n - target) for n in every), other


def test_match_counts_units_and_biases():
    block = gnn.create("nl", 16, match="snl", units=3, bias=True, norm="none")
    target = count(gnn.create("snl", 16, units=3, bias=True, norm="none"))
    every = [
        count(gnn.create("nl", 16, inner=i, units=3, bias=True, norm="none")) for i in range(1, 40)
    ]
    assert abs(count(block) - target) == min(abs(n - target) for n in every)


def test_match_with_inner_raises():
    with pytest.raises(InputError, match=r"inner.*match|match.*inner"):
        gnn.create("nl", 64, match="snl", inner=8)


def test_match_with_an_unknown_block_raises():
    with pytest.raises(InputError, match="did you mean 'gsnl'"):
        gnn.create("nl", 64, match="gsnll")
