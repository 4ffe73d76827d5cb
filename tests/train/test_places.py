"""Blocks at the paper's places: positions, shared affinities and inner widths."""

from __future__ import annotations

import copy

import pytest
import torch
from support.train_networks import Layers, preresnet, randomized, resnet
from torch import nn

from gspnl import nn as gnn
from gspnl.errors import InputError
from gspnl.nn.surgery.targets import CHILD
from gspnl.train import backbones

EARLY = {
    "stage1": ("layer1.1",),
    "stage2": ("layer2.1",),
    "stage3": ("layer3.1",),
    "dp3": ("layer1.1", "layer2.1", "layer3.1"),
    "sp3": ("layer1.1",),
    "sp5": ("layer1.1",),
}
LATE = {**EARLY, "stage4": ("layer4.1",), "res4": ("layer3.4",)}
PLACES = {
    "preresnet20": EARLY,
    "preresnet56": EARLY,
    "preresnet56_basic": EARLY,
    "resnet50": LATE,
    "i3d_resnet50": LATE,
}
DOT = {"kernel": "dot", "normalization": "softmax"}  # of nl and ns in the paper's tables


def make(name="preresnet20", width=4):
    torch.manual_seed(0)
    return backbones.create(name, classes=5, width=width)


def images(net, batch=2):
    sizes = (8, 8) if net.dimensions == 2 else (8, 16, 16)
    return torch.randn(batch, 3, *sizes, generator=torch.Generator().manual_seed(1))


def blocks_of(net):
    return {row.name: row for row in gnn.describe(net)}


@pytest.mark.parametrize("name", sorted(backbones.BACKBONES))
def test_places_are_those_of_the_paper(name):
    net = make(name)
    assert net.places == PLACES[name]
    assert net.default_place == ("stage1" if name.startswith("pre") else "res4")
    third = len(net.layer3)
    assert name.startswith("pre") or third == 6  # so layer3.4 comes right before the last
    for where, modules in net.places.items():
        placed = backbones.place(make(name), "snl", where)
        assert tuple(blocks_of(placed)) == modules


@pytest.mark.parametrize(
    ("name", "where"),
    [("preresnet20", where) for where in EARLY] + [("resnet50", "res4"), ("i3d_resnet50", None)],
)
def test_blocks_act_at_their_places(name, where):
    """Compare with the plain function of the network that calls the block at its place."""
    net = randomized(backbones.place(make(name), "snl", where, isolated="zero")).eval()
    x = images(net).double()
    after = {at: getattr(net.get_submodule(at), CHILD) for at in PLACES[name][where or "res4"]}
    layers = Layers(copy.deepcopy(net.state_dict()), after=after)
    function = {
        "preresnet20": lambda: preresnet(x, layers, 3),
        "resnet50": lambda: resnet(x, layers, stride=1, pool=False),
        "i3d_resnet50": lambda: resnet(x, layers, stride=(1, 2, 2)),
    }[name]
    torch.testing.assert_close(net(x), function(), rtol=1e-9, atol=1e-9)
    layers.after = {}
    assert (net(x) - function()).abs().max() > 1e-3  # the block does something


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("block", sorted(gnn.BLOCKS))
@pytest.mark.parametrize("where", ["dp3", "sp3"])
def test_new_blocks_leave_the_scores_bit_identical(block, where, training):
    net = make().train(training)
    x = images(net)
    state = copy.deepcopy(net.state_dict())
    before = net(x)
    net.load_state_dict(state)  # running statistics
    assert backbones.place(net, block, where) is net
    assert torch.equal(net(x), before)


@pytest.mark.parametrize("name", sorted(backbones.BACKBONES))
def test_default_places_leave_the_scores_bit_identical(name):
    net = make(name).eval()
    x = images(net)
    before = net(x)
    assert torch.equal(backbones.place(net, "gsnl")(x), before)


@pytest.mark.parametrize(("where", "units"), [("stage1", 1), ("sp3", 3), ("sp5", 5)])
def test_units_share_one_affinity(where, units):
    net = backbones.place(make(), "gsnl", where)
    block = getattr(net.layer1[1], CHILD)
    calls = {"affinity": 0, "stages": 0}

    def counter(key):
        return lambda *_: calls.__setitem__(key, calls[key] + 1)

    block.affinity.register_forward_hook(counter("affinity"))
    for stage in block.stages:
        stage.register_forward_hook(counter("stages"))
    net(images(net))
    assert calls == {"affinity": 1, "stages": units}


@pytest.mark.parametrize("depth", [2, 9])
def test_the_number_of_units_can_be_chosen(depth):
    assert (
        blocks_of(backbones.place(make(), "ns", "stage2", units=depth))["layer2.1"].units == depth
    )
    assert blocks_of(backbones.place(make(), "ns", "sp3", units=3))["layer1.1"].units == 3


@pytest.mark.parametrize(
    ("reduction", "inner"), [(1, (16, 32, 64)), (2, (8, 16, 32)), (4, (4, 8, 16)), (100, (1, 1, 1))]
)
def test_the_inner_width_follows_the_channels_of_each_place(reduction, inner):
    net = backbones.place(make(width=16), "snl", "dp3", reduction=reduction)
    assert tuple(row.inner for row in gnn.describe(net)) == inner
    assert tuple(row.channels for row in gnn.describe(net)) == (16, 32, 64)


def test_inner_widths_are_those_of_the_paper():
    with torch.device("meta"):
        for name, channels in (("preresnet56", 64), ("resnet50", 1024), ("i3d_resnet50", 1024)):
            row = gnn.describe(backbones.place(backbones.create(name, classes=10), "snl"))[0]
            assert (row.channels, row.inner) == (channels, channels // 2)


def test_inner_overrides_reduction():
    net = backbones.place(make(width=16), "snl", "dp3", inner=5)
    assert [row.inner for row in gnn.describe(net)] == [5, 5, 5]


@pytest.mark.parametrize("block", ["nl", "ns", "cgnl", "a2", "linear", "gsnl"])
def test_match_equals_the_parameters_of_another_block(block):
    """Phi, psi, g and two maps of 16 × 8, and a norm of 32; one more of Cs adds at most 96."""
    options = DOT if block in ("nl", "ns") else {}
    net = backbones.place(make(width=16), block, match="snl", **options)
    assert abs(blocks_of(net)["layer1.1"].parameters - (5 * 16 * 8 + 32)) <= 48


def test_options_reach_the_block():
    net = backbones.place(make(), "chebyshev", "stage3", order=4, norm="none")
    config = getattr(net.layer3[1], CHILD).config
    assert (config["order"], config["norm"]) == (4, "none")


def test_the_backbone_weights_do_not_depend_on_the_block():
    bare = make().state_dict()
    for block in ("snl", "cgnl"):
        placed = backbones.place(make(), block, "dp3").state_dict()
        assert all(torch.equal(placed[key], value) for key, value in bare.items())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("snl", "stage4"), "no place 'stage4'; did you mean 'stage"),
        (("snl", "dp4"), "did you mean 'dp3'? Available: stage1, stage2"),
        (("snl", "res4"), "no place 'res4'"),
        (("snl", 1), "no place 1"),
        (("snk", "stage1"), "did you mean 'snl'"),
        (("snl", "stage1", {"reduction": 0}), "reduction=0 must be a whole number"),
        (("snl", "stage1", {"reduction": 2.0}), "reduction=2.0 must be a whole number"),
        (("snl", "stage1", {"units": 0}), "units=0 must be a whole number"),
        (("snl", "sp3", {"units": 0}), "units=0 must be a whole number"),
        (("snl", "sp3", {"units": 5}), "use where='stage1' with units=5"),
        (("snl", "stage1", {"order": 3}), "no option 'order'"),
        (("nl", "stage1", {"match": "snl", "reduction": 4}), "reduction=4 cannot be kept"),
        (("nl", "stage1", {"match": "snl", "inner": 4}), "inner=4 was given too"),
        (("cgnl", "dp3", {"groups": 3}), "groups=3 does not divide"),
    ],
)
def test_wrong_placements_are_refused_and_change_nothing(arguments, said):
    block, where, *options = arguments
    net = make()
    keys = list(net.state_dict())
    with pytest.raises(InputError) as error:
        backbones.place(net, block, where, **(options[0] if options else {}))
    assert said in str(error.value)
    assert list(net.state_dict()) == keys


def test_a_place_takes_one_block():
    net = backbones.place(make(), "snl", "stage2")
    with pytest.raises(InputError, match=r"a block follows 'layer2\.1' already"):
        backbones.place(net, "snl", "dp3")
    assert list(blocks_of(net)) == ["layer2.1"]


def test_other_networks_are_referred_to_insert():
    with pytest.raises(InputError, match=r"gspnl\.nn\.insert puts blocks into any network"):
        backbones.place(nn.Linear(2, 2), "snl")
