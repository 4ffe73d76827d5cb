"""Define a recipe: all that decides the numbers of an experiment, and its learning rates."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from gspnl._base.registry import Registry
from gspnl.errors import InputError
from gspnl.train.recipes import checks

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
OF_A_BLOCK = ("place", "reduction", "units", "block_options")  # left out without a block


def _registered(name: str) -> str:
    SCHEDULES[name]
    return name


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe:
    """An experiment: two runs of equal recipes on one kind of machine give equal numbers.

    Parameters
    ----------
    data, data_options : str, mapping
        A name of :data:`gspnl.train.data.DATASETS`, and options such as ``split=2, clips=5``; not
        where its files are.
    backbone, backbone_options : str, mapping
        A name of :data:`gspnl.train.backbones.BACKBONES`, and options such as ``stem="imagenet"``.
    block : str or None
        A name of :data:`gspnl.nn.BLOCKS`; None trains the backbone alone, and then ``place``,
        ``reduction``, ``units`` and ``block_options`` must be left out.
    place : str or None
        Where blocks go, a name of the backbone's ``places``; None is its own default.
    reduction : int
        C₁ / Cs: the inner width is the channels at the place divided by this, at least 1.
    units : int or None
        Consecutive units that share one affinity; None is the place's own (1; sp3: 3; sp5: 5).
    block_options : mapping
        Further options of the block, such as ``kernel``, ``order``, ``match``.
    epochs : int
    batch_size : int
        Of all processes together, at least two for each. The last batch of an epoch is left out if
        it is smaller than an eighth of this (or one sample), however many processes there are.
    learning_rate, momentum, weight_decay, nesterov : float, float, float, bool
        Of stochastic gradient descent.
    schedule, milestones, gamma, warmup : str, tuple of int, float, float
        A name of :data:`gspnl.train.recipes.SCHEDULES`: "steps" (times ``gamma`` at each of
        ``milestones``, in epochs), "linear" (down to 0 as a line) or "cosine" (down to 0 as half a
        cosine); all begin with ``warmup`` epochs of linear growth, at most half of the training.
    label_smoothing, clip : float
        The latter is the largest norm of the gradient. 0 is off.
    precision : str
        "float32", or for autocast "bfloat16" or "float16".
    channels_last : bool
        Memory format of network and images.
    sync_batch_norm : bool
        Statistics over all processes; without it each process has its own.
    augmentation, evaluation : tuple of str
        For training and testing: names of :data:`gspnl.train.data.AUGMENTATIONS`, in order, with
        arguments as in ``("resize(256)", "centre_crop(224)")``.
    pretrained : str or None
        A state dict in a file that the backbone starts from; ``train`` can be given another path.
    seed : int
        Of weights, order and augmentation.

    Raises
    ------
    InputError
        For an unknown field, a wrong type or value, or a field of a block where there is none.
        Names in registries, but for the schedule, are looked up when a run begins.

    Examples
    --------
    >>> from gspnl.train import Recipe
    >>> Recipe(data="digits", epochs=3, learning_rate=-0.1)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: learning_rate=-0.1 must be greater than 0; the default is 0.1
    """

    data: checks.Name = "cifar10"
    data_options: checks.Options = field(default_factory=dict)
    backbone: checks.Name = "preresnet20"
    backbone_options: checks.Options = field(default_factory=dict)
    block: checks.Name | None = None
    place: checks.Name | None = None
    reduction: checks.Count = 2
    units: checks.Units | None = None
    block_options: checks.Options = field(default_factory=dict)
    epochs: checks.Count = 300
    batch_size: checks.Count = 128
    learning_rate: checks.Positive = 0.1
    momentum: checks.Fraction = 0.9
    weight_decay: checks.AtLeastZero = 1e-4
    nesterov: bool = False
    schedule: Annotated[str, AfterValidator(_registered)] = "steps"
    milestones: checks.Milestones = (150, 250)
    gamma: checks.Positive = 0.1
    warmup: checks.AtLeastZero = 0.0
    label_smoothing: checks.Fraction = 0.0
    clip: checks.AtLeastZero = 0.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    sync_batch_norm: bool = False
    augmentation: checks.Names = ("pad_crop(4)", "flip")
    evaluation: checks.Names = ()
    pretrained: checks.Name | None = None
    seed: checks.Seed = 0

    _builtin = field_validator("*", mode="before")(checks.builtin)

    def __post_init__(self) -> None:
        idle = [name for name in OF_A_BLOCK if getattr(self, name) != DEFAULTS[name]]
        if self.block is None and idle:
            raise InputError(
                f"there is no block, and {', '.join(idle)} would have no effect; set block too, "
                "such as 'snl', or leave them out"
            )


DEFAULTS: dict[str, Any] = {
    each.name: {} if each.default is MISSING else each.default for each in fields(Recipe)
}


_validate = Recipe.__init__


@functools.wraps(_validate)
def _init(self: Recipe, **values: Any) -> None:
    try:
        _validate(self, **values)
    except ValidationError as error:
        raise InputError(checks.one_line(error, DEFAULTS)) from None


# In place of the constructor of pydantic, whose errors are long.
Recipe.__init__ = _init  # type: ignore[method-assign]

RECIPES: Registry[Recipe] = Registry("recipe")
SCHEDULES: Registry[Callable[[Recipe, int, int], float]] = Registry("schedule")


def factor(recipe: Recipe, step: int, steps: int) -> float:
    r"""Multiple of the learning rate at a step, in closed form.

    With w steps of warm-up, at most half of all S steps, step s < w has

    .. math:: \frac{s + 1}{w}

    and the others follow the recipe's schedule: "steps" is γ^m after m milestones, "cosine"
    :math:`\tfrac12 (1 + \cos π u)` and "linear" :math:`1 - u`, with :math:`u = (s - w)/(S - w)`.
    Steps count from 0 over all epochs; ``steps`` is their number in one epoch.

    Examples
    --------
    >>> from gspnl.train.recipes import Recipe, factor
    >>> recipe = Recipe(epochs=4, schedule="linear", warmup=2)
    >>> [factor(recipe, step, 2) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    warm = _warm(recipe, steps)
    if step < warm:
        return (step + 1) / warm
    return SCHEDULES[recipe.schedule](recipe, step, steps)


def _warm(recipe: Recipe, steps: int) -> int:
    """Steps of warm-up."""
    return min(round(recipe.warmup * steps), recipe.epochs * steps // 2)


def _position(recipe: Recipe, step: int, steps: int) -> float:
    """Position u in [0, 1) after the warm-up."""
    warm = _warm(recipe, steps)
    return (step - warm) / (recipe.epochs * steps - warm)


@SCHEDULES.register("steps")
def _by_steps(recipe: Recipe, step: int, steps: int) -> float:
    return recipe.gamma ** sum(step >= epoch * steps for epoch in recipe.milestones)


@SCHEDULES.register("linear")
def _linear(recipe: Recipe, step: int, steps: int) -> float:
    return 1 - _position(recipe, step, steps)


@SCHEDULES.register("cosine")
def _cosine(recipe: Recipe, step: int, steps: int) -> float:
    return (1 + math.cos(math.pi * _position(recipe, step, steps))) / 2
