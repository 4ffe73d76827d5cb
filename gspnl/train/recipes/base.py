"""A recipe: everything that decides the numbers of an experiment, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gspnl._base.registry import Registry
from gspnl.errors import InputError
from gspnl.train.recipes import checks

# Fields that say something of a block alone, with their defaults.
OF_A_BLOCK: dict[str, Any] = {"place": None, "reduction": 2, "units": None, "block_options": {}}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An experiment: two runs of equal recipes on one kind of machine give equal numbers.

    Parameters
    ----------
    data : str
        A name of :data:`gspnl.train.data.DATASETS`.
    data_options : mapping
        Of the data set, such as ``split=2, clips=5``; not where its files are.
    backbone : str
        A name of :data:`gspnl.train.backbones.BACKBONES`.
    backbone_options : mapping
        Of the backbone, such as ``stem="imagenet"``.
    block : str or None
        A name of :data:`gspnl.nn.BLOCKS`; None trains the backbone alone, and then what is of a
        block (``place``, ``reduction``, ``units``, ``block_options``) must be left out.
    place : str or None
        Where blocks go, a name of the backbone's ``places``; None is its own default.
    reduction : int
        C₁ / Cs: the inner width is the channels at the place divided by this, at least 1.
    units : int or None
        Consecutive units that share one affinity; None is what the place says (1; sp3: 3; sp5: 5).
    block_options : mapping
        Further options of the block, such as ``kernel``, ``order``, ``match``.
    epochs : int
    batch_size : int
        Of all processes together, at least two for each. The last batch of an epoch, if it is
        smaller than an eighth of this (or one sample), is left out, however many processes there
        are.
    learning_rate, momentum, weight_decay : float
        Of stochastic gradient descent.
    nesterov : bool
    schedule : str
        "steps" (times ``gamma`` at each of ``milestones``, in epochs), "one_cycle" (up in
        ``warmup`` epochs, then down to 0 as a line) or "cosine"; all begin with ``warmup`` epochs
        of linear growth. Others are added to :data:`gspnl.train.schedules.SCHEDULES`.
    milestones : tuple of int
    gamma : float
    warmup : float
        Epochs, at most half of the training: a longer one is shortened to that.
    label_smoothing : float
        0 is off.
    clip : float
        Largest norm of the gradient; 0 is off.
    precision : str
        "float32", or for autocast "bfloat16" or "float16".
    channels_last : bool
        Memory format of network and images.
    sync_batch_norm : bool
        Statistics over all processes; without it each process has its own.
    augmentation : tuple of str
        Names of :data:`gspnl.train.data.AUGMENTATIONS` for training, in order, with arguments in
        the manner of ``"pad_crop(4)"``.
    evaluation : tuple of str
        The same for testing, such as ``("resize(256)", "centre_crop(224)")``.
    pretrained : str or None
        A state dict in a file, to start the backbone from; ``train`` takes another place of it.
    seed : int
        Of weights, order and augmentation.

    Raises
    ------
    InputError
        If a field has a wrong type or value, or speaks of a block where there is none. All fields
        are checked here, but for the names of data, backbone, block, place and augmentations, which
        are looked up when a run begins.

    Examples
    --------
    >>> from gspnl.train import Recipe
    >>> Recipe(data="digits", epochs=3, learning_rate=-0.1)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: learning_rate=-0.1 must be above 0; give a smaller step, such as 0.1
    """

    data: str = "cifar10"
    data_options: Mapping[str, Any] = field(default_factory=dict)
    backbone: str = "preresnet20"
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    block: str | None = None
    place: str | None = None
    reduction: int = OF_A_BLOCK["reduction"]
    units: int | None = None
    block_options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 300
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    nesterov: bool = False
    schedule: str = "steps"
    milestones: tuple[int, ...] = (150, 250)
    gamma: float = 0.1
    warmup: float = 0.0
    label_smoothing: float = 0.0
    clip: float = 0.0
    precision: str = "float32"
    channels_last: bool = False
    sync_batch_norm: bool = False
    augmentation: tuple[str, ...] = ("pad_crop(4)", "flip")
    evaluation: tuple[str, ...] = ()
    pretrained: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, check in checks.FIELDS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if self.block is None:
            idle = [name for name, unset in OF_A_BLOCK.items() if getattr(self, name) != unset]
            if idle:
                raise InputError(
                    f"there is no block, and {', '.join(idle)} would say nothing; set block too, "
                    "such as 'snl', or leave them out"
                )


RECIPES: Registry[Recipe] = Registry("recipe")
