"""Learning rates against torch's schedulers and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import lr_scheduler

from gspnl.errors import InputError
from gspnl.train import Recipe
from gspnl.train.recipes import SCHEDULES, factor

STEPS = 5  # an epoch


def ours(recipe):
    return [factor(recipe, step, STEPS) for step in range(recipe.epochs * STEPS)]


def rates(build, count):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build(optimiser)
    found = []
    for _ in range(count):
        found.append(scheduler.get_last_lr()[0])
        optimiser.step()
        scheduler.step()
    return found


def test_steps_equal_torchs_multistep():
    recipe = Recipe(epochs=9, milestones=(3, 4, 8), gamma=0.2)
    marks = [3 * STEPS, 4 * STEPS, 8 * STEPS]
    truth = rates(lambda o: lr_scheduler.MultiStepLR(o, marks, 0.2), 9 * STEPS)
    assert ours(recipe) == pytest.approx(truth, rel=1e-12)


def test_cosine_equals_torchs():
    recipe = Recipe(epochs=6, schedule="cosine")
    truth = rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 6 * STEPS), 6 * STEPS)
    assert ours(recipe) == pytest.approx(truth, rel=1e-9, abs=1e-12)  # torch's is recursive


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_warm_up_is_linear_and_comes_first(schedule):
    recipe = Recipe(epochs=8, schedule=schedule, warmup=2.0, milestones=(3, 5))
    rising = 2 * STEPS
    truth = rates(lambda o: lr_scheduler.LinearLR(o, 1 / rising, 1.0, rising - 1), rising)
    assert ours(recipe)[:rising] == pytest.approx(truth, rel=1e-12)
    assert ours(recipe)[rising] == 1.0


def test_linear_rises_and_falls_as_lines():
    recipe = Recipe(epochs=8, schedule="linear", warmup=2.0)
    rising, total = 2 * STEPS, 8 * STEPS
    up = [(s + 1) / rising for s in range(rising)]
    down = [(total - s) / (total - rising) for s in range(rising, total)]
    assert ours(recipe) == pytest.approx(up + down, rel=1e-12)


def test_cosine_after_warm_up_ends_at_zero():
    values = ours(Recipe(epochs=8, schedule="cosine", warmup=1.5))
    rising = round(1.5 * STEPS)
    u = (len(values) - 1 - rising) / (len(values) - rising)
    assert values[-1] == pytest.approx((1 + math.cos(math.pi * u)) / 2, rel=1e-12)


def test_a_long_warm_up_is_shortened_to_half_of_the_training():
    values = ours(Recipe(epochs=2, schedule="linear", warmup=40.0))
    assert values.index(max(values)) == STEPS - 1
    assert all(0 < value <= 1 for value in values)


def test_a_registered_schedule_is_used():
    SCHEDULES.register("flat")(lambda recipe, step, steps: 0.5)
    try:
        assert ours(Recipe(epochs=2, schedule="flat")) == [0.5] * 2 * STEPS
    finally:
        SCHEDULES.unregister("flat")
    with pytest.raises(InputError, match="unknown schedule 'step'; did you mean 'steps'"):
        Recipe(schedule="step")
