"""Checkpoints whose checksum is right and whose content is wrong are one-line errors."""

from __future__ import annotations

import json
import time

import pytest
import safetensors.torch
import torch
from support.train_tiny import FIELDS

from gspnl import cli
from gspnl.errors import FileError
from gspnl.nn.checkpoints.contents import checksum
from gspnl.train import Recipe, checkpoints, load_run, networks, train
from gspnl.train.recipes import to_dict

pytestmark = pytest.mark.usefixtures("tiny_registered")
SHAPE, CLASSES = [3, 8, 8], 4
ROW = {
    "epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 1.0, "test_accuracy": 0.5,
    "seconds": 1.0, "images_per_second": 9.0, "learning_rate": 0.1,
}  # fmt: skip
RECIPE = {"backbone": "preresnet20", "block": "snl", "units": 2, "backbone_options": {"width": 4}}


def tiny(**changes):
    return Recipe(**{**FIELDS, **changes})


def content():
    """The JSON and the tensors of a good checkpoint after one epoch."""
    recipe = tiny(**RECIPE)
    model = networks.network(recipe, tuple(SHAPE), CLASSES)
    state = vars(checkpoints.State(epoch=1, rows=[dict(ROW)]))
    about = {
        "version": 1, "recipe": to_dict(recipe), "shape": list(SHAPE), "classes": CLASSES,
        "data": "abc", "state": dict(state), "scaler": {},
    }  # fmt: skip
    return about, {f"model.{k}": v for k, v in model.state_dict().items()}


def written(path, about, tensors):
    text = about if isinstance(about, str) else json.dumps(about)
    tensors = {k: v.clone().contiguous() for k, v in tensors.items()}
    note = {"gspnl.train": text, "gspnl.crc32": str(checksum(text, tensors))}
    safetensors.torch.save_file(tensors, path, note)
    return path


def refused(path):
    with pytest.raises(FileError) as caught:
        load_run(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_the_good_checkpoint_loads(tmp_path):
    about, tensors = content()
    recipe, model = load_run(written(tmp_path / "c", about, tensors))
    assert recipe == tiny(**RECIPE)
    own = model.state_dict()
    assert all(torch.equal(own[k.removeprefix("model.")], v) for k, v in tensors.items())


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("state", "epoch", -1, "state.epoch=-1"),
        ("state", "epoch", 2**60, "state.epoch=1152921504606846976"),
        ("state", "epoch", 2, "state.rows has 1 epochs"),
        ("state", "epoch", 1.0, "state.epoch=1.0"),
        ("state", "epoch", True, "state.epoch=True"),
        ("state", "step", float("nan"), "state.step=nan"),
        ("state", "step", -3, "state.step=-3"),
        ("state", "step", "2", "state.step='2'"),
        ("state", "loss", float("inf"), "state.loss=inf"),
        ("state", "count", None, "state.count=None"),
        ("state", "rates", [1.0, "x"], "state.rates='x'"),
        ("state", "rates", 3, "state.rates=3 must be a list"),
        ("state", "rows", {}, "state.rows={} must be a list"),
        ("state", "rows", [7], "state.rows[0]"),
        ("state", "rows", [{**ROW, "epoch": 4}], "state.rows[0]"),
        ("state", "rows", [{"epoch": 1}], "state.rows[0]"),
        ("state", "rows", [{**ROW, "seconds": "x"}], "state.rows[0].seconds='x'"),
        ("state", "skipped", [1], "state.skipped"),
        ("state", "peak_bytes", -5, "state.peak_bytes=-5"),
        ("state", "colour", 1, "colour"),
        (None, "state", [1], "does not fit"),
        (None, "state", None, "does not fit"),
        (None, "shape", 3, "shape=3"),
        (None, "shape", [3, -8, 8], "shape=-8"),
        (None, "shape", [3], "shape=[3]"),
        (None, "shape", [2**60, 8, 8], "channels=1152921504606846976"),
        (None, "shape", [1, 8, 8], "size mismatch"),
        (None, "classes", 0, "classes=0"),
        (None, "classes", 2**60, "classes=1152921504606846976"),
        (None, "classes", 5, "size mismatch"),
        (None, "classes", "4", "classes='4'"),
        (None, "data", 7, "data=7"),
        (None, "scaler", [], "scaler=[]"),
        (None, "scaler", {"scale": "x"}, "scaler.scale='x'"),
        (None, "recipe", "mini", "does not fit"),
        (None, "version", 9, "version 9"),
        (None, "extra", 1, "extra"),
        ("recipe", "epochs", -1, "epochs"),
        ("recipe", "units", 2**60, "units=1152921504606846976"),
        ("recipe", "units", 3, "Missing key"),
        ("recipe", "backbone", "resnet99", "resnet99"),
        ("recipe", "backbone_options", {"width": 2**60}, "width=1152921504606846976"),
        ("recipe", "backbone_options", {"width": 4000}, "size mismatch"),
        ("recipe", "backbone_options", {"width": -4}, "width"),
        ("recipe", "block_options", {"inner": 2**60}, "inner=1152921504606846976"),
        ("recipe", "block", "gsnl", "Missing key"),
        ("recipe", "block", "none", "none"),
    ],
)
def test_wrong_values_are_named(tmp_path, part, key, value, said):
    about, tensors = content()
    (about if part is None else about[part])[key] = value
    began = time.perf_counter()
    assert said in refused(written(tmp_path / "c", about, tensors))
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize("part", [None, "state"])
def test_missing_keys_are_errors(tmp_path, part):
    about, tensors = content()
    for key in list(about if part is None else about[part]):
        changed, _ = content()
        del (changed if part is None else changed[part])[key]
        path = written(tmp_path / "c", changed, tensors)
        if part is None or key in ("epoch", "rows"):  # the others have defaults
            refused(path)
        else:
            load_run(path)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 50_000, '{"version": 1}'])
def test_headers_that_are_no_description_are_errors(tmp_path, text):
    refused(written(tmp_path / "c", text, content()[1]))


def test_wrong_tensors_are_named(tmp_path):
    about, tensors = content()
    name = "model.conv1.weight"
    for change, said in (
        ({name: None}, "Missing key(s) 'conv1.weight'"),
        ({"model.extra": torch.ones(1)}, "Unexpected key(s) 'extra'"),
        ({name: torch.ones(3)}, "size mismatch for 'conv1.weight'"),
        ({name: tensors[name].long()}, "floating"),
    ):
        both = {k: v for k, v in {**tensors, **change}.items() if v is not None}
        assert said in refused(written(tmp_path / "c", about, both))


@pytest.mark.parametrize("command", ["audit", "figures"])
def test_commands_report_wrong_content_in_one_line(tmp_path, capsys, command):
    about, tensors = content()
    about["state"]["epoch"] = -1
    assert cli.main([command, str(written(tmp_path / "c", about, tensors))]) == 2
    text = capsys.readouterr().err
    assert "state.epoch=-1" in text
    assert text.count("\n") == 1


def test_a_run_is_not_resumed_from_a_wrong_state(tmp_path):
    recipe = tiny(epochs=2)
    out = tmp_path / "run"
    train(recipe, out=out)
    (out / "result.json").unlink()
    path = out / "checkpoint.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    about = json.loads(json.loads(whole[8 : 8 + size])["__metadata__"]["gspnl.train"])
    tensors = safetensors.torch.load(whole)
    moved = next(k for k in tensors if k.startswith("optimiser."))
    for change, step, said in (
        ({}, 10**6, "state.step=1000000"),
        ({moved: torch.ones(1)}, 0, "of the optimiser is"),
        ({moved: tensors[moved].long()}, 0, "of the optimiser is"),
        ({"optimiser.fc.extra.momentum_buffer": torch.ones(1)}, 0, "no parameter 'fc.extra'"),
        ({"optimiser.x": torch.ones(1)}, 0, "no parameter ''"),
        ({"rng.cpu.0": torch.ones(3)}, 0, "does not hold the state"),
        ({"rng.cpu.0": torch.ones(3, dtype=torch.uint8)}, 0, "does not hold the state"),
    ):
        state = {**about["state"], "step": step, "epoch": 1, "rows": about["state"]["rows"][:1]}
        written(path, {**about, "state": state}, {**tensors, **change})
        with pytest.raises(FileError) as caught:
            train(recipe, out=out, resume=True)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    assert len(train(recipe, out=out, resume=True).metrics) == 2
