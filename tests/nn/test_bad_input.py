"""Errors of blocks quote the argument, the reason and the fix."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
import torch
from support.nn_cases import CHANNELS, NAMES, OWN, PAIRED, signal

from gspnl import nn as gnn
from gspnl.affinity.kernels import Kernel
from gspnl.errors import InputError


def error_with(*words):
    """Expect an InputError whose message has all these words."""
    return pytest.raises(InputError, match=r"(?s)" + "".join(f"(?=.*{word})" for word in words))


def create(name, **options):
    return gnn.create(name, CHANNELS, **{"inner": 4} | OWN.get(name, {}) | options)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_of_wrong_shape_or_dtype_raise(name):
    block = create(name)
    with error_with("5", str(CHANNELS)):
        block(torch.zeros(2, 5, 3, 3))
    for shape in ((2, CHANNELS), (CHANNELS,), (2, CHANNELS, 2, 2, 2, 2)):
        with error_with(re.escape(str(shape)), "spatial"):
            block(torch.zeros(shape))
    for shape in ((2, CHANNELS, 0), (2, CHANNELS, 3, 0)):
        with error_with("0", "position|spatial|empty"):
            block(torch.zeros(shape))
    for dtype in (torch.int64, torch.uint8, torch.bool):
        with error_with(str(dtype).removeprefix("torch."), "float"):
            block(torch.zeros(2, CHANNELS, 3, 3, dtype=dtype))
    with error_with("ndarray|array"):
        block(signal().numpy())


@pytest.mark.parametrize("name", NAMES)
def test_empty_batch_returns_an_empty_batch(name):
    x = torch.zeros(0, CHANNELS, 3, 3)
    y = create(name).eval()(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype


@pytest.mark.parametrize("name", NAMES)
def test_infinities_of_half_precision_raise(name):
    block = create(name).half().eval()
    x = torch.ones(1, CHANNELS, 3, 3).half()
    assert torch.isfinite(block(x)).all()
    for bad in (float("inf"), float("-inf"), float("nan")):
        x[0, 1, 2, 0] = bad
        with error_with("inf|NaN|nan|finite"):
            block(x)


@pytest.mark.parametrize("inner", [0, -1, 2.5, "4", True])
@pytest.mark.parametrize("name", NAMES)
def test_invalid_inner_width_raises(name, inner):
    with error_with("inner", str(inner)):
        create(name, inner=inner)


@pytest.mark.parametrize("channels", [0, -4, 2.0, "64"])
@pytest.mark.parametrize("name", NAMES)
def test_invalid_channels_raise(name, channels):
    with error_with("channels", str(channels)):
        gnn.create(name, channels)


@pytest.mark.parametrize("name", NAMES)
def test_inner_width_of_one_channel(name):
    """C // 2 = 0 for one channel, and the inner width is 1."""
    own = {k: v for k, v in OWN.get(name, {}).items() if k != "groups"}
    block = gnn.create(name, 1, **own)
    assert block.inner == 1
    assert block(torch.ones(2, 1, 4)).shape == (2, 1, 4)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("snll", "snl"), ("gsln", "gsnl"), ("chebychev", "chebyshev"), ("SNL", "snl"), ("a-2", "a2")],
)
def test_unknown_blocks_suggest_the_nearest(given, nearest):
    words = ("unknown block", given) + ((f"'{nearest}'",) if given != "SNL" else ())
    with error_with(*words):
        gnn.create(given, 64)


@pytest.mark.parametrize("given", [None, 3, ["snl"]])
def test_block_names_of_other_types_raise(given):
    with error_with("block"):
        gnn.create(given, 64)


@pytest.mark.parametrize("name", PAIRED)
def test_unknown_names_suggest_the_nearest(name):
    with error_with("unknown kernel 'dto'", "'dot'"):
        create(name, kernel="dto")
    with error_with("unknown normalization 'random_wlak'", "'random_walk'"):
        create(name, normalization="random_wlak")
    with error_with("unknown feature map 'rleu'", "'relu'"):
        create(name, kernel="dot", normalization="random_walk", feature_map="rleu")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_norms_and_activations_raise(name):
    with error_with("unknown norm 'bacth'", "'batch'"):
        create(name, norm="bacth")
    with error_with("unknown activation 'rleu'", "'relu'"):
        create(name, activation="rleu")
    with error_with("units", "0"):
        create(name, units=0)
    with error_with("units", "1.5"):
        create(name, units=1.5)


NOT_HONOURED = [
    *((name, "order", 3) for name in ("linear", "nl", "ns", "snl", "gsnl", "a2", "cc")),
    *((name, "groups", 2) for name in NAMES if name != "cgnl"),
    *((name, "sub_sample", 2) for name in NAMES if name != "nl"),
    *((name, "kernel", "dot") for name in ("linear", "a2", "cc")),
    *((name, "normalization", "softmax") for name in ("linear", "a2", "cc", "cgnl")),
    *((name, "feature_map", "relu") for name in ("linear", "a2", "cc")),
    *((name, "temperature", 2.0) for name in ("linear", "a2", "cgnl")),
    *((name, "sigma", 2.0) for name in ("linear", "a2", "cc")),
    ("cgnl", "kernel", "embedded_gaussian"),
    ("cgnl", "kernel", "concatenation"),
]


@pytest.mark.parametrize(("name", "option", "value"), NOT_HONOURED)
def test_options_of_invalid_value_raise(name, option, value):
    with error_with(option, name):
        create(name, **{option: value})


def test_order_without_the_taylor_kernel_raises():
    with error_with("order", "rbf"):
        create("cgnl", order=3)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_raise(name):
    with pytest.raises((InputError, TypeError), match="tempo"):
        create(name, tempo=3)


def test_options_of_another_kernel_raise():
    for kernel, option in (
        ("gaussian", {"temperature": 2.0}),
        ("embedded_gaussian", {"sigma": 2.0}),
        ("dot", {"sigma": 2.0}),
        ("rbf", {"feature_map": "relu"}),
        ("dot", {"temperature": 2.0}),
    ):
        with error_with(next(iter(option)), kernel):
            create("snl", kernel=kernel, **option)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "1"])
def test_nonpositive_temperature_and_sigma_raise(value):
    with error_with("temperature"):
        create("nl", temperature=value)
    with error_with("sigma"):
        create("nl", kernel="rbf", sigma=value)


@pytest.mark.parametrize("order", [-1, 2.5, "2"])
def test_invalid_orders_raise(order):
    with error_with("order", str(order)):
        create("chebyshev", order=order)
    with error_with("order", str(order)):
        create("spectral", order=order)
    with error_with("order", str(order)):
        create("cgnl", kernel="rbf", order=order)


def test_orders_without_terms_raise():
    with error_with("order", "0"):
        create("spectral", order=0)


@pytest.mark.parametrize("groups", [0, -1, 3, 1.5])
def test_groups_that_do_not_divide_the_widths_raise(groups):
    with error_with("groups", str(groups)):
        gnn.create("cgnl", 8, inner=4, groups=groups)


@pytest.mark.parametrize("sub_sample", [0, -2, 1.5, "2"])
def test_invalid_sub_sample_raises(sub_sample):
    with error_with("sub_sample", str(sub_sample)):
        create("nl", sub_sample=sub_sample)


@pytest.mark.parametrize("shape", [(1,), (4, 1), (2, 1, 2)])
def test_sub_sample_larger_than_the_map_raises(shape):
    with error_with("sub_sample", "1"):
        create("nl", sub_sample=2)(torch.ones(2, CHANNELS, *shape))


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
def test_sub_sample_with_symmetric_normalization_raises(normalization):
    with error_with("sub_sample", normalization):
        create("nl", sub_sample=2, normalization=normalization)


def test_batch_norm_of_a_single_value_raises():
    """Batch norm in training needs more than one value a channel; torch's own message will do."""
    with pytest.raises(ValueError, match=r"[Ee]xpected more than 1|more than one"):
        create("snl").train()(torch.ones(1, CHANNELS, 1))


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("nl", {"kernel": "gaussian", "embedding": 3}, "embedding"),
        ("snl", {"kernel": "concatenation", "embedding": 3}, "embedding"),
        ("nl", {"storage": "dense"}, "storage"),
        ("snl", {"kernel": "rbf", "storage": "lowrank"}, "storage"),
        ("nl", {"isolated": "zero"}, "isolated"),
        ("nl", {"kernel": "dot", "normalization": "mean", "isolated": "zero"}, "isolated"),
    ],
)
def test_options_without_effect_raise(name, options, word):
    with error_with(word):
        gnn.create(name, 8, **options)


def test_pooled_maps_are_checked_at_their_pooled_size():
    """130² positions of 13² keys are 2.9 million entries, not 285 million."""
    options = {"kernel": "concatenation", "normalization": "mean", "sub_sample": 10}
    x = torch.randn(1, 4, 130, 130)
    assert torch.equal(gnn.create("nl", 4, **options)(x), x)


def test_group_norm_has_several_channels_a_group():
    """With one channel a group, the norm would remove the mean, the mode of λ = 0."""
    for channels, groups in ((8, 2), (32, 8), (48, 12), (64, 16), (256, 32), (7, 1)):
        assert gnn.create("snl", channels, norm="group").stages[0].norm.num_groups == groups


def test_a_block_refuses_a_users_kernel_with_a_false_declaration():
    class Lagged(Kernel):
        def affinity(self, phi, psi):
            gaps = phi[..., :, None, :] - psi[..., None, :, :] - 0.3
            return torch.exp(-(gaps**2).sum(-1))

    block = gnn.create("snl", 4, kernel=Lagged())
    with pytest.raises(InputError, match="Lagged kernel declares that W is symmetric"):
        block(torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0)))


def test_a_users_feature_map_may_act_on_whole_points():
    class Rows(Kernel):
        embedding: ClassVar[str] = "matrices"

        def features(self, points):
            return torch.softmax(points, -1)

    block = gnn.create("snl", 4, kernel=Rows()).double()
    x = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0)).double()
    z = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(1)).double()
    phi, psi = (
        torch.softmax(x @ m.weight.mT, -1) for m in (block.affinity.phi, block.affinity.psi)
    )
    W = (phi @ psi.mT + psi @ phi.mT) / 2
    truth = W / W.sum(-1, keepdim=True) @ z
    assert float((block.affinity(x, (5, 6)).apply(z) - truth).detach().abs().max()) < 1e-12


def test_the_directed_laplacian_belongs_to_graphs():
    with pytest.raises(InputError, match=r"gspnl.feature_graph; use 'random_walk'"):
        gnn.create("snl", 8, normalization="chung")
    with pytest.raises(InputError, match=r"gspnl.feature_graph; use 'random_walk'"):
        gnn.create("nl", 8, normalization="chung", sub_sample=2)
