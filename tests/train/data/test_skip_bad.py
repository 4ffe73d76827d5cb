"""Training with ``skip_bad``: damaged samples are left out and all of them listed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from support.train_tiny import FIELDS, HOOKS, SAMPLES, logged, split
from torch.nn import functional as F

from gspnl.errors import InputError
from gspnl.train import Recipe, checkpoints, data, train
from gspnl.train.data.randomness import order
from gspnl.train.interrupts import Stopped
from gspnl.train.networks import network

pytestmark = pytest.mark.usefixtures("tiny_registered")
SIZE, STEPS = 16, 3
FIRST = order(0, 0, SAMPLES).tolist()  # of the first epoch
PLAIN = {"backbone_options": {"drop": 0.0}}
CASES = {
    "the first sample": FIRST[:1],
    "the first batch": FIRST[:SIZE],
    "a batch in between": FIRST[SIZE : 2 * SIZE],
    "the last batch": FIRST[2 * SIZE :],
    "all but one of a batch": FIRST[: SIZE - 1],
}


@pytest.fixture(autouse=True)
def no_hooks():
    yield
    HOOKS.clear()


@pytest.fixture
def damage(monkeypatch):
    def set_(train=(), tests=()):
        monkeypatch.setenv("TINY_BAD", ",".join(map(str, train)))
        monkeypatch.setenv("TINY_BAD_TESTS", ",".join(map(str, tests)))

    return set_


def lines(train=(), tests=()):
    return sorted(
        [f"record {i} is damaged" for i in train] + [f"test record {i} is damaged" for i in tests]
    )


def state(out):
    return checkpoints.load(out / "checkpoint.safetensors")


def by_hand(recipe, bad):
    """Losses and weights of training on the sound samples of each batch, in a plain loop."""
    torch.manual_seed(recipe.seed)
    model = network(recipe, (3, 8, 8), 4)
    optimiser = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=recipe.weight_decay)
    samples, losses = split(SAMPLES, 0), []
    pixels = (samples.images.numpy().astype(np.float32) / 255 - np.float32(0.3)) / np.float32(0.2)
    for epoch in range(recipe.epochs):
        total = count = 0
        numbers = order(0, epoch, SAMPLES)
        for start in range(0, SAMPLES, SIZE):
            sound = [i for i in numbers[start : start + SIZE] if i not in bad]
            if len(sound) < 2:
                continue
            y = torch.from_numpy(samples.labels[sound])
            loss = F.cross_entropy(model(torch.from_numpy(pixels[sound])), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total, count = total + float(loss.detach()) * len(sound), count + len(sound)
        losses.append(total / count)
    return losses, model.state_dict()


@pytest.mark.parametrize("case", CASES)
def test_training_uses_the_sound_samples_of_each_batch(case, damage, tmp_path):
    damage(CASES[case])
    recipe, log = Recipe(**FIELDS, **PLAIN), []
    with logged(log.append):
        done = train(recipe, out=tmp_path / "run", skip_bad=True)
    losses, weights = by_hand(recipe, CASES[case])
    # float32: a mean and a divided sum round differently.
    assert [row["train_loss"] for row in done.metrics] == pytest.approx(losses, rel=1e-5)
    found = state(tmp_path / "run").part("model")
    assert all(torch.allclose(found[name], weights[name], atol=1e-5) for name in weights)
    assert done.result["skipped"] == lines(CASES[case])
    passed = [line for line in log if "passed over" in line]
    assert len(passed) == (len(CASES[case]) > 1), log


def test_runs_without_sound_samples_are_refused(damage, tmp_path):
    damage(range(SAMPLES))
    with pytest.raises(data.DataError, match="none of 40 samples can be read: record 0 is damaged"):
        train(Recipe(**FIELDS), out=tmp_path / "run", skip_bad=True)
    assert not (tmp_path / "run").exists()
    damage(FIRST[1:])
    recipe = Recipe(**{**FIELDS, "batch_size": 2})
    with pytest.raises(InputError, match="all steps of epoch 1 were passed over"):
        train(recipe, out=tmp_path / "one", skip_bad=True)
    damage(tests=range(12))
    with pytest.raises(data.DataError, match="none of 12 samples can be read: test record 0"):
        train(Recipe(**FIELDS), out=tmp_path / "test", skip_bad=True)


@pytest.mark.slow
def test_checkpoints_list_the_samples_skipped_so_far(damage, tmp_path):
    bad, tests = FIRST[:3] + FIRST[SIZE : 2 * SIZE], [5, 7]
    damage(bad, tests)
    recipe, options = Recipe(**FIELDS), {"skip_bad": True, "checkpoint_every": 1}
    seen = []

    def look():
        path = tmp_path / "whole" / "checkpoint.safetensors"
        seen.append(state(tmp_path / "whole").state.skipped if path.exists() else [])

    HOOKS.update(dict.fromkeys(range(1, 6), look))  # calls: the second step has none
    whole = train(recipe, out=tmp_path / "whole", **options)
    first, second, *others = seen
    assert (first, second) == (
        [],
        lines(bad),
    )  # after two steps; those of the next one are read ahead
    assert others == [lines(bad, tests)] * 3
    assert whole.result["skipped"] == lines(bad, tests)
    HOOKS.clear()

    out = tmp_path / "parts"

    def stop(line=""):
        if "passed over" in line or not line:
            os.kill(os.getpid(), signal.SIGTERM)

    HOOKS[1] = stop
    with pytest.raises(Stopped, match="epoch 1, step 1"):  # before the second step
        train(recipe, out=out, **options)
    HOOKS.clear()
    assert set(lines(FIRST[:3])) <= set(state(out).state.skipped)
    with logged(stop), pytest.raises(Stopped, match="epoch 1, step 2"):  # after it, passed over
        train(recipe, out=out, **options, resume=True)
    assert (state(out).state.step, len(state(out).state.rates)) == (2, 1)  # no images, no rate
    assert state(out).state.skipped == lines(bad)
    done = train(recipe, out=out, **options, resume=True)
    assert done.result["skipped"] == whole.result["skipped"]
    a, b = state(tmp_path / "whole"), state(out)
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    assert a.state.skipped == b.state.skipped == lines(bad, tests)
