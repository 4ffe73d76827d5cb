"""Every registered block equals its dense formula: outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import (
    ATTENDING,
    CHANNELS,
    INNER,
    NAMES,
    PAIRED,
    SIZES,
    close,
    compare,
    make,
    noise,
    signal,
    state,
)

from gspnl import nn as gnn

NORMS = ["batch", "group", "layer", "none"]


def test_registered_names():
    assert set(NAMES) >= {
        *("linear", "nl", "ns", "snl", "gsnl", "chebyshev", "spectral"),
        *("cgnl", "a2", "cc"),
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dims", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_block_equals_its_dense_formula(name, dims, training):
    compare(name, signal(dims), training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_norm_activation_and_gate_equal_the_formula(name, norm, training):
    compare(name, signal(), training, norm=norm)
    gated = compare(name, signal(), training, norm=norm, activation="relu", seed=1)
    assert gated.stages[0].gate.shape == (CHANNELS,)
    bare = compare(name, signal(), training, norm=norm, activation="relu", zero_init=False, seed=2)
    assert not any("gate" in key for key in bare.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_consecutive_units_equal_the_formula(name):
    block = compare(name, signal(), training=True, units=3, activation="relu")
    assert len(block.stages) == 3
    compare(name, signal(3), units=3, norm="none", seed=4)


@pytest.mark.parametrize("name", NAMES)
def test_biases_equal_the_formula(name):
    for norm in ("none", "batch"):
        block = compare(name, signal(), bias=True, norm=norm)
        keys = block.state_dict().keys()
        assert "stages.0.g.bias" in keys
        assert any(".w" in k and k.endswith(".bias") for k in keys) == (norm == "none")
        if name in ATTENDING:
            assert {"affinity.phi.bias", "affinity.psi.bias"} <= keys
    plain = make(name, norm="none").state_dict()
    assert not any(key.endswith(".bias") for key in plain)


@pytest.mark.parametrize("name", [n for n in ATTENDING if n != "cgnl"])
def test_embedding_width_other_than_inner(name):
    block = compare(name, signal(), True, embedding=3)
    assert block.state_dict()["affinity.psi.weight"].shape == (3, CHANNELS)
    assert block.state_dict()["stages.0.g.weight"].shape == (INNER, CHANNELS)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_names_and_shapes(name):
    """Weights are (out, in); the inner width is half the channels by default."""
    block = gnn.create(name, 8, **({"order": 2} if name in ("chebyshev", "spectral") else {}))
    for key, value in block.state_dict().items():
        if key.endswith("weight") and ".norm." not in key:
            inward = "affinity" in key or ".g." in key
            assert tuple(value.shape) == ((4, 8) if inward else (8, 4)), key


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", ["dot", "rbf"])
def test_channel_groups_equal_the_formula(groups, kernel):
    options = {"groups": groups, "kernel": kernel} | ({"order": 2} if kernel == "rbf" else {})
    block = make("cgnl", channels=8, **options)
    assert block.state_dict()["stages.0.w.weight"].shape == (8, INNER // groups)
    for dims in SIZES:
        compare("cgnl", signal(dims, channels=8), True, block=block, **options)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_taylor_orders_equal_the_formula(order):
    # Powers of large features: the series' later terms weigh as much as its first.
    x = 30 * signal()
    compare("cgnl", x, kernel="rbf", order=order, norm="group")


SUB_SAMPLED = [
    {"kernel": "embedded_gaussian", "normalization": "softmax"},
    {"kernel": "gaussian", "normalization": "softmax"},
    {"kernel": "rbf", "normalization": "softmax"},
    {"kernel": "dot", "normalization": "softmax", "feature_map": "softplus"},
    {"kernel": "dot", "normalization": "mean", "feature_map": "identity"},
    {"kernel": "dot", "normalization": "mean", "feature_map": "square"},  # pooling comes first
    {"kernel": "cosine", "normalization": "mean"},
    {"kernel": "concatenation", "normalization": "mean"},
    {"kernel": "concatenation", "normalization": "none"},
]


@pytest.mark.parametrize("options", SUB_SAMPLED, ids=lambda o: "-".join(o.values()))
def test_sub_sampling_equals_the_formula(options):
    """Keys and values are pooled after their projections; odd rows at the end are dropped."""
    for shape in ((9,), (4, 5), (2, 4, 3)):
        x = noise(2, CHANNELS, *shape, scale=0.7)
        compare("nl", x, True, sub_sample=2, **options)
        compare("nl", x, sub_sample=2, bias=True, norm="none", **options)
    compare("nl", noise(2, CHANNELS, 2, 4, 3), sub_sample=(1, 2, 3), **options)
    compare("nl", noise(2, CHANNELS, 2, 4), sub_sample=1, units=2, **options)


@pytest.mark.parametrize("storage", ["dense", "lowrank"])
@pytest.mark.parametrize("normalization", ["softmax", "mean"])
def test_sub_sampling_in_each_storage(normalization, storage):
    x = noise(2, CHANNELS, 4, 5)
    options = {"kernel": "dot", "normalization": normalization, "storage": storage}
    compare("nl", x, sub_sample=2, **options)
    # A position without an edge to any key: its own key is none of theirs, and A Z is 0 there.
    x[1, :, 2, 3] = 0
    block = make("nl", sub_sample=2, norm="none", **options)
    F = (block(x) - x)[1, :, 2, 3]
    assert torch.equal(F, torch.zeros_like(F))


def test_sub_sampling_beyond_the_sorting_threshold():
    """The concatenation kernel is sorted from 2048 nodes on."""
    options = {"kernel": "concatenation", "normalization": "mean", "sub_sample": 2, "inner": 2}
    compare("nl", noise(1, 3, 2101), block=make("nl", channels=3, **options).eval(), **options)


@pytest.mark.parametrize("order", [0, 1, 2, 8])
def test_chebyshev_orders_equal_the_formula(order):
    block = compare("chebyshev", signal(), order=order)
    assert sum(".w_" in key for key in block.state_dict()) == order + 1


@pytest.mark.parametrize("order", [1, 3])
def test_diffusion_times_equal_the_formula(order):
    block = make("spectral", order=order)
    assert block.stages[0].times.shape == (order,)
    for shift in (-2.0, 5.0):  # τ from 0.1 to 32
        with torch.no_grad():
            block.stages[0].times += shift
        compare("spectral", signal(), block=block, order=order)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name):
    """Finite differences of the block itself, in all its arguments."""
    options = {"activation": "relu"} if name in ("ns", "cc") else {}
    block = make(name, channels=4, inner=2, seed=3, **options).train()
    params = {k: v for k, v in state(block).items() if v.requires_grad and "running" not in k}
    x = noise(2, 4, 2, 2, seed=5).requires_grad_()

    def run(x, *values):
        return torch.func.functional_call(block, dict(zip(params, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *params.values()))


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_its_items(name, norm):
    block = make(name, norm=norm).eval()
    x = signal(batch=3)
    together = block(x)
    for i in range(3):
        close(together[i : i + 1], block(x[i : i + 1]), what=f"{name}, item {i}")


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 1), (1, 5), (3, 1), (1, 1, 1), (1, 2, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_maps_of_one_to_three_positions(name, shape):
    compare(name, noise(2, CHANNELS, *shape))


@pytest.mark.parametrize("name", NAMES)
def test_equal_positions_equal_the_formula(name):
    """All positions equal: A has one eigenvalue 1, and 0 otherwise."""
    compare(name, noise(2, CHANNELS, 1, 1).repeat(1, 1, 3, 4), norm="none")
    pairs = noise(2, CHANNELS, 3, 2).repeat(1, 1, 1, 2)
    compare(name, pairs, True)


@pytest.mark.parametrize("name", NAMES)
def test_result_does_not_depend_on_memory_layout(name):
    block = make(name).eval()
    x = signal()
    close(block(x.to(memory_format=torch.channels_last)), block(x))
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    close(block(turned), block(x))


@pytest.mark.parametrize("name", PAIRED)
def test_running_statistics_equal_those_of_torch(name):
    """After a training step the statistics are those of nn.BatchNorm with momentum 0.1."""
    x, block = signal(), make(name)
    without = {k: v for k, v in block.state_dict().items() if ".norm." not in k}
    bare = make(name, norm="none")
    bare.load_state_dict(without)
    F = (bare(x) - x).detach().transpose(0, 1).flatten(1)
    before = block.stages[0].norm.running_mean.clone(), block.stages[0].norm.running_var.clone()
    block.train()(x)
    after = block.stages[0].norm.running_mean, block.stages[0].norm.running_var
    close(after[0], 0.9 * before[0] + 0.1 * F.mean(1))
    close(after[1], 0.9 * before[1] + 0.1 * F.var(1))


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32(name):
    block = make(name).eval()
    expected = block(signal())
    actual = block.float()(signal().float())
    assert actual.dtype == torch.float32
    # 1e-4 of the largest entry: some hundred roundings of 6e-8.
    assert (actual - expected).abs().max() < 1e-4 * expected.abs().max()
