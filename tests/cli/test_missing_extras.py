"""Every command and door whose optional package is missing says in one line what to install."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from support import without

# Package → the commands and doors that need it, when nothing else is missing.
TRAIN = {"train", "tables", "tables so far", "audit", "figures"}
TRAINING = {f"gspnl.train{n}" for n in ("", ".backbones", ".data", ".figures", ".tables")}
TRAINING |= {f"gspnl.train.{n}" for n in ("recipes", "checkpoints", "train", "recipe")}
TORCH = {"gspnl.nn", "gspnl.nn.parallel", "gspnl.nn.auditing", "gnn.save"}
NEEDS = {
    "torch": TRAIN | TRAINING | TORCH,
    "safetensors": TRAIN | TRAINING | {"gnn.save"},
    "pydantic": TRAIN | TRAINING,
    "tomli_w": TRAIN | TRAINING,
    "tabulate": set(),
    "matplotlib": {"report", "write_report", "default_photo", "plot"},
    "PIL": {"report", "verify photo", "load_photo", "write_report", "plot"},
    "jinja2": {"report", "write_report"},
    "plotly": {"report", "write_report"},
    "networkx": {"to_networkx"},
    "pygsp": {"to_pygsp"},
    "av": set(),
}
# Packages of a set are missing at once, for fewer processes; no command needs two of them.
APART = [
    ("torch", "PIL", "pygsp"),
    ("safetensors", "networkx", "jinja2"),
    ("pydantic", "av", "plotly"),
    ("tomli_w", "tabulate", "matplotlib"),
]
SETS = [*APART, (), ("PIL", "jinja2", "pydantic"), tuple(NEEDS)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    np.save(folder / "X.npy", rng.standard_normal((12, 3)))
    pixels = rng.integers(0, 255, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    torch.save({"model": {"w": torch.ones(2)}}, folder / "w.pt")

    @cache
    def of(missing, loud=False):
        mode = "loud" if loud else "quiet"
        words = [sys.executable, without.__file__, str(folder), mode, *missing]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return of


def check(found, missing):
    needing = set().union(*(NEEDS[name] for name in missing)) if missing else set()
    for name, (status, text) in found["commands"].items():
        assert status in (0, 1, 2), (name, status)
        assert "Traceback" not in text, (name, text)
        if name in needing:
            assert status == 2, name
            assert text.count("\n") == 1, (name, text)
            assert "pip install" in text, (name, text)
            assert "gspnl[" in text, (name, text)
        else:
            assert "pip install" not in text, (name, text)
    for name, (kind, text) in found["doors"].items():
        if name in needing:
            assert kind == "MissingExtraError", (name, kind, text)
            assert "pip install" in text or "pass a photo" in text, (name, text)
            assert "\n" not in text, (name, text)
        else:
            assert kind in ("", "FileError"), (name, kind, text)


def test_each_package_is_missing_where_nothing_else_that_is_needed_is():
    assert sorted(name for group in APART for name in group) == sorted(NEEDS)
    for group in APART:
        needing = [door for name in group for door in NEEDS[name]]
        assert len(needing) == len(set(needing)), group


@pytest.mark.slow
@pytest.mark.parametrize("missing", SETS, ids="+".join)
def test_missing_packages_are_named_with_what_to_install(found, missing):
    check(found(missing), missing)


def test_without_torch_the_commands_that_train_name_their_extra(found):
    for name in TRAIN:
        status, text = found(APART[0])["commands"][name]
        assert (status, text.count("\n")) == (2, 1)
        assert text.endswith("gspnl.train needs torch; pip install 'gspnl[train]'\n")


@pytest.mark.slow
def test_broken_packages_are_one_line_too(found):
    broken = ("torch", "PIL", "matplotlib")
    needing = set().union(*(NEEDS[name] for name in broken))
    for name, (status, text) in found(broken, loud=True)["commands"].items():
        assert status in (0, 1, 2), (name, status)
        if name in needing:
            assert (status, text.count("\n")) == (2, 1), (name, text)
            assert "pip install" in text, (name, text)
