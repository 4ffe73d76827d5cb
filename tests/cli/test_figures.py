"""Test gspnl figures and gspnl audit on fake runs and data."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import gspnl.train
import gspnl.train.data
from gspnl import cli
from gspnl import nn as gnn
from gspnl.errors import FileError
from gspnl.train.data import Data, fingerprint
from gspnl.train.recipes import Recipe

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Images:
    """Ten images of 8 × 8 pixels."""

    labels = np.arange(10)

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (10, 3, 8, 8), generator=generator, dtype=torch.uint8)

    def name(self, index):
        return f"record {index}"

    def read(self, index):
        return self.pixels[index]

    def take(self, indices):
        return self.pixels[torch.as_tensor(indices)]


def batches(split, *, batch_size, augmentation, mean, std, seed, epoch, shuffle, drop_last,
            skip_bad):  # fmt: skip
    assert not shuffle
    assert augmentation == ()
    x = split.take(np.arange(batch_size)).float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (mean, std))
    yield (x - mean) / std, torch.from_numpy(split.labels)


def network(block):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    if block is not None:
        layers.append(gnn.create(block, 8, zero_init=False))
    return nn.Sequential(*layers).eval()


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    """Folders named after blocks."""
    seen = []

    def load_run(path):
        name = str(path).rpartition("/")[2]
        if name == "damaged":
            raise FileError(f"{path!r} is damaged; take another checkpoint")
        if name == "elsewhere":
            return Recipe(block="nl", data="cifar100"), network("nl")
        block = None if name == "backbone" else name
        return Recipe(block=block), network(block)

    def load(name, path=None, *, skip_bad=False):
        seen.append((name, path))
        images = Images()
        return Data(name, tuple("abcdefghij"), images, images, MEAN, STD)

    def recipe(name):
        return Recipe(block=name)

    def checkpoint_of(path):  # of a run on these data
        return SimpleNamespace(data=fingerprint(load("cifar10")))

    monkeypatch.setitem(vars(gspnl.train), "load_run", load_run)
    monkeypatch.setitem(vars(gspnl.train), "recipe", recipe)
    monkeypatch.setitem(vars(gspnl.train.data), "load", load)
    monkeypatch.setitem(vars(gspnl.train.data), "Batches", batches)
    monkeypatch.setattr("gspnl.train.figures.evaluation.checkpoint_of", checkpoint_of)
    return seen


def test_figures_of_several_runs(tmp_path, capsys, runs):
    out = tmp_path / "out"
    words = ["figures", "a/nl", "a/ns", "b/snl", "--data", "DIR", "--out", str(out), "--json"]
    assert cli.main([*words, "--image", "8", "--images", "5", "--position", "2,7"]) == 0
    output = capsys.readouterr()
    numbers = json.loads(output.out)
    assert numbers == json.loads((out / "figures.json").read_text())
    assert list(numbers["networks"]) == ["nl", "ns", "snl"]
    assert numbers["networks"]["snl"]["range"][0]["cell"] == [2, 7]
    assert numbers["networks"]["snl"]["maps"][0]["images"] == 2  # numbers 8 and 9
    assert "reading the blocks of snl" in output.err
    assert runs[0] == ("cifar10", "DIR")


def test_image_options_choose_the_images(tmp_path, capsys):
    """Compare with feature maps of the same images computed here."""
    from gspnl.train import figures

    words = ["figures", "snl", "--out", str(tmp_path), "--json", "--quiet", "--images", "3"]
    assert cli.main([*words, "--image", "4"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    x = Images().pixels[4:7].float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    (maps,) = figures.feature_maps(network("snl"), (x - mean) / std)
    added = json.loads(output.out)["networks"][""]["maps"][0]["added"]
    assert added == pytest.approx(maps.added.tolist(), rel=1e-6)  # images are float32


def test_pictures_equal_the_images_before_normalisation():
    from gspnl.train.figures.evaluation import evaluation_images

    images, pictures = evaluation_images(Recipe(), None, 2, 3)
    np.testing.assert_allclose(pictures, Images().pixels[2:5].float() / 255, atol=1e-6)  # float32
    assert images.min() < 0


def test_seed_changes_the_shuffled_matrix(tmp_path, capsys):
    found = []
    for seed in ("1", "1", "2"):
        words = ["figures", "snl", "--out", str(tmp_path), "--json", "--quiet", "--seed", seed]
        assert cli.main(words) == 0
        numbers = json.loads(capsys.readouterr().out)
        found.append(numbers["networks"][""]["powers"][0]["shuffled"])
    assert found[0] == found[1] != found[2]


def test_the_error_names_the_run_without_blocks(tmp_path, capsys):
    assert cli.main(["figures", "nl", "backbone", "--out", str(tmp_path / "out")]) == 2
    assert "the network 'backbone' has no nonlocal blocks" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["figures", "backbone"], "has no nonlocal blocks"),
        (["figures", "damaged"], "is damaged"),
        (
            ["figures", "nl", "--image", "10"],
            "image=10 must be a whole number from 0 to 9, the test images of cifar10",
        ),
        (["figures", "nl", "--image", "-1"], "image=-1 must be a whole number from 0"),
        (["figures", "nl", "--images", "0"], "images"),
        (["figures", "nl", "--position", "3"], "must be 2 whole numbers"),
        (["figures", "nl", "--position", "8,0"], "inside of images of size 8 × 8"),
        (["figures", "nl", "--position", "a,b"], "--position='a,b' must be Y,X"),
        (["figures", "nl", "elsewhere"], "data 'cifar10' and 'cifar100'"),
        (["figures"], "RUN"),
        (["figures", "nl", "--seed", "-3"], "seed"),
        (["audit", "backbone"], "has no nonlocal blocks"),
        (["audit", "damaged"], "is damaged"),
        (["audit", "nl", "--recipe", "snl"], "block 'snl' and 'nl'"),
        (["audit", "nl", "--image", "11"], "image=11 must be a whole number from 0 to 9"),
        (["audit", "nl", "--nodes", "0"], "nodes"),
        (["audit"], "MODEL"),
    ],
)
def test_errors_of_the_commands_are_one_line(words, message, tmp_path, capsys):
    if words[0] == "figures":
        words = [*words, "--out", str(tmp_path / "out")]
    assert cli.main([*words, *(["--quiet"] if len(words) > 3 or words[1:] else [])]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert not (tmp_path / "out" / "figures.json").exists()


def test_audit_prints_a_table(capsys):
    assert cli.main(["audit", "snl", "--recipe", "snl", "--images", "3"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("module")
    line = output.out.splitlines()[1].split()
    assert line[:5] == ["2", "snl", "1", "3", "64"]
    assert "3 test images of cifar10" in output.err


def test_audit_writes_json_and_files(tmp_path, capsys):
    words = ["audit", "snl", "--images", "2", "--json", "--quiet", "--out", str(tmp_path / "o")]
    assert cli.main(words) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers == json.loads((tmp_path / "o" / "audit.json").read_text())
    assert (tmp_path / "o" / "audit.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "o" / "audit.txt").read_text().startswith("module")
    x = Images().pixels[:2].float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    seen = gnn.audit(network("snl"), (x - mean) / std)[0]
    (block,) = numbers["blocks"]
    # The same float32 images by another order of operations.
    assert [item["defect"] for item in block["items"]] == pytest.approx(
        [item.defect for item in seen.items], rel=1e-4
    )
    (unit,) = block["units"]
    assert unit["cfl"][0]["radius"] == pytest.approx(seen.units[0].cfl[0].radius, rel=1e-4)
    assert unit["negative"] == (seen.units[0].damping.eigenvalues < -1e-9).sum()


def test_missing_and_infinite_numbers_are_null():
    from gspnl.train.figures import audit_numbers

    new = gnn.audit(gnn.create("cgnl", 8), torch.randn(1, 8, 4, 4))
    numbers = json.dumps(audit_numbers(new), allow_nan=False)
    (block,) = json.loads(numbers)["blocks"]
    assert block["items"][0]["gap"] is None
    assert block["units"][0]["cfl"] == [None]
    assert block["reasons"]
    same = gnn.audit(gnn.create("snl", 8), torch.randn(1, 8, 4, 4))  # any step is stable: inf
    (block,) = audit_numbers(same)["blocks"]
    assert block["units"][0]["cfl"][0] == {"radius": 1.0, "limit": None}


def test_recipes_with_lists_and_tuples_agree():
    from gspnl.train.figures.evaluation import NETWORK, check_same

    one = Recipe(block="nl", block_options={"sub_sample": (2, 2)})
    two = dataclasses.replace(one, block_options={"sub_sample": [2, 2]}, epochs=3)
    check_same({"a": one, "b": two}, NETWORK)
