"""Checkpoints as training scripts write them: one finder for all doors."""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from support import nn_peers as peers
from torch import nn

from gspnl import cli
from gspnl import nn as gnn
from gspnl.errors import FileError, InputError
from gspnl.train import backbones, load_run


def make(seed=0, **options):
    torch.manual_seed(seed)
    return backbones.create("preresnet20", classes=4, **options)


def state(seed=1, **options):
    """Weights that no new network has."""
    return {k: v + 0.5 if v.is_floating_point() else v + 3 for k, v in raw(seed, **options).items()}


def raw(seed, **options):
    return make(seed, **options).state_dict()


def saved(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    return tmp_path / "w.pt"


def prefixed(prefix, entries):
    return OrderedDict((prefix + key, value) for key, value in entries.items())


def momentum():
    """The state of an optimiser that has made a step: mappings from names to tensors."""
    layer = nn.Linear(2, 2)
    made = torch.optim.Adam(layer.parameters())
    layer(torch.ones(2)).sum().backward()
    made.step()
    return made.state_dict()


def assert_loaded(content, tmp_path, *, key="", others=(), left=(), expected=None, **options):
    expected = state() if expected is None else expected
    net = make()
    report = backbones.load_pretrained(net, saved(content, tmp_path), **options)
    own = net.state_dict()
    assert all(torch.equal(own[name], value) for name, value in expected.items())
    assert set(report.loaded) == set(expected)
    assert report.fresh == ()
    assert (report.key, report.others, report.left) == (key, tuple(others), tuple(left))


BESIDE = {"epoch": 3, "arch": "r20", "best": 0.7, "loss": torch.tensor(0.1)}
HOLDERS = ["model_state_dict", "state_dict", "model", "net", "network", "weights", "my_r20"]
HOLDERS += ["ema", "model_ema", "teacher"]


@pytest.mark.parametrize("holder", [*HOLDERS, "state_dict_ema", "ema_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_one_key_down_are_found(tmp_path, holder, prefix):
    content = BESIDE | {"optimizer": momentum(), holder: prefixed(prefix, state())}
    assert_loaded(content, tmp_path, key=holder)


@pytest.mark.parametrize(
    "outer", [("state", "model"), ("checkpoint", "net", "weights"), ("ema", "module")]
)
def test_weights_several_keys_down_are_found(tmp_path, outer):
    content = state()
    for name in reversed(outer):
        content = {name: content, "step": 7}
    assert_loaded(content, tmp_path, key=".".join(outer))


@pytest.mark.parametrize("prefix", ["model", "net", "backbone", "encoder", "net.backbone", "x"])
def test_weights_under_a_prefix_are_found(tmp_path, prefix):
    content = {"state_dict": prefixed(f"module.{prefix}.", state())}
    assert_loaded(content, tmp_path, key=f"state_dict.{prefix}")
    assert_loaded(prefixed(f"{prefix}.", state()), tmp_path, key=prefix)


def test_names_beside_the_prefix_are_reported(tmp_path, caplog):
    head = {"head.weight": torch.ones(2, 2), "criterion.scale": torch.ones(1)}
    content = {"state_dict": prefixed("backbone.", state()) | head}
    assert_loaded(content, tmp_path, key="state_dict.backbone", left=head)
    assert "without 'head.weight', 'criterion.scale'" in caplog.text


def test_what_is_no_tensor_among_the_weights_is_reported(tmp_path):
    assert_loaded(state() | {"epoch": 3, "arch": "r20"}, tmp_path, left=("epoch", "arch"))


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "_orig_mod.module."])
def test_averaged_models_are_found(tmp_path, prefix):
    averaged = {"n_averaged": torch.tensor(5)} | prefixed(prefix, state())
    assert_loaded(averaged, tmp_path)
    assert_loaded({"ema": averaged}, tmp_path, key="ema")


def test_the_averaged_model_of_torch_itself_loads(tmp_path):
    net = make(5)
    averaged = torch.optim.swa_utils.AveragedModel(net)
    averaged.update_parameters(net)
    assert_loaded({"swa": averaged.state_dict()}, tmp_path, key="swa", expected=net.state_dict())


def test_compiled_layers_within_a_network_load(tmp_path):
    net = make(5)
    expected = net.state_dict()
    net.layer2 = torch.compile(net.layer2, backend="eager")
    assert any("_orig_mod" in name for name in net.state_dict())
    assert_loaded(nn.DataParallel(net).state_dict(), tmp_path, expected=expected)
    other = make()
    other.layer2 = torch.compile(other.layer2, backend="eager")
    report = backbones.load_pretrained(other, saved({"model": expected}, tmp_path))
    assert set(report.loaded) == set(other.state_dict())
    assert all(
        torch.equal(a, b)
        for a, b in zip(other.state_dict().values(), expected.values(), strict=True)
    )


@pytest.mark.parametrize(
    ("taken", "other"),
    [
        ("model", "model_ema"),
        ("state_dict", "ema_state_dict"),
        ("student", "teacher"),
        ("net", "swa"),
        ("model", "best_model"),
        ("model", "modelEma"),
        ("model_state_dict", "snapshot"),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_the_model_itself_is_preferred_and_the_choice_is_logged(
    tmp_path, caplog, taken, other, first
):
    pair = [(taken, state()), (other, state(2))]
    content = dict(pair[::-1] if first else pair) | BESIDE
    with caplog.at_level(logging.WARNING):
        assert_loaded(content, tmp_path, key=taken, others=[other])
    assert f"loading {taken!r}" in caplog.text
    assert repr(other) in caplog.text
    net = make()
    assert backbones.load_pretrained(net, tmp_path / "w.pt", key=other).key == other
    assert torch.equal(net.fc.weight, state(2)["fc.weight"])


def test_equal_weights_under_two_names_are_no_choice(tmp_path, caplog):
    assert_loaded({"state_dict": state(), "model": state()}, tmp_path, key="state_dict")
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"first": state(1), "second": state(2)}, "'first', 'second'"),
        ({"state_dict": state(1), "model": state(2)}, "'state_dict', 'model'"),
        ({"models": [state(1), state(2)]}, "'models.0', 'models.1'"),
        (prefixed("encoder_q.", state(1)) | prefixed("encoder_k.", state(2)), "'encoder_q', 'enc"),
        ({"ema": state(1), "teacher": state(2)}, "'ema', 'teacher'"),
    ],
)
def test_unclear_choices_are_refused_with_the_names(tmp_path, content, said):
    net = make()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(FileError, match="several weights") as caught:
        backbones.load_pretrained(net, saved(content, tmp_path))
    assert said in str(caught.value)
    assert "pass key=" in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("key", ["models.1", "second", "encoder_k", "state_dict.encoder_k"])
def test_key_chooses_weights(tmp_path, key):
    both = prefixed("encoder_q.", state()) | prefixed("encoder_k.", state(2))
    content = {
        "models.1": {"models": [state(), state(2)]},
        "second": {"first": state(), "second": state(2)},
        "encoder_k": both,
        "state_dict.encoder_k": {"state_dict": prefixed("module.", both)},
    }[key]
    net = make()
    report = backbones.load_pretrained(net, saved(content, tmp_path), key=key)
    assert report.key == key
    assert torch.equal(net.fc.weight, state(2)["fc.weight"])


@pytest.mark.parametrize("key", ["", "ema", "model.layer9", 3, "optimizer"])
def test_a_key_that_names_no_weights_is_refused(tmp_path, key):
    beside = {"optimizer": momentum(), "optim_state": momentum()["state"]}
    path = saved({"model": state(), **beside}, tmp_path)
    with pytest.raises(FileError, match="key=") as caught:
        backbones.load_pretrained(make(), path, key=key)
    if key and isinstance(key, str):
        assert str(caught.value).endswith("it holds 'model'")


def test_weights_of_the_right_shapes_are_preferred(tmp_path):
    content = {"small": state(), "large": raw(2, width=8)}
    assert_loaded(content, tmp_path, key="small")
    content = {"generator": {"a.weight": torch.ones(2)}, "classifier": state()}
    assert_loaded(content, tmp_path, key="classifier")


def test_mismatches_name_the_place(tmp_path):
    weights = state()
    del weights["layer1.0.conv1.weight"]
    with pytest.raises(FileError, match="another network under 'net': missing layer1"):
        backbones.load_pretrained(make(), saved({"net": weights, "epoch": 1}, tmp_path))


def test_safetensors_with_prefixes_load(tmp_path):
    safetensors.torch.save_file(dict(prefixed("model.", state())), tmp_path / "w")
    net = make()
    assert backbones.load_pretrained(net, tmp_path / "w").key == "model"
    assert torch.equal(net.fc.weight, state()["fc.weight"])


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (np.float64(0.7), "numpy"),
        (np.arange(3), "numpy"),
        (nn.Linear(2, 2), "Linear"),
    ],
)
def test_files_that_need_code_say_in_one_line_what_to_do(tmp_path, extra, named):
    path = saved({"model": state(), "args": extra}, tmp_path)
    with pytest.raises(FileError) as caught:
        backbones.load_pretrained(make(), path)
    text = str(caught.value)
    assert named in text
    assert "nothing in a file is run" in text
    assert "weights_only=False" in text
    assert "\n" not in text


def test_torchscript_archives_say_what_to_save(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(2)), tmp_path / "w.pt")
    with pytest.raises(FileError, match=r"TorchScript .*state_dict\(\)"):
        backbones.load_pretrained(make(), tmp_path / "w.pt")


def test_shared_mappings_do_not_take_for_ever(tmp_path):
    content = {"w": torch.ones(2)}
    for _ in range(4):
        content = {str(i): content for i in range(60)}
    with pytest.raises(FileError, match="more than 1000000 mappings"):
        backbones.load_pretrained(make(), saved(content, tmp_path))


# The other doors: from_peer, gnn.audit, gspnl audit.

PEER = peers.snl_2021("snl", 8, 4)


def peer(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        k: torch.rand(v.shape, generator=generator) + 0.1 if v.is_floating_point() else v
        for k, v in PEER.state_dict().items()
    }


def output(block):
    return block.eval()(torch.linspace(-1, 1, 96).reshape(1, 8, 3, 4))


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_from_peer_finds_nested_weights(holder, prefix):
    expected = output(gnn.from_peer(peer(), "snl-2021"))
    content = BESIDE | {"optimizer": momentum(), holder: prefixed(prefix, peer())}
    assert torch.equal(output(gnn.from_peer(content, "snl-2021")), expected)
    network = prefixed(prefix, prefixed("layer3.5.", peer()) | {"fc.weight": torch.ones(2, 2)})
    for content in (network, {holder: network} | BESIDE):
        block = gnn.from_peer(content, "snl-2021", prefix="layer3.5.")
        assert torch.equal(output(block), expected)


def test_from_peer_prefers_the_model_and_takes_key(caplog):
    content = {"model_ema": peer(1), "model": peer(0)}
    assert torch.equal(
        output(gnn.from_peer(content, "snl-2021")), output(gnn.from_peer(peer(0), "snl-2021"))
    )
    assert "loading 'model' of a checkpoint that also holds 'model_ema'" in caplog.text
    assert torch.equal(
        output(gnn.from_peer(content, "snl-2021", key="model_ema")),
        output(gnn.from_peer(peer(1), "snl-2021")),
    )
    with pytest.raises(InputError, match="several weights, 'a', 'b'"):
        gnn.from_peer({"a": peer(0), "b": peer(1)}, "snl-2021")
    with pytest.raises(InputError, match="no weights named key='teacher'; it holds 'model_ema'"):
        gnn.from_peer(content, "snl-2021", key="teacher")


def test_audit_says_what_to_do_with_weights():
    with pytest.raises(InputError, match=r"not dict; .*load_state_dict\(weights\['model'\]\)"):
        gnn.audit({"model": state()}, torch.ones(1, 3, 8, 8))
    with pytest.raises(InputError, match=r"not dict; .*load_state_dict\(weights\)"):
        gnn.audit(state(), torch.ones(1, 3, 8, 8))
    with pytest.raises(InputError, match=r"not str; gspnl\.train\.load_run"):
        gnn.audit("w.pt", torch.ones(1, 3, 8, 8))


@pytest.mark.parametrize("command", ["audit", "figures"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model_state_dict": state()}, "weights under 'model_state_dict' ("),
        (state(), f"{len(state())} weights ('conv1.weight' …)"),
        ({"model": state(), "args": argparse.Namespace()}, "more than arrays and names"),
        ({"epoch": 3}, "no weights"),
    ],
)
def test_commands_say_what_they_take(tmp_path, capsys, command, content, said):
    path = saved(content, tmp_path)
    assert cli.main([command, str(path)]) == 2
    text = capsys.readouterr().err
    assert said in text
    assert "pass a run folder of gspnl train" in text
    assert text.count("\n") == 1


def test_a_saved_block_is_named_as_one(tmp_path):
    gnn.save(gnn.create("snl", 4), tmp_path / "b.safetensors")
    with pytest.raises(FileError, match=r"one block, which gspnl\.nn\.load reads"):
        load_run(tmp_path / "b.safetensors")
