"""Fingerprints of data sets, and resuming runs on the same data only."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.data_files import pictures, write_folder
from support.train_tiny import logged

from gspnl.errors import InputError
from gspnl.train import Recipe, data, train
from gspnl.train.data import Data, MemorySplit, fingerprint
from gspnl.train.interrupts import Stopped


def some(seed=0, classes=("a", "b"), **changes):
    """Two splits of eight images in memory."""
    rng = np.random.default_rng(seed)

    def split(n):
        images = torch.from_numpy(rng.integers(0, 256, (n, 3, 4, 4)).astype(np.uint8))
        return MemorySplit(images, np.arange(n) % len(classes), str)

    found = Data("some", classes, split(8), split(6), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return replace(found, **changes)


def permuted(split):
    """The same images with two labels exchanged."""
    labels = split.labels.copy()
    labels[[2, 3]] = labels[[3, 2]]
    return MemorySplit(split.take(np.arange(len(labels))), labels, str)


def shorter(split):
    indices = np.arange(len(split.labels) - 2)
    return MemorySplit(split.take(indices), split.labels[indices], str)


def test_fingerprints_are_equal_for_equal_data_only():
    plain = some()
    others = {
        "pixels": some(seed=1),
        "classes": some(classes=("a", "c")),
        "labels": replace(plain, train=permuted(plain.train)),
        "test labels": replace(plain, test=permuted(plain.test)),
        "count": replace(plain, train=shorter(plain.train)),
        "means": replace(plain, mean=(0.5, 0.5, 0.50001)),
        "splits": replace(plain, train=plain.test, test=plain.train),
    }
    prints = {name: fingerprint(found) for name, found in others.items()}
    assert fingerprint(some()) == fingerprint(plain)
    assert len({*prints.values(), fingerprint(plain)}) == len(prints) + 1
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in prints.values())


def test_an_empty_split_has_a_fingerprint():
    """Training on it raises the error."""
    empty = MemorySplit(torch.zeros(0, 3, 4, 4, dtype=torch.uint8), np.zeros(0, np.int64), str)
    plain = some()
    assert fingerprint(replace(plain, train=empty)) != fingerprint(replace(plain, test=empty))


def folders(path, seed):
    """Write class folders of small images."""
    write_folder(path, pictures(each=8, seed=seed)[0])
    return path


def test_moving_the_files_keeps_the_fingerprint(tmp_path):
    before = fingerprint(data.load("folder", folders(tmp_path / "here", 0)))
    (tmp_path / "here").rename(tmp_path / "there")
    assert fingerprint(data.load("folder", tmp_path / "there")) == before


@pytest.fixture
def recipe():
    return Recipe(data="folder", backbone="preresnet20", backbone_options={"width": 4},
                  epochs=2, batch_size=8, augmentation=())  # fmt: skip


def test_a_finished_run_is_refused_on_other_data(tmp_path, recipe):
    here, there = folders(tmp_path / "here", 0), folders(tmp_path / "there", 1)
    done = train(recipe, data=here, out=tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["data"] == fingerprint(data.load("folder", here))
    assert train(recipe, data=here, out=tmp_path / "run", resume=True).result == done.result
    with pytest.raises(InputError, match=r"on other data \(fingerprint \w{16}, .*name another"):
        train(recipe, data=there, out=tmp_path / "run", resume=True)


def test_resuming_a_run_on_other_data_is_refused(tmp_path, recipe):
    here, there = folders(tmp_path / "here", 0), folders(tmp_path / "there", 1)

    def stop(line):
        if line.startswith("epoch 1/2:"):
            raise Stopped(2, "epoch 1")

    with logged(stop), pytest.raises(Stopped):
        train(recipe, data=here, out=tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    with pytest.raises(InputError, match="on other data"):
        train(recipe, data=there, out=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    assert len(train(recipe, data=here, out=tmp_path / "run", resume=True).metrics) == 2
