"""Loading of published state dicts; foreign, damaged and hostile files are refused."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.train_networks import Layers, drawn, published, resnet
from torch import nn

from gspnl.errors import FileError, InputError
from gspnl.train import backbones

WIDTH = 2  # the names are those of the published file, the tensors small


def make(classes=7, name="resnet50", seed=0, **options):
    torch.manual_seed(seed)
    if name == "resnet50":
        options = {"stem": "imagenet"} | options
    return backbones.create(name, classes=classes, **{"width": WIDTH, **options})


def state_dict(classes=7, width=WIDTH, **layout):
    return drawn(published(classes, width=width, **layout))


def saved(content, path: Path, form="torch"):
    if form == "safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    return path


def same(net, state):
    own = net.state_dict()
    return [name for name in state if torch.equal(own[name], state[name])]


def test_the_published_file_loads(tmp_path):
    """In full size, against the plain function of the file's tensors."""
    state = drawn(published())
    path = saved(OrderedDict(state), tmp_path / "resnet50.pth")
    net = make(1000, width=64)
    report = backbones.load_pretrained(net, path)
    assert report.loaded == tuple(state)
    assert report.fresh == ()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = resnet(x.double(), Layers({k: v.double() for k, v in state.items()}))
        error = (net.eval()(x) - expected).norm() / expected.norm()
    assert error < 1e-4  # float32 through 50 layers of random scales


@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors"])
def test_torch_legacy_and_safetensors_files_load(form, tmp_path):
    state = state_dict()
    net = make()
    report = backbones.load_pretrained(net, str(saved(state, tmp_path / "file", form)))
    assert set(report.loaded) == set(same(net, state)) == set(state)


def test_files_without_batch_norm_counters_load(tmp_path):
    """As torchvision's first file of ResNet-50."""
    state = {k: v for k, v in state_dict().items() if not k.endswith("tracked")}
    net = make()
    report = backbones.load_pretrained(net, saved(state, tmp_path / "file"))
    assert report.fresh == ()
    assert same(net, state) == list(state)
    assert int(net.bn1.num_batches_tracked) == 0


@pytest.mark.parametrize(
    ("change", "fresh"),
    [
        ({"stem": "cifar"}, ("conv1.weight",)),
        ({"classes": 3}, ("fc.weight", "fc.bias")),
        ({"channels": 1}, ("conv1.weight",)),
        ({"stem": "cifar", "classes": 3}, ("conv1.weight", "fc.weight", "fc.bias")),
    ],
)
def test_ends_of_other_shapes_stay_fresh_and_are_reported(change, fresh, tmp_path):
    state = state_dict()
    net, untouched = make(**change), make(**change).state_dict()
    report = backbones.load_pretrained(net, saved(state, tmp_path / "file"))
    assert report.fresh == fresh
    assert set(report.loaded) == set(state) - set(fresh)
    rest = {name: value for name, value in state.items() if name not in fresh}
    assert same(net, rest) == list(rest)
    assert all(torch.equal(net.state_dict()[name], untouched[name]) for name in fresh)


@pytest.mark.parametrize("holder", ["state_dict", "model"])
def test_checkpoints_of_training_codes_load(holder, tmp_path):
    state = state_dict(400, kernels=(7, 7, 7), dimensions=3)
    wrapped = {f"module.{name}": value for name, value in state.items()}
    path = saved({"epoch": 200, "arch": "resnet-50", holder: wrapped}, tmp_path / "r3d50.pth")
    net = make(101, "i3d_resnet50")
    report = backbones.load_pretrained(net, path)
    assert report.fresh == ("fc.weight", "fc.bias")
    assert len(same(net, {k: state[k] for k in report.loaded})) == len(state) - 2


def test_blocks_placed_before_keep_their_weights(tmp_path):
    state = state_dict()
    net = backbones.place(make(), "snl")
    blocks = {k: v.clone() for k, v in net.state_dict().items() if "nonlocal_" in k}
    report = backbones.load_pretrained(net, saved(state, tmp_path / "file"))
    assert report.fresh == tuple(blocks)
    assert same(net, blocks) == list(blocks)
    assert same(net, state) == list(state)


@pytest.mark.parametrize("name", sorted(backbones.BACKBONES))
def test_every_backbone_loads_its_own_state_with_blocks(name, tmp_path):
    first = backbones.place(make(name=name, seed=1), "snl")
    path = saved(first.state_dict(), tmp_path / "file", "safetensors")
    second = backbones.place(make(name=name, seed=2), "snl")
    assert backbones.load_pretrained(second, path).fresh == ()
    assert same(second, first.state_dict()) == list(first.state_dict())


def test_the_dtype_of_the_network_is_kept(tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in state_dict().items()}
    net = make().double()
    backbones.load_pretrained(net, saved(state, tmp_path / "file"))
    assert torch.equal(net.fc.weight, state["fc.weight"].double())


def without(*names):
    return lambda state: [state.pop(name) for name in names]


def replaced(name, value):
    return lambda state: state.update({name: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("layer2.0.conv1.weight"), "missing layer2.0.conv1.weight"),
        (without("fc.weight", "fc.bias"), "missing fc.weight, fc.bias"),
        (replaced("layer5.weight", torch.zeros(1)), "unexpected layer5.weight"),
        (
            replaced("layer1.0.conv1.weight", torch.zeros(3, 3)),
            "layer1.0.conv1.weight is (3, 3) and not (2, 2, 1, 1)",
        ),
        (replaced("bn1.weight", torch.zeros(5)), "bn1.weight is (5,) and not (2,)"),
        (replaced("bn1.weight", 1.0), "bn1.weight is float and not (2,)"),
        (replaced("fc.bias", "seven"), "fc.bias is str and not (7,)"),
        (replaced("bn1.weight", torch.full((2,), torch.nan)), "'bn1.weight' holds NaN or infinity"),
        (replaced("bn1.weight", torch.ones(2, dtype=torch.int64)), "must hold floating-point"),
        (replaced("bn1.running_var", -torch.ones(2)), "negative variances"),
        (replaced("bn1.weight", torch.ones(2).to_sparse()), "plain dense tensor"),
    ],
)
def test_mismatches_are_named_and_change_nothing(change, said, tmp_path):
    state = state_dict()
    change(state)
    net, before = make(), make().state_dict()
    with pytest.raises(FileError) as error:
        backbones.load_pretrained(net, saved(state, tmp_path / "file.pth"))
    assert said in str(error.value)
    assert "file.pth" in str(error.value)
    assert same(net, before) == list(before)


def test_the_first_mismatched_names_are_listed(tmp_path):
    path = saved(make(name="preresnet20").state_dict(), tmp_path / "file")
    with pytest.raises(FileError) as error:
        backbones.load_pretrained(make(), path)
    own, theirs = published(7, width=WIDTH), make(name="preresnet20").state_dict()
    missing = [name for name in own if name not in theirs and not name.endswith("tracked")]
    unexpected = [name for name in theirs if name not in own]
    assert str(error.value).endswith(
        f"missing {', '.join(missing[:3])} and {len(missing) - 3} more; "
        f"unexpected {', '.join(unexpected[:3])} and {len(unexpected) - 3} more"
    )


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_files_execute_nothing(form, tmp_path):
    marker, path = tmp_path / "was run", tmp_path / "hostile.pth"
    state = {**state_dict(), "more": Hostile(marker)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        saved(state, path, form)
    with pytest.raises(FileError, match="nothing in a file is run"):
        backbones.load_pretrained(make(), path)
    assert not marker.exists()
    pickle.loads(path.read_bytes()) if form == "pickle" else torch.load(path, weights_only=False)
    assert marker.exists()  # the file would have done it


@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors"])
def test_truncated_files_are_refused(form, tmp_path):
    whole = saved(state_dict(), tmp_path / "whole", form).read_bytes()
    for size in (1, 9, 100, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:size])
        with pytest.raises(FileError, match="damaged"):
            backbones.load_pretrained(make(), path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged"),
        (b"<html>Not found</html>", "damaged"),
        (b"\x00" * 64, "damaged"),
        (b"\x08" + b"\x00" * 7 + b"{" * 8, "as a safetensors file"),
    ],
)
def test_other_files_are_refused(content, said, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FileError, match=said):
        backbones.load_pretrained(make(), path)


@pytest.mark.parametrize("held", [[1, 2], torch.zeros(3), {}, {1: torch.zeros(3)}, 5])
def test_files_without_a_state_dict_are_refused(held, tmp_path):
    with pytest.raises(FileError, match="not names of tensors"):
        backbones.load_pretrained(make(), saved(held, tmp_path / "file"))


def test_wrong_paths_and_models_are_refused(tmp_path):
    with pytest.raises(FileError, match=r"cannot read .*No such file"):
        backbones.load_pretrained(make(), tmp_path / "missing.pth")
    with pytest.raises(FileError, match="cannot read"):
        backbones.load_pretrained(make(), tmp_path)
    with pytest.raises(InputError, match="path=None must be a path"):
        backbones.load_pretrained(make(), None)
    with pytest.raises(InputError, match="load_state_dict"):
        backbones.load_pretrained(nn.Linear(2, 2), tmp_path)
