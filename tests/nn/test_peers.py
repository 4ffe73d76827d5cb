"""Blocks rebuilt from checkpoints of other codes give their outputs and input gradients."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support import nn_peers as peers  # noqa: E402
from support import nn_peers_libraries as libraries  # noqa: E402

from gspnl import nn as gnn  # noqa: E402
from gspnl.nn.checkpoints.peers import SOURCES  # noqa: E402

SPATIAL = {1: (6,), 2: (4, 6), 3: (2, 5, 4)}
C, S = 12, 4


def randomize(module, seed=0):
    """Convert the peer to float64, with random weights and running statistics."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    state = {
        key: torch.tensor(17)
        if key.endswith("num_batches_tracked")
        else 0.4 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for key, value in module.state_dict().items()
    }
    state = {key: v.exp() if key.endswith("running_var") else v for key, v in state.items()}
    module.load_state_dict(state)
    return module


def signal(dim, channels=C, seed=1, batch=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, *SPATIAL[dim], generator=generator, dtype=torch.float64)


def with_gradient(module, x):
    """Return the output, and the input gradient of a loss with a weight for each entry."""
    x = x.clone().requires_grad_()
    y = module(x)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    (slope,) = torch.autograd.grad((weights * y).sum(), x)
    return y.detach(), slope


def assert_same(block, peer, x):
    """Compare outputs and input gradients in evaluation, in training and after it.

    1e-10 of the largest entry: both sum some hundred float64 terms in different orders, which costs
    1e-13; a batch norm over few positions may cost three digits more.
    """
    for train in (False, True, False):  # the third also compares the running statistics
        block.train(train)
        peer.train(train)
        for ours, theirs in zip(with_gradient(block, x), with_gradient(peer, x), strict=True):
            assert ours.dtype == theirs.dtype
            assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max()


def parameters_without_gradient(block, x):
    """Return the parameters that a loss gives no gradient."""
    block.train()
    (block(x) ** 3).sum().backward()
    return [name for name, p in block.named_parameters() if p.grad is None]


STAGED = {"channels": C, "inner": S}
CASES = {
    **{
        f"2019 {kind} {dim}d x{units} {activation}": (
            partial(peers.snl_2019, kind, C, S, units=units, dim=dim, relu=activation is not None),
            ("snl-2019", {"activation": activation}),
        )
        for kind in ("snl", "gsnl")
        for dim, units, activation in ((1, 1, None), (2, 1, None), (2, 3, "relu"), (3, 2, None))
    },
    **{
        f"2021 {kind} {dim}d x{units}": (
            partial(peers.snl_2021, kind, C, S, units=units, dim=dim),
            ("snl-2021", {} if kind == "snl" else {"block": kind}),
        )
        for kind in ("snl", "nl", "ns")
        for dim, units in ((1, 1), (2, 1), (2, 3), (3, 2))
    },
    **{
        f"cgnl {dim}d groups {groups} order {order}": (
            partial(peers.CGNL, C, S, groups=groups, order=order, dim=dim),
            ("cgnl-2018", {"groups": groups, "order": order}),
        )
        for dim, groups, order in (
            (1, 1, None),
            (2, 1, None),
            (2, 4, None),
            (2, 1, 1),
            (2, 2, 3),
            (3, 2, None),
        )
    },
    **{
        f"cgnl's nl {dim}d scale {scale}": (
            partial(peers.CGNLsNL, C, S, scale=scale is True, dim=dim),
            ("cgnl-2018", {"scale": scale}),
        )
        for dim, scale in ((1, None), (2, None), (2, True), (3, True))
    },
    **{
        f"nonlocal-pytorch {mode} {dim}d pooled {pooled} norm {norm}": (
            partial(
                libraries.NONLocalBlock, C, S, mode=mode, sub_sample=pooled, norm=norm, dim=dim
            ),
            ("nonlocal-pytorch", {"mode": mode}),
        )
        for mode in libraries.MODES
        for dim, pooled, norm in (
            (1, False, True),
            (1, True, False),
            (2, False, False),
            (2, True, True),
            (3, False, True),
            (3, True, True),
        )
    },
    **{
        f"mmcv {mode} {dim}d pooled {pooled} norm {norm}": (
            partial(
                libraries.NonLocalNd,
                C,
                reduction=reduction,
                mode=mode,
                sub_sample=pooled,
                norm=norm,
                dim=dim,
            ),
            ("mmcv", {"mode": mode}),
        )
        for mode in libraries.MODES
        for dim, pooled, norm, reduction in (
            (1, True, True, 3),
            (2, False, False, 2),
            (2, True, False, 1),
            (3, True, True, 2),
        )
    },
    "mmcv without scale": (
        partial(libraries.NonLocalNd, C, use_scale=False),
        ("mmcv", {"scale": False}),
    ),
    "cc": (partial(libraries.CrissCrossAttention, C, 3), ("cc", {})),
}


def dimensions(make):
    """Return the number of spatial dimensions."""
    return make.keywords.get("dim", 2)


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_match_the_peer(case):
    make, (source, options) = CASES[case]
    peer = randomize(make())
    before = {key: value.clone() for key, value in peer.state_dict().items()}
    block = gnn.from_peer(peer.state_dict(), source=source, **options)
    x = signal(dimensions(make))
    assert_same(block, peer, x)
    assert parameters_without_gradient(block, x) == []
    # The weights are copied: training the block leaves the peer's unchanged.
    weights = {name for name, _ in peer.named_parameters()}
    assert all(torch.equal(peer.state_dict()[name], before[name]) for name in weights)


@pytest.mark.parametrize("pooled", [False, True])
def test_concatenation_on_2162_positions(pooled):
    """Above 2048 positions the concatenation kernel uses sorting."""
    peer = randomize(libraries.NONLocalBlock(C, S, mode="concatenation", sub_sample=pooled)).eval()
    block = gnn.from_peer(peer.state_dict(), "nonlocal-pytorch").eval()
    x = torch.randn(1, C, 47, 46, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for ours, theirs in zip(with_gradient(block, x), with_gradient(peer, x), strict=True):
        assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max()


def test_isolated_positions_of_the_second_release_have_zero_rows():
    """Negative features give zeros after ReLU, and so rows of A that are zero."""
    peer = randomize(peers.snl_2021("snl", C, S))
    with torch.no_grad():
        peer.t.weight.abs_()
        peer.p.weight.abs_()
    x = signal(2)
    x[:, :, 1:3] = -x[:, :, 1:3].abs()
    degrees = peer.affinity(x).sum(-1)
    assert (degrees == 0).sum() >= 3 * 12
    assert (degrees > 0).any()
    block = gnn.from_peer(peer.state_dict(), "snl-2021")
    assert_same(block, peer, x)


def test_pooling_drops_incomplete_windows():
    peer = randomize(libraries.NONLocalBlock(C, S, sub_sample=True))
    x = torch.randn(2, C, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_same(gnn.from_peer(peer.state_dict(), "nonlocal-pytorch"), peer, x)


def test_modes_are_read_from_the_keys():
    for mode in ("gaussian", "concatenation", "embedded_gaussian"):
        for source, make in (
            ("nonlocal-pytorch", partial(libraries.NONLocalBlock, C, S)),
            ("mmcv", partial(libraries.NonLocalNd, C)),
        ):
            peer = randomize(make(mode=mode))
            assert_same(gnn.from_peer(peer.state_dict(), source), peer, signal(2))


def test_groups_units_and_widths_are_read_from_keys_and_shapes():
    block = gnn.from_peer(randomize(peers.CGNL(C, S, groups=2)).state_dict(), "cgnl-2018")
    assert (block.config["groups"], block.config["inner"], block.channels) == (2, S, C)
    block = gnn.from_peer(randomize(peers.snl_2019("snl", C, S, units=3)).state_dict(), "snl-2019")
    assert block.config["units"] == 3
    block = gnn.from_peer(randomize(libraries.CrissCrossAttention(C, 2)).state_dict(), "cc")
    assert block.affinity.phi.weight.shape == (2, C)


@pytest.mark.parametrize("case", ["2021 snl 2d x3", "cgnl's nl 2d scale True", "cc"])
def test_a_rebuilt_block_can_be_created_from_its_configuration(case):
    make, (source, options) = CASES[case]
    block = gnn.from_peer(randomize(make()).state_dict(), source, **options).eval()
    again = gnn.create(**block.config).double().eval()
    again.load_state_dict(block.state_dict())
    x = signal(dimensions(make))
    assert torch.equal(again(x), block(x))


def test_numpy_arrays_give_the_same_block():
    peer = randomize(peers.snl_2019("gsnl", C, S, units=2))
    arrays = {key: value.numpy().copy() for key, value in peer.state_dict().items()}
    arrays["t.weight"] = arrays["t.weight"].astype(">f8")  # another byte order
    arrays["p.weight"] = np.asfortranarray(arrays["p.weight"])
    arrays["stages.1.g.weight"].flags.writeable = False  # as np.load(mmap_mode="r") gives
    block = gnn.from_peer(arrays, "snl-2019")
    assert_same(block, peer, signal(2))
    arrays["stages.0.g.weight"][:] = 0  # copied, not shared
    assert not (block.stages[0].g.weight == 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes_are_kept(dtype):
    peer = randomize(libraries.NONLocalBlock(C, S, mode="concatenation", sub_sample=False)).to(
        dtype
    )
    block = gnn.from_peer(peer.state_dict(), "nonlocal-pytorch")
    wide = torch.float32  # of norms
    for name, parameter in block.named_parameters():
        assert parameter.dtype == (wide if "norm" in name else dtype)
    if dtype == torch.float32:  # about a hundred roundings
        x = signal(2).float()
        assert torch.allclose(block.eval()(x), peer.eval()(x), rtol=1e-5, atol=1e-5)


def test_mixed_dtypes_give_the_widest():
    state = randomize(peers.snl_2019("snl", C, S)).state_dict()
    state = {k: v.half() if v.ndim == 4 else v.float() for k, v in state.items() if v.ndim}
    block = gnn.from_peer(state, "snl-2019")
    assert {p.dtype for p in block.parameters()} == {torch.float32}


def test_checkpoints_without_the_counter_of_batch_norm():
    peer = randomize(peers.snl_2021("nl", C, S))
    state = {k: v for k, v in peer.state_dict().items() if "num_batches_tracked" not in k}
    block = gnn.from_peer(state, "snl-2021", block="nl")
    assert block.stages[0].norm.num_batches_tracked == 0
    assert_same(block, peer, signal(2))


@pytest.mark.parametrize("shared", ["module.", "module.layer3.5.", "nl.1.", "t.", "g."])
def test_a_shared_prefix_is_removed(shared):
    for make, source in (
        (partial(peers.snl_2019, "snl", C, S), "snl-2019"),
        (partial(libraries.NONLocalBlock, C, S, mode="gaussian"), "nonlocal-pytorch"),
        (partial(libraries.CrissCrossAttention, C, 2), "cc"),
    ):
        peer = randomize(make())
        state = {shared + key: value for key, value in peer.state_dict().items()}
        assert_same(gnn.from_peer(state, source), peer, signal(2))


def test_prefix_selects_a_block_of_a_network():
    network = torch.nn.ModuleDict(
        {
            "stem": torch.nn.Conv2d(3, C, 3),
            "one": peers.snl_2019("snl", C, S),
            "two": peers.snl_2019("snl", C, 2),
        }
    )
    randomize(network)
    for prefix in ("two.", "two"):
        block = gnn.from_peer(network.state_dict(), "snl-2019", prefix=prefix)
        assert_same(block, network["two"], signal(2))


def test_the_cases_cover_every_source_and_option():
    assert {source for _, (source, _) in CASES.values()} == set(SOURCES)
    named = set(inspect.signature(gnn.from_peer).parameters)
    named -= {"state_dict", "source", "prefix", "key"}
    assert named == {name for source in SOURCES for name in SOURCES[source].options}
