"""The fast path of a low-rank unit: conditions of its use, and equality with the dense formula."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import close, compare, make, noise
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gspnl import nn as gnn
from gspnl.nn import fast_path

CASES = [
    ("snl", {}),
    ("snl", {"isolated": "zero"}),
    ("snl", {"normalization": "softmax"}),
    ("gsnl", {}),
    ("chebyshev", {"order": 1}),
    ("chebyshev", {"order": 2}),
    ("chebyshev", {"order": 5}),
    ("spectral", {"order": 3}),
    ("snl", {"bias": True, "norm": "none"}),
    ("nl", {"kernel": "dot", "normalization": "softmax", "bias": True, "norm": "none"}),
    ("nl", {"kernel": "dot", "normalization": "softmax"}),
    ("ns", {"kernel": "dot", "normalization": "softmax"}),
    ("ns", {"kernel": "dot", "normalization": "random_walk"}),
]


@pytest.fixture
def steps(monkeypatch):
    """Count uses of the fast path."""
    taken = []
    plain = fast_path.FastUnit.apply
    monkeypatch.setattr(fast_path.FastUnit, "apply", lambda *a: (taken.append(1), plain(*a))[1])
    return taken


def features(isolated):
    """Five items of 3 × 4 positions; some are isolated in some items, where φ = ψ = 0."""
    x = noise(5, 6, 3, 4)
    if isolated:
        x[1:4, :, :, 2] = 0
    return x


def cut_batch(block, parts, monkeypatch):
    """Make the fast path take a batch of five items of 12 positions in several parts."""
    width = block.affinity.phi.width + block.affinity.psi.width
    monkeypatch.setattr(fast_path, "BYTES", (5 // parts) * width * 12 * 8)


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_fast_path_equals_the_dense_formula(name, options, isolated, parts, steps, monkeypatch):
    options = {"storage": "lowrank"} | options
    block, x = make(name, **options), features(isolated)
    cut_batch(block, parts, monkeypatch)
    compare(name, x, True, block=block, **options)
    assert steps


@pytest.mark.parametrize(("name", "options"), CASES)
def test_gradcheck_of_first_and_second_derivatives(name, options, steps):
    block = make(name, channels=4, inner=2, storage="lowrank", **options).eval()
    x = noise(2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(block, (x,))
    assert torch.autograd.gradgradcheck(block, (x,))
    assert steps


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_second_derivatives_equal_the_plain_path(name, options, tied, steps, monkeypatch):
    """With respect to all parameters, also tied ones."""
    block, x = make(name, storage="lowrank", **options), noise(2, 6, 5).requires_grad_()
    if tied:
        block.affinity.psi.weight = block.affinity.phi.weight
    leaves, found = [x, *block.parameters()], []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(fast_path, "ENABLED", False)
        once = torch.autograd.grad(
            block(x).square().sum(), leaves, create_graph=True, allow_unused=True
        )
        sums = sum(each.square().sum() for each in once if each is not None)
        found.append([*once, *torch.autograd.grad(sums, leaves, allow_unused=True)])
    assert len(steps) == 1
    largest = max(each.abs().max() for each in found[1] if each is not None)
    for step, wanted in zip(*found, strict=True):
        assert (step is None) == (wanted is None)
        if wanted is not None:
            close(step.detach(), wanted.detach(), 1e-12 * largest)


@pytest.mark.parametrize("share", [(1.0,), (1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_series_with_zero_terms_equal_the_plain_path(share, monkeypatch):
    class Own(gnn.KernelBlock):
        block = "own"

        def terms(self):
            return {"w": share}

    torch.manual_seed(0)
    block = Own(6, inner=4, storage="lowrank", zero_init=False).double()
    x = noise(3, 6, 3, 4).requires_grad_()
    leaves = [x, *block.parameters()]
    found = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(fast_path, "ENABLED", False)
        y = block(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves, allow_unused=True)])
    for step, wanted in zip(*found, strict=True):
        if wanted is None or step is None:
            assert wanted is None or wanted.abs().max() < 1e-12
            assert step is None or step.abs().max() < 1e-12
        else:
            assert (step - wanted).abs().max() < 1e-10 * found[1][1].abs().max()


def test_global_hooks_switch_to_the_plain_path(steps):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(type(m)))
    try:
        make("snl", storage="lowrank")(noise(2, 6, 3, 4))
    finally:
        handle.remove()
    assert not steps
    assert len(seen) >= 4  # affinity, g, norm, unit, block


def test_overridden_methods_are_called(steps):
    class Seven(gnn.SNL):
        def filtered(self, y, spatial):
            return super().filtered(y, spatial) * 0 + 7

    assert (Seven(6, storage="lowrank")(torch.randn(2, 6, 3, 4)) == 7).all()
    block = gnn.SNL(6, storage="lowrank")
    block.stages[0] = nn.Sequential()  # another module in the place of a unit
    with pytest.raises(TypeError):
        block(torch.randn(2, 6, 3, 4))
    assert len(steps) == 1


def test_large_features_stay_finite(steps):
    block = gnn.create("snl", 64, norm="layer", storage="lowrank", zero_init=False)
    x = 1e12 * torch.randn(1, 64, 16, 16)
    assert block(x).isfinite().all()
    assert len(steps) == 1


def test_inputs_without_gradient(steps):
    block, x = make("snl", storage="lowrank"), noise(2, 6, 3, 4)
    block(x).square().sum().backward()  # x needs none
    wanted = block.affinity.phi.weight.grad.clone()
    block.zero_grad()
    block.stages[0].requires_grad_(False)
    block(x.requires_grad_()).square().sum().backward()
    assert len(steps) == 2
    close(block.affinity.phi.weight.grad, wanted)  # sums in another order
    assert block.stages[0].g.weight.grad is None
    assert x.grad is not None


@pytest.mark.parametrize("inner", [2, 8])  # of 8, W_g is merged into the maps
@pytest.mark.parametrize("name", ["snl", "gsnl", "chebyshev", "spectral", "nl"])
def test_folded_blocks_use_the_fast_path(name, inner, steps):
    kernel = {"kernel": "dot", "normalization": "random_walk"}
    block = make(name, inner=inner, storage="lowrank", **kernel).eval()
    x = noise(3, 6, 3, 4)
    x[1, :, 2] = 0  # isolated
    y, folded = block(x), gnn.fold(block)
    x.requires_grad_()
    z = folded(x)
    assert len(steps) == 2
    assert (z - y).abs().max() < 1e-10 * y.abs().max()
    slope = torch.autograd.grad(z.square().sum(), x)[0]
    close(slope, torch.autograd.grad(block(x).square().sum(), x)[0], 1e-10 * slope.abs().max())


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


@pytest.mark.parametrize("place", ["affinity", "affinity.phi", "stages.0", "stages.0.g"])
def test_hooks_switch_to_the_plain_path(place, steps):
    block, x, seen = make("snl", storage="lowrank"), noise(2, 6, 3, 4), []
    y = block(x)
    module = block.get_submodule(place)
    module.register_forward_hook(lambda *_: seen.append(place))
    assert (block(x) - y).abs().max() < 1e-13
    assert len(steps) == 1
    assert seen or place == "affinity.phi"  # φ is never called as a module


@pytest.mark.parametrize("place", ["affinity.phi", "affinity.psi", "stages.0.g", "stages.0.w_2"])
def test_parametrisations_are_applied(place, steps):
    block, x = make("snl", storage="lowrank"), noise(2, 6, 3, 4)
    other = make("snl", storage="lowrank")
    parametrize.register_parametrization(block.get_submodule(place), "weight", Halved())
    with torch.no_grad():
        other.get_submodule(place).weight.div_(2)
    assert (block(x) - other(x)).abs().max() < 1e-13
    assert len(steps) == 1  # of the other


@pytest.mark.parametrize(
    "options",
    [
        {"feature_map": "softplus"},
        {"normalization": "symmetric"},
        {"normalization": "mean"},
        {"kernel": "cosine"},
        {"storage": "dense"},
        {"units": 2},
    ],
)
def test_other_affinities_use_the_plain_path(options, steps):
    make("snl", **{"storage": "lowrank"} | options)(noise(2, 6, 3, 4))
    assert not steps


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's
def test_function_transforms_use_the_plain_path(steps):
    block, x = make("snl", storage="lowrank").eval(), noise(2, 6, 3, 4)
    wanted = torch.func.grad(lambda v: block(v).square().sum())(x)
    _, slope = torch.func.jvp(lambda v: block(v).square().sum(), (x,), (x,))
    assert not steps
    leaf = x.clone().requires_grad_()
    block(leaf).square().sum().backward()
    assert len(steps) == 1
    assert (leaf.grad - wanted).abs().max() < 1e-12 * wanted.abs().max()
    assert abs(slope - (wanted * x).sum()) < 1e-12 * abs(slope)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's
@pytest.mark.parametrize("place", ["x", "affinity.phi.weight", "stages.0.w_1.weight"])
def test_forward_mode_uses_the_plain_path(place, steps):
    block, x = make("snl", storage="lowrank").eval(), noise(2, 6, 3, 4)
    leaf = (x if place == "x" else block.get_parameter(place)).detach().clone().requires_grad_()
    direction, parameters = noise(*leaf.shape, seed=2), dict(block.named_parameters())

    def total(v):
        values, features = (parameters, v) if place == "x" else (parameters | {place: v}, x)
        return torch.func.functional_call(block, values, (features,)).square().sum()

    (gradient,) = torch.autograd.grad(total(leaf), leaf)
    assert len(steps) == 1
    with forward_ad.dual_level():
        slope = forward_ad.unpack_dual(
            total(forward_ad.make_dual(leaf.detach(), direction))
        ).tangent
    assert len(steps) == 1
    wanted = (gradient * direction).sum()
    assert (slope - wanted).abs() < 1e-12 * wanted.abs()


def test_tensor_subclasses_use_the_plain_path(steps):
    class Named(torch.Tensor):
        pass

    block, x = make("snl", storage="lowrank").eval(), noise(2, 6, 3, 4)
    assert isinstance(block(x.as_subclass(Named)), Named)
    assert not steps


def test_the_switch_takes_the_plain_path(steps, monkeypatch):
    block, x = make("snl", storage="lowrank").eval(), noise(2, 6, 3, 4)
    y = block(x)
    monkeypatch.setattr(fast_path, "ENABLED", False)
    close(block(x).detach(), y.detach())
    assert len(steps) == 1


def test_autocast_uses_the_fast_path_in_float32(steps):
    block, x = make("snl", storage="lowrank").float(), noise(2, 6, 3, 4).float().requires_grad_()
    leaves = [x, *block.parameters()]
    wanted = [block(x), *torch.autograd.grad(block(x).square().sum(), leaves)]
    with torch.autocast("cpu", torch.bfloat16):
        y = block(x)
        # Backward too, where products would be rounded.
        found = [y, *torch.autograd.grad(y.square().sum(), leaves)]
    assert len(steps) == 3
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert block(x.detach().bfloat16()).dtype == torch.bfloat16
    assert len(steps) == 4


def test_half_precision_uses_the_plain_path(steps):
    gnn.create("snl", 6, storage="lowrank").bfloat16()(torch.randn(2, 6, 3, 4).bfloat16())
    assert not steps


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_fast_path_in_channels_last(name, options, isolated, parts, steps, monkeypatch):
    """Input and gradient in channels last give output and gradient in channels last."""
    options = {"storage": "lowrank"} | options
    block = make(name, **options)
    x = features(isolated).contiguous(memory_format=torch.channels_last)
    cut_batch(block, parts, monkeypatch)
    compare(name, x, True, block=block, **options)
    assert steps
    y = block(x.requires_grad_())
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.backward(noise(5, 6, 3, 4).contiguous(memory_format=torch.channels_last))
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["nl", "ns", "snl", "gsnl", "chebyshev", "spectral"])
@pytest.mark.parametrize("isolated", [False, True])
def test_consecutive_units_keep_channels_last(name, isolated):
    """No unit changes the memory layout of its input."""
    options = {"kernel": "dot", "feature_map": "relu", "storage": "lowrank", "units": 3}
    block = make(name, **options)
    x = features(isolated).contiguous(memory_format=torch.channels_last)
    compare(name, x, True, block=block, **options)
    layouts = []
    for stage in block.stages:
        plain = stage.filtered
        stage.filtered = lambda Z, A, plain=plain: layouts.append(Z.is_contiguous()) or plain(Z, A)
    y = block(x.requires_grad_())
    assert layouts == [True] * 3  # (B, N, Cs)
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.backward(noise(5, 6, 3, 4).contiguous(memory_format=torch.channels_last))
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_folded_block_in_channels_last(steps):
    """Without g, Z is X: its gradient is part of that of the features."""
    block = gnn.fold(make("snl", inner=6, storage="lowrank").eval())
    assert block.stages[0].g is None
    x, found = noise(3, 6, 3, 4), []
    for layout in (torch.contiguous_format, torch.channels_last):
        leaf = x.clone(memory_format=layout).requires_grad_()
        y = block(leaf)
        y.square().sum().backward()
        found.append((y.detach(), leaf.grad))
    assert len(steps) == 2
    for one, other in zip(*found, strict=True):
        close(other, one)


@pytest.mark.parametrize("training", [True, False])
def test_norm_of_rows_only_without_hooks(training, monkeypatch):
    """Statistics are equal; a hook sees (B, C, N)."""
    x = noise(4, 6, 3, 4).contiguous(memory_format=torch.channels_last)
    found, seen, taken = [], [], []
    normed = F.batch_norm
    monkeypatch.setattr(F, "batch_norm", lambda x, *a: (taken.append(x.shape), normed(x, *a))[1])
    for watched in (False, True):
        block = make("snl", storage="lowrank").train(training)
        norm = block.stages[0].norm
        if watched:
            norm.register_forward_hook(lambda m, args, out: seen.append(args[0].shape))
        found.append((block(x).detach(), norm.running_mean.clone(), norm.running_var.clone()))
    assert seen == [(4, 6, 12)]
    assert taken == [(4 * 12, 6), (4, 6, 12)]
    for one, other in zip(*found, strict=True):
        close(other, one)
