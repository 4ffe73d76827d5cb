"""Test gspnl figures and gspnl audit on a trained run."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from support.train_tiny import FIELDS

from gspnl import cli
from gspnl import nn as gnn
from gspnl.train import Recipe, data, load_run, train

pytestmark = pytest.mark.usefixtures("tiny_registered")


def test_figures_and_audit_of_a_trained_run(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run, out = tmp_path / "run", tmp_path / "out"
    train(Recipe(**{**FIELDS, "epochs": 1}), out=run)
    words = [str(run), "--images", "3", "--json", "--quiet", "--out", str(out)]
    assert cli.main(["figures", *words, "--image", "2"]) == 0
    output = capsys.readouterr()
    (block,) = json.loads(output.out)["networks"][""]["maps"]
    assert output.err == ""
    assert block["images"] == 3
    assert (out / "figure4.png").stat().st_size > 1000
    assert cli.main(["audit", *words]) == 0
    (block,) = json.loads(capsys.readouterr().out)["blocks"]

    # By hand: the recipe's test images, normalised, through the network of the run.
    opened = data.load("tiny")
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (opened.mean, opened.std))
    seen = gnn.audit(load_run(run)[1], (opened.test.images[:3] / 255 - mean) / std)[0]
    # The same float32 images by another order of operations.
    assert [item["defect"] for item in block["items"]] == pytest.approx(
        [item.defect for item in seen.items], rel=1e-4
    )


@pytest.mark.parametrize("command", ["figures", "audit"])
def test_other_data_than_those_of_the_run_are_a_warning(command, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    train(Recipe(**{**FIELDS, "epochs": 1}), out=run)
    before = data.fingerprint(data.load("tiny"))
    others = dataclasses.replace(data.load("tiny"), mean=(0.4, 0.3, 0.3))
    monkeypatch.setattr(data, "load", lambda *_, **__: others)
    words = [command, str(run), "--images", "2", "--quiet", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    output = capsys.readouterr().err
    assert f"trained on other data (fingerprint {before}, of these" in output
