"""Runs that are killed: nothing is lost, whenever it happens."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import train_tiny

from gspnl.train import checkpoints
from gspnl.train.recipes import Recipe, write

EPOCHS, SLOW = 6, 0.02  # 18 steps, about 0.5 s of training
ROOT = Path(__file__).parent.parent


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    options = {"slow": SLOW}
    write(Recipe(**{**train_tiny.FIELDS, "epochs": EPOCHS, "backbone_options": options}), path)
    return path


def start(recipe, out, *words, **environment):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, train_tiny.__file__, "train", str(recipe), "--out", str(out), *words],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def whole(recipe, out, **environment):
    process = start(recipe, out, **environment)
    assert process.wait(60) == 0, process.stderr.read()


def state(out):
    return checkpoints.load(out / "checkpoint.safetensors")


def same(one, other):
    a, b = state(one), state(other)
    assert set(a.tensors) == set(b.tensors)
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    times = ("seconds", "images_per_second")
    rows = [[{k: v for k, v in r.items() if k not in times} for r in c.state.rows] for c in (a, b)]
    assert rows[0] == rows[1]
    lines = [(out / "metrics.jsonl").read_text().splitlines() for out in (one, other)]
    assert [len(each) for each in lines] == [EPOCHS, EPOCHS]


def begun(process, out):
    """Wait until the process trains: it has written metrics of its own."""
    path, since = out / "metrics.jsonl", time.time_ns()
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns > since:
            return
        time.sleep(0.002)


def killed(recipe, tmp_path, kills, seed, **environment):
    """Kill at random moments of training and writing, resume, and compare."""
    dice = random.Random(seed)
    whole(recipe, tmp_path / "whole", **environment)
    out = tmp_path / "killed"
    for _ in range(kills):
        process = start(recipe, out, "--resume", "--checkpoint-every", "1", **environment)
        begun(process, out)
        time.sleep(dice.uniform(0, 0.8 * EPOCHS * 3 * SLOW / kills))
        process.kill()
        assert process.wait(60) == -signal.SIGKILL, process.stderr.read()
        if (out / "checkpoint.safetensors").exists():
            state(out)  # raises, were it damaged
    process = start(recipe, out, "--resume", **environment)
    assert process.wait(60) == 0, process.stderr.read()
    same(tmp_path / "whole", out)
    assert not list(out.glob(".checkpoint*"))


def test_three_kills(recipe, tmp_path):
    killed(recipe, tmp_path, 3, seed=int(time.time()))


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_ten_kills(recipe, tmp_path, threads):
    killed(recipe, tmp_path, 10, seed=int(time.time()), TINY_THREADS=threads)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_writes_and_stops(recipe, tmp_path, number, status):
    out = tmp_path / "run"
    process = start(recipe, out)
    begun(process, out)
    time.sleep(3 * SLOW)
    process.send_signal(number)
    assert process.wait(20) == status
    told = process.stderr.read().splitlines()[-1]
    name = signal.Signals(number).name
    assert told.startswith(f"gspnl train: stopped by {name} at epoch")
    assert told.endswith("and saved; go on with --resume")
    found = state(out).state
    assert found.epoch < EPOCHS
    process = start(recipe, out, "--resume", "--quiet")
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    whole(recipe, tmp_path / "whole")
    same(tmp_path / "whole", out)


def test_exit_statuses_and_one_line_errors(recipe, tmp_path):
    cases = [
        (2, "tinny.toml", (), "cannot read the recipe"),
        (2, str(recipe), ("--set", "blok=snl"), "did you mean 'block'"),
        (2, str(recipe), ("--threads", "0"), "threads=0"),
        (1, str(recipe), ("--set", "backbone_options.poison=2"), "nan at epoch 1, step 2"),
    ]
    for number, (status, name, words, message) in enumerate(cases):
        process = start(name, tmp_path / f"run{number}", "--quiet", *words)
        assert process.wait(60) == status
        told = process.stderr.read().splitlines()
        assert len(told) == 1, told
        assert told[0].startswith("gspnl train: ")
        assert message in told[0]
