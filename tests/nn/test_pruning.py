"""Pruning, old norms, parametrisations and hooks on the maps of blocks: values and gradients."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from gspnl import nn as gnn
from gspnl.errors import InputError
from gspnl.nn.pointwise import Pointwise

BLOCKS = [
    ("linear", {}),
    ("nl", {}),
    ("nl", {"sub_sample": 2, "kernel": "concatenation", "normalization": "mean"}),
    ("ns", {"kernel": "gaussian"}),
    ("snl", {}),
    ("snl", {"storage": "lowrank", "bias": True, "norm": "none"}),
    ("snl", {"storage": "dense", "units": 2, "activation": "relu"}),
    ("snl", {"kernel": "concatenation"}),
    ("snl", {"kernel": "cosine", "normalization": "symmetric"}),
    ("snl", {"normalization": "bistochastic"}),
    ("gsnl", {"kernel": "embedded_gaussian"}),
    ("chebyshev", {"order": 3, "storage": "lowrank"}),
    ("spectral", {"order": 2, "storage": "lowrank"}),
    ("cgnl", {"groups": 2}),
    ("cgnl", {"kernel": "rbf", "order": 2}),
    ("a2", {}),
    ("cc", {"bias": True}),
]
each_block = pytest.mark.parametrize(("name", "options"), BLOCKS, ids=str)


def make(name, options, seed=0):
    torch.manual_seed(seed)
    block = gnn.create(name, 6, inner=4, **{"zero_init": False, **options}).double()
    for parameter in block.parameters():
        if parameter.ndim < 2:
            nn.init.uniform_(parameter, 0.2, 0.8)
    return block


def maps(block):
    return {name: m for name, m in block.named_modules() if isinstance(m, Pointwise)}


def pruned(layer):
    prune.random_unstructured(layer, "weight", 0.4)
    if layer.bias is not None:
        prune.random_unstructured(layer, "bias", 0.5)


def pruned_twice(layer):
    prune.ln_structured(layer, "weight", 1, n=2, dim=1)
    prune.l1_unstructured(layer, "weight", 0.3)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(layer)
    with torch.no_grad():
        layer.weight_g.mul_(1.7)


def old_spectral_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.spectral_norm(layer, n_power_iterations=2)


def weight_norm(layer):
    parametrizations.weight_norm(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.7)


def spectral_norm(layer):
    parametrizations.spectral_norm(layer)


def lora_by_pre_hook(layer):
    """Set the weight before each call: W + B A."""
    layer.base = nn.Parameter(layer.weight.detach().clone())
    del layer.weight
    layer.low = nn.Parameter(0.3 * torch.ones(1, layer.base.shape[1], dtype=layer.base.dtype))
    layer.weight = layer.base.detach()
    layer.register_forward_pre_hook(
        lambda m, args: setattr(m, "weight", m.base + 0.2 * m.low.expand_as(m.base))
    )


def lora_by_hook(layer):
    """Add B A x to the output."""
    shape, dtype = layer.weight.shape, layer.weight.dtype
    layer.low = nn.Parameter(0.3 * torch.ones(1, shape[1], dtype=dtype))
    layer.register_forward_hook(
        lambda m, args, out: out + nn.functional.linear(args[0], 0.2 * m.low.expand(*shape))
    )


def doubled_input(layer):
    layer.register_forward_pre_hook(lambda m, args: (2 * args[0],))


def effective(layer):
    """The weight that a way of the above stands for, by its formula."""
    if hasattr(layer, "weight_mask"):
        return layer.weight_orig * layer.weight_mask
    if hasattr(layer, "weight_g"):
        return layer.weight_g * layer.weight_v / layer.weight_v.norm(dim=1, keepdim=True)
    if hasattr(layer, "weight_u"):
        return layer.weight_orig / (layer.weight_u @ layer.weight_orig @ layer.weight_v)
    if parametrize.is_parametrized(layer):
        both = layer.parametrizations.weight
        if hasattr(both, "original0"):
            return both.original0 * both.original1 / both.original1.norm(dim=1, keepdim=True)
        W, last = both.original, both[0]
        return W / (last._u @ W @ last._v)
    if hasattr(layer, "base"):
        return layer.base + 0.2 * layer.low.expand_as(layer.base)
    if hasattr(layer, "low"):
        return layer.weight + 0.2 * layer.low.expand_as(layer.weight)
    return (2 if layer._forward_pre_hooks else 1) * layer.weight


def effective_bias(layer):
    return layer.bias_orig * layer.bias_mask if hasattr(layer, "bias_mask") else layer.bias


WAYS = [
    pruned, pruned_twice, old_weight_norm, old_spectral_norm, weight_norm, spectral_norm,
    lora_by_pre_hook, lora_by_hook, doubled_input,
]  # fmt: skip
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def signal(seed=3, **options):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 6, 4, 6, generator=generator, dtype=torch.float64, **options)


def changed(name, options, way):
    """A block with a way on each map, and a plain block whose weights are functions of its own."""
    block = make(name, options)
    other = copy.deepcopy(block)
    for layer in maps(block).values():
        if layer.groups == 1 or way is not lora_by_hook:
            way(layer)
    return block, other


def plain_output(other, block, x):
    """Output of the plain block with the effective weights, differentiable in ``block``'s own."""
    values = {}
    for name, layer in maps(block).items():
        values[f"{name}.weight"] = effective(layer)
        if layer.bias is not None:
            values[f"{name}.bias"] = effective_bias(layer)
    return torch.func.functional_call(other, values, (x,))


def assert_close(a, b, tolerance=1e-10):
    assert (a - b).abs().max() <= tolerance * (1 + b.abs().max())


@each_way
@each_block
def test_values_and_gradients_are_those_of_the_plain_block(name, options, way):
    block, other = changed(name, options, way)
    normed = way in (old_spectral_norm, spectral_norm)  # power iterations in training only
    for training in (False,) if normed else (False, True):
        block.train(training)
        other.train(training)
        x, z = (signal(requires_grad=True) for _ in range(2))
        expected = plain_output(other, block, z)
        for _ in range(2):
            assert_close(block(x), expected)
        weights = torch.linspace(-1, 2, expected.numel(), dtype=x.dtype).reshape(expected.shape)
        own = {
            key: p for key, p in block.named_parameters()
            if not any(part in key for part in ("norm", "gate", "times"))
        }  # fmt: skip
        (slope, *slopes) = torch.autograd.grad(
            (weights * block(x)).sum(), [x, *own.values()], allow_unused=True
        )
        (right, *rights) = torch.autograd.grad(
            (weights * expected).sum(), [z, *own.values()], allow_unused=True
        )
        assert_close(slope, right, 1e-8)
        for key, a, b in zip(own, slopes, rights, strict=True):
            zero = torch.zeros(())
            assert_close(zero if a is None else a, zero if b is None else b, 1e-8), key


@pytest.mark.parametrize("way", [pruned, pruned_twice, old_weight_norm, lora_by_pre_hook])
@each_block
def test_training_follows_the_plain_block(name, options, way):
    block, other = changed(name, options, way)
    start = copy.deepcopy(block.state_dict())
    twin, _ = changed(name, options, way)
    twin.load_state_dict(start)
    x, losses = signal(), []
    for net, run in ((block, block), (twin, lambda x: plain_output(other, twin, x))):
        rest = ("norm", "gate", "times")  # of the plain block, and so not trained here
        parameters = [p for k, p in net.named_parameters() if not any(r in k for r in rest)]
        optimiser = torch.optim.SGD(parameters, 0.05)
        for _ in range(3):
            optimiser.zero_grad()
            loss = run(x).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert losses[:3] == pytest.approx(losses[3:], rel=1e-9)
    assert len(set(losses[:3])) == 3


@pytest.mark.parametrize("place", ["affinity.phi", "affinity.psi", "stages.0.g", "stages.0.w_2"])
@pytest.mark.parametrize("way", [old_spectral_norm, spectral_norm])
def test_power_iterations_run_once_a_step(place, way):
    block = make("snl", {"storage": "lowrank"})
    layer = block.get_submodule(place)
    way(layer)
    alone = copy.deepcopy(layer)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    block.train()(signal())
    alone.train()(torch.ones(1, 2, 4 if "w_2" in place else 6, dtype=torch.float64))
    once = alone.state_dict()
    moved = [key for key in once if not torch.equal(once[key], before[key])]
    assert len(moved) == 2  # both vectors of the iteration
    layer.eval()
    assert all(torch.equal(layer.state_dict()[key], once[key]) for key in moved)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("way", [pruned, lora_by_hook])
@pytest.mark.parametrize("name", ["snl", "nl", "chebyshev", "cgnl", "spectral"])
def test_other_dtypes_work(name, way, dtype):
    block, _ = changed(name, {}, way)
    y = block.eval()(signal())
    low = block.to(dtype)(signal().to(dtype))
    assert low.dtype == dtype
    assert (low.double() - y).abs().max() < 40 * torch.finfo(dtype).eps * (1 + y.abs().max())


class Lora(nn.Module):
    """A wrapper, as adapters put it in the place of a layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.low = nn.Parameter(0.1 * torch.ones_like(layer.weight))

    def forward(self, X):
        return self.layer(X) + nn.functional.linear(X, self.low)


@each_block
def test_modules_in_the_place_of_a_map_are_called(name, options):
    if options.get("groups"):
        return
    block = make(name, options).eval()
    other = copy.deepcopy(block)
    for path, layer in maps(other).items():
        with torch.no_grad():
            layer.weight.add_(0.1)
        holder, _, attribute = path.rpartition(".")
        setattr(block.get_submodule(holder), attribute, Lora(block.get_submodule(path)))
    assert_close(block(signal()), other(signal()))


@pytest.mark.parametrize("place", ["affinity.phi", "affinity.psi", "stages.0.g", "stages.0.w_1"])
def test_hooks_on_maps_see_their_input_and_output(place):
    block, seen = make("snl", {"storage": "lowrank"}), []
    layer = block.get_submodule(place)
    layer.register_forward_hook(lambda m, args, out: seen.append((args[0], out)))
    y = block(signal())
    ((given, out),) = seen
    assert_close(out, given @ layer.weight.mT)
    layer._forward_hooks.clear()
    assert_close(block(signal()), y)


@pytest.mark.parametrize("sparsity", [0.25, 0.5])
def test_sparsifiers_of_torch_ao_act(sparsity):
    from torch.ao.pruning import WeightNormSparsifier

    block = make("snl", {})
    made = WeightNormSparsifier(sparsity_level=sparsity, sparse_block_shape=(1, 1))
    made.prepare(block, [{"tensor_fqn": "affinity.phi.weight"}])
    made.step()
    other = make("snl", {})
    kept = block.affinity.phi.weight.detach()
    assert (kept == 0).sum() == round(sparsity * kept.numel())
    with torch.no_grad():
        other.affinity.phi.weight.copy_(kept)
    assert_close(block(signal()), other(signal()))


WITH_HOOKS = [pruned, pruned_twice, old_weight_norm, old_spectral_norm, lora_by_pre_hook]


@pytest.mark.parametrize("way", WITH_HOOKS)
@each_block
def test_folding_merges_recomputed_weights(name, options, way):
    block, _ = changed(name, options, way)
    block.eval()
    y = block(signal())
    y.sum().backward()
    folded = gnn.fold(block)
    assert_close(folded(signal()), y, 1e-9)
    assert all("_orig" not in key and "_mask" not in key for key in folded.state_dict())
    assert_close(block(signal()), y)  # the block itself is as it was
    net = gnn.fold(nn.Sequential(nn.Conv2d(6, 6, 1).double(), block))
    assert net[1].folded


@pytest.mark.parametrize("way", WITH_HOOKS)
@each_block
def test_audits_are_those_of_the_plain_block(name, options, way):
    block, other = changed(name, options, way)
    block.eval()
    block(signal()).sum().backward()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.01)  # after the last call: stale weights would show
    for path, layer in maps(block).items():
        with torch.no_grad():
            other.get_submodule(path).weight.copy_(effective(layer))
            if layer.bias is not None:
                other.get_submodule(path).bias.copy_(effective_bias(layer))
    rest = {k: v for k, v in block.state_dict().items() if k in other.state_dict()}
    rest = {k: v for k, v in rest.items() if not k.endswith((".weight", ".bias")) or "norm" in k}
    other.load_state_dict(rest, strict=False)
    found, right = (gnn.audit(each, signal())[0] for each in (block, other))
    for a, b in zip(found.units, right.units, strict=True):
        assert a.response == pytest.approx(b.response, abs=1e-9)
        assert set(a.weights) == set(b.weights)
        for key in a.weights:
            assert a.weights[key] == pytest.approx(b.weights[key], abs=1e-9)
    for a, b in zip(found.items, right.items, strict=True):
        assert (a.gap is None) == (b.gap is None)
        if a.gap is not None:
            assert a.gap == pytest.approx(b.gap, abs=1e-8)


def test_audits_and_folds_refuse_maps_that_compute_more():
    for way in (lora_by_hook, doubled_input):
        block = make("snl", {})
        way(block.stages[0].w_2)
        for refuse in (gnn.fold, lambda b: gnn.audit(b, signal())):
            with pytest.raises(InputError, match=r"'stages\.0\.w_2' computes more than"):
                refuse(block)
    block = make("snl", {})
    block.affinity.phi = Lora(block.affinity.phi)
    with pytest.raises(InputError, match=r"'1\.affinity\.phi' computes more .* is a Lora"):
        gnn.fold(nn.Sequential(nn.Identity(), block))


def test_hooks_that_only_look_do_not_hinder():
    block, seen = make("snl", {}), []
    for layer in maps(block).values():
        layer.register_forward_hook(lambda *_: seen.append(1))
    plain = make("snl", {})
    y = plain.eval()(signal())
    assert_close(gnn.fold(block)(signal()), y)
    a, b = (gnn.audit(each, signal())[0].units[0].response for each in (block, plain))
    assert a == pytest.approx(b, abs=1e-12)
    assert all(len(layer._forward_hooks) == 1 for layer in maps(block).values())


@pytest.mark.parametrize("way", [pruned, old_weight_norm, old_spectral_norm, weight_norm])
def test_saving_refuses_recomputed_weights_by_name(tmp_path, way):
    block = make("gsnl", {})
    way(block.stages[0].w_3)
    with pytest.raises(InputError, match=r"'stages\.0\.w_3\.weight' is recomputed"):
        gnn.save(block, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_blocks_made_plain_can_be_saved(tmp_path):
    block = make("snl", {})
    for layer in maps(block).values():
        prune.l1_unstructured(layer, "weight", 0.5)
    y = block.eval()(signal())
    for layer in maps(block).values():
        prune.remove(layer, "weight")
    gnn.save(block, tmp_path / "b")
    assert_close(gnn.load(tmp_path / "b").eval()(signal()), y)


def test_pruned_blocks_are_inserted_and_described():
    block, other = changed("snl", {}, pruned)
    conv = nn.Conv2d(6, 6, 1).double()
    z = conv(signal())
    net = gnn.insert(nn.Sequential(conv), {"0": block}).eval()
    assert_close(net(signal()), plain_output(other.eval(), block, z))
    assert gnn.describe(net)[0].block == "snl"
    for _ in range(2):
        net(signal()).square().sum().backward()


@pytest.mark.parametrize("name", ["snl", "chebyshev", "cgnl", "nl"])
def test_compiled_pruned_blocks_agree(name):
    block, _ = changed(name, {}, pruned)
    block.eval()
    y = block(signal())
    torch._dynamo.reset()
    assert_close(torch.compile(block, backend="eager")(signal()), y, 1e-9)


@pytest.mark.parametrize("change", [pruned, pruned_twice, old_weight_norm, old_spectral_norm])
@each_block
def test_blocks_are_copied_in_training(name, options, change):
    """A weight that autograd follows is copied by value, which torch's own layers refuse."""
    block = make(name, options)
    for layer in maps(block).values():
        change(layer)
    net = nn.ModuleDict({"block": block, "again": block})
    block(signal()).square().sum().backward()
    block.eval()
    expected = block(signal())
    other = copy.deepcopy(net)
    assert other["block"] is other["again"]
    assert_close(other["block"](signal()), expected)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert_close(block(signal()), expected)
    own = {id(value) for value in block.parameters()}
    assert own.isdisjoint(map(id, other.parameters()))
