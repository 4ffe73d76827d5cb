"""The learning rate of every step, as a multiple of the recipe's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from gspnl._base.registry import Registry

if TYPE_CHECKING:
    from gspnl.train.recipes import Recipe

SCHEDULES: Registry[Callable[[Recipe, int, int], float]] = Registry("schedule")


def factor(recipe: Recipe, step: int, steps: int) -> float:
    r"""Multiple of the learning rate at a step.

    With w steps of warm-up, step s < w has

    .. math:: \frac{s + 1}{w}

    and what follows is the recipe's schedule: "steps" is γ^m after m milestones, "cosine"
    :math:`\tfrac12 (1 + \cos π u)` and "one_cycle" :math:`1 - u`, with :math:`u = (s - w)/(S - w)`
    and S the number of all steps. A warm-up is at most S/2 long.

    Parameters
    ----------
    recipe : Recipe
    step : int
        From 0, over all epochs.
    steps : int
        In one epoch.

    Returns
    -------
    float

    Examples
    --------
    >>> from gspnl.train import Recipe
    >>> from gspnl.train.schedules import factor
    >>> recipe = Recipe(epochs=4, schedule="one_cycle", warmup=2)
    >>> [factor(recipe, step, 2) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rising = warm(recipe, steps)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[recipe.schedule](recipe, step, steps)


def warm(recipe: Recipe, steps: int) -> int:
    """How many steps the warm-up takes."""
    return min(round(recipe.warmup * steps), recipe.epochs * steps // 2)


def _position(recipe: Recipe, step: int, steps: int) -> float:
    """Position u in [0, 1) after the warm-up."""
    rising = warm(recipe, steps)
    return (step - rising) / (recipe.epochs * steps - rising)


@SCHEDULES.register("steps")
def by_steps(recipe: Recipe, step: int, steps: int) -> float:
    """γ for each milestone that has passed."""
    return recipe.gamma ** sum(step >= epoch * steps for epoch in recipe.milestones)


@SCHEDULES.register("one_cycle")
def one_cycle(recipe: Recipe, step: int, steps: int) -> float:
    """Down as a line."""
    return 1 - _position(recipe, step, steps)


@SCHEDULES.register("cosine")
def cosine(recipe: Recipe, step: int, steps: int) -> float:
    """Down as half a cosine."""
    return (1 + math.cos(math.pi * _position(recipe, step, steps))) / 2
