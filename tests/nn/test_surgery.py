"""Insertion of blocks: unchanged outputs, removal, copies, compilation, training, errors."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from gspnl import nn as gnn
from gspnl.errors import InputError


class BasicBlock(nn.Module):
    """The block of torchvision's ResNet: one ReLU called twice, and a downsample."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        x = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(y)) + x)


class ResNet(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.layer1 = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))
        self.layer2 = nn.Sequential(BasicBlock(8, 12, 2), BasicBlock(12, 12))
        self.fc = nn.Linear(12, classes)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))


TARGETS = {"layer1.0": "snl", "layer1": "nl", "layer2.0.conv1": ("gsnl", {"units": 2}),
          "layer2.0.downsample": "snl", "stem": "snl"}  # fmt: skip
FOLLOWED = ["stem.2", "layer1.0", "layer1.1", "layer2.0.conv1", "layer2.0.downsample.1"]


@pytest.fixture
def x():
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net():
    torch.manual_seed(1)
    return with_random_statistics(ResNet()).eval()


def with_random_statistics(net):
    """Set random running statistics, as after training."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net


def activate(net):
    """Draw random weights for every block: a new one is the identity."""
    for block in blocks_of(net):
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.3)
    return net


def blocks_of(net):
    return [module for module in net.modules() if isinstance(module, gnn.Block)]


def snapshot(net):
    """State, modes, hooks and attributes of a network."""
    state = {key: value.clone() for key, value in net.state_dict().items()}
    parts = {
        name: (type(m), m.training, sorted(vars(m)), list(m._modules), dict(m._forward_hooks))
        for name, m in net.named_modules()
    }
    return state, parts


def equal_snapshots(one, other):
    return (
        one[1] == other[1]
        and list(one[0]) == list(other[0])
        and all(torch.equal(one[0][key], other[0][key]) for key in one[0])
    )


@pytest.mark.parametrize("example", [False, True])
def test_new_blocks_change_no_output_and_no_tensor(net, x, example):
    before, state = net(x), net.state_dict()
    result = gnn.insert(net, TARGETS, example=x if example else None, inner=3)
    assert result is net
    assert torch.equal(net(x), before)
    after = net.state_dict()
    assert [key for key in after if "nonlocal_" not in key] == list(state)
    assert all(after[key].data_ptr() == state[key].data_ptr() for key in state)
    new = {key.partition(".nonlocal_.")[0] for key in after if key not in state}
    assert new == set(FOLLOWED)
    assert [row.name for row in gnn.describe(net)] == FOLLOWED
    net.train()
    plain = with_random_statistics(ResNet()).train()
    plain.load_state_dict({key: after[key] for key in state})
    assert torch.equal(net(x), plain(x))  # in training mode too


def test_the_block_is_applied_to_the_output_of_its_module(net, x):
    """Compared with the same network written with the blocks in its forward."""
    activate(gnn.insert(net, {"layer1": "snl", "layer2.0.conv1": "nl"}))
    after, inside = (net.get_submodule(n).nonlocal_ for n in ("layer1.1", "layer2.0.conv1"))
    plain = gnn.remove(copy.deepcopy(net))
    y = after(plain.layer1(plain.stem(x)))
    first = plain.layer2[0]
    skip = first.downsample(y)
    y = torch.relu(first.bn1(inside(first.conv1(y))))
    y = torch.relu(first.bn2(first.conv2(y)) + skip)
    truth = plain.fc(plain.layer2[1](y).mean((2, 3)))
    assert torch.equal(net(x), truth)
    assert not torch.allclose(net(x), plain(x), rtol=1e-2)


def test_remove_restores_the_network(net, x):
    before = snapshot(net)
    gnn.insert(net, TARGETS)
    middle = snapshot(net)
    assert not equal_snapshots(before, middle)
    gnn.insert(net, {"layer2.1": "snl"})
    assert gnn.remove(net, "layer2") is net  # its last child
    assert equal_snapshots(snapshot(net), middle)
    gnn.remove(net)
    assert equal_snapshots(snapshot(net), before)
    gnn.remove(net)  # no blocks left
    assert equal_snapshots(snapshot(net), before)
    assert len(gnn.describe(net)) == 0
    assert str(gnn.describe(net)) == "no blocks"


def test_other_hooks_are_kept(net, x):
    seen = []
    net.layer1[0].register_forward_hook(lambda *a: seen.append("old"))
    before = snapshot(net)
    gnn.insert(net, {"layer1.0": "snl"}, example=x)
    seen.clear()
    net(x)
    assert seen == ["old"]
    gnn.remove(net)
    assert equal_snapshots(snapshot(net), before)


def test_running_the_example_changes_nothing(net, x):
    class Counting(nn.Module):
        """Buffers that change in evaluation mode too, in place and by assignment."""

        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(()))

        def forward(self, x):
            assert not self.training
            self.calls += 1
            self.last = x.mean() + torch.rand(())
            return x

    net = nn.Sequential(Counting(), nn.Dropout(), net)
    net[0].train()
    net[1].train()
    before, block = snapshot(net), gnn.create("snl", 8)
    random = torch.get_rng_state()
    for example in (x, (x,), {"input": x}):
        gnn.insert(net, {"2.layer1": block}, example=example)
        assert torch.equal(torch.get_rng_state(), random)
        gnn.remove(net)
        assert equal_snapshots(snapshot(net), before)


def invalid_insertions(net):
    return [
        ({"layer1.0": "snl", "layer3.1": "snl"}, {}, r"no module 'layer3.1'; did you mean 'layer."),
        ({"layer1.0": "snl", "zzz": "snl"}, {}, "it has 'stem', 'layer1', 'layer2', 'fc'"),
        ({"layer1.0": "snl", 3: "snl"}, {}, "no module 3"),
        ({"layer1.0": "snl", "fc": "snl"}, {}, "they end in a Linear.*example="),
        ({"layer1.0": "snl", "layer1.1": "sln"}, {}, "sln"),
        ({"layer1.0": "snl", "layer1.1": ("snl", {"inner": 0})}, {}, "inner"),
        ({"layer1.0": "snl", "layer1.1": 3}, {}, "a name, a name with its options"),
        ({"layer1.0": "snl", "layer1.1": ("snl",)}, {}, "a name, a name with its options"),
        ({"layer1.0": "snl", "layer1.1": ("snl", 3)}, {}, "a name, a name with its options"),
        ({"layer1.0": "snl", "layer1.1": nn.ReLU()}, {}, "a name, a name with its options"),
        ({"layer1.1": "snl", "layer1": "nl"}, {}, "the same place"),
        ({"layer2.1": "snl", "layer1.1.relu": "nl"}, {}, "example="),
        ({}, {}, "must map names"),
        ("layer1.0", {}, "must map names"),
        ({"layer1.0": gnn.create("snl", 8)}, {"inner": 3}, "made already"),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(15))
def test_a_failed_insertion_changes_nothing(net, case):
    blocks, options, message = invalid_insertions(net)[case]
    before = snapshot(net)
    with pytest.raises(InputError, match=message):
        gnn.insert(net, blocks, **options)
    assert equal_snapshots(snapshot(net), before)


def test_errors_that_need_an_example(net, x):
    shared = gnn.create("snl", 8)
    before = snapshot(net)
    for blocks, message in [
        ({"stem": "snl", "layer1.0.relu": "snl"}, "called 2 times"),
        ({"stem": "snl", "fc": "snl"}, r"shape \(2, 5\)"),
        ({"stem": shared, "layer1.0": shared}, "in use already"),
        ({"stem": "snl", "layer2": shared}, "gives 12 channels, and the block for it takes 8"),
    ]:
        with pytest.raises(InputError, match=message):
            gnn.insert(net, blocks, example=x)
        assert equal_snapshots(snapshot(net), before)
    for example, message in [(x[:, :2], "does not pass"), ([x], "example must be")]:
        with pytest.raises(InputError, match=message):
            gnn.insert(net, {"stem": "snl"}, example=example)
        assert equal_snapshots(snapshot(net), before)
    gnn.insert(net, {"layer1.0.bn2": "snl"}, example=x)
    assert net.layer1[0].bn2.nonlocal_.channels == 8


def test_a_second_block_after_a_module_is_refused(net):
    gnn.insert(net, {"layer1": "snl"})
    before = snapshot(net)
    with pytest.raises(InputError, match=r"follows 'layer1.1' already \('snl'\); remove it first"):
        gnn.insert(net, {"layer1.1": "nl"})
    with pytest.raises(InputError, match="in use already"):
        gnn.insert(net, {"layer2": net.layer1[1].nonlocal_})
    with pytest.raises(InputError, match=r"no module 'layer1.1.nonlocal_"):
        gnn.insert(net, {"layer1.1.nonlocal_": "nl"})
    with pytest.raises(InputError, match=r"no module 'layer1.1.nonlocal_.stages.0"):
        gnn.insert(net, {"layer1.1.nonlocal_.stages.0": "nl"})
    with pytest.raises(InputError, match=r"no block follows 'layer1.0'; blocks follow 'layer1.1'"):
        gnn.remove(net, "layer1.0")
    assert equal_snapshots(snapshot(net), before)


class Listed(nn.ModuleList):
    pass


class Dense(nn.Sequential):
    """A Sequential with a forward of its own, as torchvision's ASPPPooling."""

    def forward(self, x):
        for child in self:
            x = x + child(x)
        return x


class Looping(nn.Module):
    """Calls all its children, inserted ones included."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


def test_lists_shared_and_unused_modules(x):
    conv = nn.Conv2d(3, 3, 1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.items = Listed([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)])
            self.named = nn.ModuleDict({"a": nn.Conv2d(3, 3, 1)})
            self.dense = Dense(nn.Conv2d(3, 3, 1))
            self.looping = Looping()
            self.one, self.other = conv, nn.Sequential(nn.ReLU(), conv)
            self.nothing = nn.Sequential()
            self.deep = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.ReLU())))
            self.unused = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            for item in self.items:
                x = item(x)
            x = self.nothing(self.dense(self.named["a"](x)))
            x = torch.nn.functional.conv2d(x, self.unused.weight)
            return self.deep(self.other(self.one(self.looping(x))))

    net = Net()
    before = snapshot(net)
    for name, message in [
        ("items", "name one of its children, as 'items.1'"),
        ("named", "name one of its children, as 'named.a'"),
        ("dense", "is a Dense whose children are called by other code.*holds it, ''"),
        ("one", r"one module under 2 names \('one', 'other.1'\)"),
        ("other", r"one module under 2 names \('one', 'other.1'\)"),
        ("nothing", "empty Sequential"),
        ("looping", "'looping.nonlocal_' is called 2 times"),
        ("unused", "is not called when the network runs"),
    ]:
        with pytest.raises(InputError, match=message):
            gnn.insert(net, {"looping.one": "snl", name: "snl"}, example=x)
        assert equal_snapshots(snapshot(net), before)
    y = net(x)
    gnn.insert(net, {"deep": "snl", "items.0": "snl", "dense.0": "snl"}, example=x)
    assert [row.name for row in gnn.describe(net)] == ["items.0", "dense.0", "deep.0.1.0"]
    assert torch.equal(net(x), y)
    gnn.remove(net, "deep")
    assert len(gnn.describe(net)) == 2


def test_a_block_after_the_whole_network(x):
    net = Looping()
    with pytest.raises(InputError, match="is called 2 times"):
        gnn.insert(net, {"": "snl"}, example=x)
    net = BasicBlock(3, 3).eval()
    y = net(x)
    gnn.insert(net, {"": "snl"}, example=x)
    assert torch.equal(net(x), y)
    assert {key.split(".")[0] for key in net.state_dict()} >= {"nonlocal_", "conv1"}
    assert gnn.describe(net)[0].name == ""
    gnn.remove(net, "")
    assert "nonlocal_" not in dict(net.named_children())


class Tokens(nn.Module):
    """A transformer's layer: (B, N, C)."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 12), nn.GELU(), nn.Linear(12, channels))

    def forward(self, x):
        return x + self.mlp(self.norm(x))


class Channels(nn.Module):
    """Linear layers between permutations of the axes, as a block of ConvNeXt."""

    def __init__(self, channels):
        super().__init__()
        self.tokens = Tokens(channels)

    def forward(self, x):
        return self.tokens(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Pair(nn.Conv2d):
    def forward(self, x):
        return super().forward(x), x


def test_outputs_without_channels_on_the_second_axis_are_refused(x):
    tokens = nn.Sequential(Tokens(8))
    for example in (None, torch.ones(2, 5, 8)):
        with pytest.raises(InputError, match=r"Linear"):
            gnn.insert(tokens, {"0.mlp": "snl"}, example=example)
    with pytest.raises(InputError, match=r"Linear"):
        gnn.insert(tokens, {"0": "snl"})
    with pytest.raises(InputError, match=r"last axis holds its channels"):
        gnn.insert(tokens, {"0.mlp": "snl"}, example=torch.ones(2, 5, 8))
    inner = nn.Sequential(Channels(3))
    with pytest.raises(InputError, match=r"last axis"):
        gnn.insert(inner, {"0.tokens": "snl"}, example=x)
    gnn.insert(inner, {"0": "snl"}, example=x)
    with pytest.raises(InputError, match="gives a tuple"):
        gnn.insert(nn.Sequential(Pair(3, 4, 1)), {"0": "snl"}, example=x)
    with pytest.raises(InputError, match=r"shape \(2, 3, 0, 0\)"):
        gnn.insert(nn.Sequential(nn.AdaptiveAvgPool2d(0)), {"0": "snl"}, example=x)
    guess = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2)))
    with pytest.raises(InputError, match="PixelShuffle"):
        gnn.insert(guess, {"0": "snl"})
    gnn.insert(guess, {"0": "snl"}, example=x)
    assert gnn.describe(guess)[0].channels == 2


def test_channels_come_from_the_nearest_previous_layer():
    net = nn.Sequential(nn.Conv1d(2, 8, 1), nn.Conv1d(8, 4, 1), nn.Sequential(nn.ReLU(), nn.Tanh()))
    gnn.insert(net, {"2.0": "snl", "2": "nl"})
    assert [row.channels for row in gnn.describe(net)] == [4, 4]
    with pytest.raises(InputError, match=r"no convolution or norm is there"):
        gnn.insert(nn.Sequential(nn.ReLU(), nn.Conv1d(2, 8, 1)), {"0": "snl"})


def test_options_of_one_block_override_the_common_ones():
    net = nn.Sequential(nn.Conv1d(2, 8, 1), nn.Conv1d(8, 8, 1))
    gnn.insert(net, {"0": ("snl", {"inner": 3}), "1": "nl"}, inner=5, units=2)
    assert [(row.inner, row.units) for row in gnn.describe(net)] == [(3, 2), (5, 2)]


def test_wrong_channels_raise_at_the_first_forward(x):
    class Cut(nn.Conv2d):
        def forward(self, x):
            return super().forward(x)[:, :2]

    net = gnn.insert(nn.Sequential(Cut(3, 8, 1)), {"0": "snl"})
    with pytest.raises(InputError, match="8"):
        net(x)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_one_to_three_spatial_dimensions(dims):
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1]
    turn = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
    net = nn.Sequential(
        nn.Sequential(conv(2, 6, 3), norm(6), nn.PReLU(6)),
        turn(6, 4, 2),
        nn.GroupNorm(2, 4),
        conv(4, 3, 1),
    )
    x = torch.randn(2, 2, *(5, 6, 7)[:dims])
    y = net.eval()(x)
    names = {"0": "snl", "1": "nl", "2": "snl", "3": "gsnl"}
    gnn.insert(net, names)
    assert [row.channels for row in gnn.describe(net)] == [6, 4, 4, 3]
    assert torch.equal(net(x), y)
    gnn.insert(gnn.remove(net), names, example=x)
    assert [row.channels for row in gnn.describe(net)] == [6, 4, 4, 3]
    activate(net)(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_timm_network():
    timm = pytest.importorskip("timm", exc_type=ImportError)
    net = timm.create_model("resnet18").eval()
    x = torch.randn(1, 3, 32, 32)
    y = net(x)
    gnn.insert(net, {"layer2.1": "snl", "layer3": "nl"}, example=x)
    assert torch.equal(net(x), y)


def test_blocks_take_dtype_device_and_mode_of_their_module(net, x):
    net.double()
    net.layer1.half()
    net.layer1[0].train()
    net.layer2.to("meta")
    gnn.insert(net, {"layer1.0": "snl", "layer1.1.relu": gnn.create("snl", 8), "stem": "snl",
                     "layer2.0": "snl"})  # fmt: skip
    one, two, three = (
        net.get_submodule(n).nonlocal_ for n in ("layer1.0", "layer1.1.relu", "stem.2")
    )
    assert next(one.parameters()).dtype == next(two.parameters()).dtype == torch.float16
    assert next(three.parameters()).dtype == torch.float64
    assert [one.training, two.training, three.training] == [True, False, False]
    assert all(p.is_meta for p in net.layer2[0].nonlocal_.parameters())
    net.layer2 = nn.Identity()
    gnn.remove(net.to(torch.bfloat16))
    gnn.insert(net, {"layer1": "snl"}).float().train()
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert net.layer1[1].nonlocal_.stages[0].norm.training


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_copied_and_pickled_networks_keep_their_blocks(net, x, way):
    activate(gnn.insert(net, TARGETS))
    y = net(x)
    if way == "deepcopy":
        other = copy.deepcopy(net)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(net))
    else:
        buffer = io.BytesIO()
        torch.save(net, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    assert torch.equal(other(x), y)
    gnn.remove(other)
    assert not torch.allclose(other(x), y, rtol=1e-2)
    assert torch.equal(net(x), y)  # the copy has its own hooks and blocks
    activate(gnn.insert(other, {"layer1.0": "snl"}))
    assert torch.equal(net(x), y)


def test_hooks_on_an_unpickled_network_do_not_replace_the_block(net, x, monkeypatch):
    """Hook numbers start at 0 in a new process; the block's number must stay reserved."""
    activate(gnn.insert(net, {"stem.0": "snl"}))
    y, content = net(x), pickle.dumps(net)
    monkeypatch.setattr(torch.utils.hooks.RemovableHandle, "next_id", 0)
    other = pickle.loads(content)
    for _ in range(1000):
        other.stem[0].register_forward_hook(lambda module, args, output: None)
    assert torch.equal(other(x), y)


def test_state_dicts_load_with_and_without_blocks(net, x):
    activate(gnn.insert(net, TARGETS))
    fresh = gnn.insert(ResNet().eval(), TARGETS)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(x), net(x))
    bare = ResNet()
    missing, unexpected = bare.load_state_dict(net.state_dict(), strict=False)
    assert not missing
    assert all("nonlocal_" in key for key in unexpected)


def test_training_moves_every_parameter(net, x):
    gnn.insert(net.train(), TARGETS)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    before = {name: p.clone() for name, p in net.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()
    assert [n for n, p in net.named_parameters() if torch.equal(p, before[n])] == []


def test_compiled_networks_give_the_same_outputs(net, x):
    activate(gnn.insert(net, {"layer1": "snl", "layer2.0.conv1": "nl"}))
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own warnings
def test_inductor_gives_the_same_outputs():
    net = nn.Sequential(nn.Conv1d(2, 4, 1), nn.ReLU()).eval()
    activate(gnn.insert(net, {"0": ("snl", {"inner": 2})}))
    x = torch.randn(2, 2, 5)
    with torch.no_grad():
        assert torch.allclose(torch.compile(net, fullgraph=True)(x), net(x), rtol=1e-5, atol=1e-5)


def test_compiled_training_gives_the_same_gradients(net):
    """Compiled by AOTAutograd."""
    net = activate(gnn.insert(net, {"layer1": "snl"})).layer1
    x = torch.randn(2, 8, 4, 4)
    net(x).square().sum().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    torch.compile(net, fullgraph=True, backend="aot_eager")(x).square().sum().backward()
    for p, gradient in zip(net.parameters(), gradients, strict=True):
        assert torch.allclose(p.grad, gradient, rtol=1e-4, atol=1e-4)


def test_insert_and_remove_drop_compiled_code(net, x):
    compiled = torch.compile(net, backend="eager")
    before = compiled(x)
    block = gnn.create("snl", 8)
    gnn.insert(net, {"layer1": block})
    activate(net)
    assert torch.allclose(compiled(x), net(x), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(compiled(x), before, rtol=1e-2)
    gnn.remove(net)
    assert torch.allclose(compiled(x), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strict", [True, False])
def test_exported_networks_give_the_same_outputs(net, x, strict):
    activate(gnn.insert(net, {"layer1": "snl", "layer2.0.conv1": "nl"}))
    program = torch.export.export(net, (x,), strict=strict)
    assert torch.allclose(program.module()(x), net(x), rtol=1e-5, atol=1e-5)
    assert set(program.state_dict) == set(net.state_dict())


def test_fx_traces_give_the_same_outputs(net, x):
    activate(gnn.insert(net, {"layer2.0.conv1": "snl"}))
    graph = torch.fx.symbolic_trace(net)
    assert torch.allclose(graph(x), net(x), rtol=1e-5, atol=1e-5)


def test_activation_checkpointing_gives_the_same_gradients(net, x):
    from torch.utils.checkpoint import checkpoint

    activate(gnn.insert(net, {"layer1.0": "snl"}))
    y = net.stem(x)
    net.layer1[0](y).sum().backward()
    gradients = [p.grad.clone() for p in net.layer1.parameters() if p.grad is not None]
    net.zero_grad()
    checkpoint(net.layer1[0], net.stem(x), use_reentrant=False).sum().backward()
    again = [p.grad for p in net.layer1.parameters() if p.grad is not None]
    assert len(again) == len(gradients) > 6
    assert all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(again, gradients, strict=True))


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated
@pytest.mark.parametrize("wrapped", ["compile", "script", "type"])
def test_wrapped_models_are_refused(x, wrapped):
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    if wrapped == "script":
        net = nn.Sequential(torch.jit.trace(net, x))
    elif wrapped == "compile":
        net = torch.compile(net, backend="eager")
    else:
        net = net.state_dict()
    for verb in (lambda: gnn.insert(net, {"0": "snl"}), lambda: gnn.remove(net)):
        with pytest.raises(InputError, match=r"wrapped|must be a torch.nn.Module"):
            verb()


PARALLEL = """
import sys, torch, torch.distributed as dist, torch.multiprocessing as mp
from torch import nn
from gspnl import nn as gnn

def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 1))
    gnn.insert(net, {"0": ("snl", {"norm": "none"}), "2": ("nl", {"norm": "none"})})
    for p in net.parameters():
        nn.init.normal_(p, std=0.3)
    return net

def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    x = torch.randn(4, 2, 7, generator=torch.Generator().manual_seed(1))
    plain = network()
    plain(x).square().mean().backward()
    net = nn.parallel.DistributedDataParallel(network())
    net(x[2 * rank:2 * rank + 2]).square().mean().backward()
    for (name, a), b in zip(plain.named_parameters(), net.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-5), name
    for verb in (lambda: gnn.insert(net, {"module.1": "snl"}), lambda: gnn.remove(net)):
        try:
            verb()
        except ValueError as problem:
            assert "before it is wrapped" in str(problem)
        else:
            raise AssertionError
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.start_processes(work, (sys.argv[1],), nprocs=2, start_method="fork")
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_distributed_data_parallel_averages_gradients_of_blocks(tmp_path):
    """Two processes, each with half of the batch, get the gradients of one with all of it."""
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_describe_lists_inserted_and_own_blocks(net):
    gnn.insert(net, {"layer2": ("gsnl", {"units": 2, "inner": 3}), "stem": "nl"})
    net.own = gnn.create("snl", 2000)
    table = gnn.describe(net)
    assert [(r.name, r.block, r.channels, r.inner, r.units) for r in table] == [
        ("stem.2", "nl", 8, 4, 1), ("layer2.1", "gsnl", 12, 3, 2), ("own", "snl", 2000, 1000, 1),
    ]  # fmt: skip
    assert table[2].parameters == sum(p.numel() for p in net.own.parameters())
    assert len(table) == 3
    lines = str(table).splitlines()
    assert lines[0].split() == ["name", "block", "channels", "inner", "units", "parameters"]
    assert lines[3].split()[:5] == ["own", "snl", "2,000", "1,000", "1"]
    assert len({len(line) for line in lines}) == 1
    gnn.remove(net)
    assert [row.name for row in gnn.describe(net)] == ["own"]  # not inserted, so not removed
    assert [row.name for row in gnn.describe(net.own)] == [""]


def test_insertion_around_existing_blocks(x):
    """A block may follow a module that holds blocks, but not a block."""
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), gnn.create("nl", 4), BasicBlock(4, 4))
    y = net.eval()(x)
    gnn.insert(net, {"0": "snl", "2.bn2": "snl"})
    gnn.insert(net, {"2": "snl"})  # the last layer inside is a block's
    assert [row.name for row in gnn.describe(net)] == ["0.0", "1", "2.bn2", "2"]
    assert torch.equal(net(x), y)
    with pytest.raises(InputError, match="'1' is a block itself; make it with more units"):
        gnn.insert(net, {"1": "snl"})
