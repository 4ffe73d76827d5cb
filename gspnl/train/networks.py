"""Make the network, optimiser and precision of a recipe."""

from __future__ import annotations

import contextlib
import dataclasses
from contextlib import AbstractContextManager
from os import PathLike

import torch
from torch import Tensor, nn

from gspnl.errors import GspnlError, InputError
from gspnl.nn.parallel.batch_norm import synchronise
from gspnl.train.recipes import Recipe

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def network(
    recipe: Recipe,
    shape: tuple[int, ...],
    classes: int,
    *,
    pretrained: str | PathLike[str] | None = None,
) -> nn.Module:
    """Make the network of a recipe for images of a shape (C, spatial sizes), on the CPU.

    The backbone starts from the file ``pretrained``, if given; else its weights are drawn from
    torch's global generator before the block's: they are the same whatever the block.
    """
    from gspnl.train import backbones

    model = backbones.create(
        recipe.backbone, classes=classes, channels=shape[0], **recipe.backbone_options
    )
    if pretrained is not None:
        backbones.load_pretrained(model, pretrained)
    if recipe.block is not None:
        options = {"units": recipe.units, **recipe.block_options}
        backbones.place(model, recipe.block, recipe.place, reduction=recipe.reduction, **options)
    if recipe.sync_batch_norm:
        synchronise(model)
    return model


def check_names(recipe: Recipe) -> None:
    """Raise InputError for names and options of a recipe that do not exist, before data are read.

    The network is made without memory, for images of 3 channels and 2 classes.
    """
    from gspnl.train.data import DATASETS
    from gspnl.train.data.augmentations import chain

    DATASETS[recipe.data]
    for parts in (recipe.augmentation, recipe.evaluation):
        chain(parts)
    with contextlib.suppress(_NoVerdict), torch.random.fork_rng(devices=[]), torch.device("meta"):
        try:
            network(dataclasses.replace(recipe, sync_batch_norm=False), (3,), 2)
        except GspnlError:
            raise
        except Exception as error:  # perhaps for want of memory or data: known later
            raise _NoVerdict from error


class _NoVerdict(Exception):
    """The network could not be made without memory."""


def optimiser(recipe: Recipe, model: nn.Module) -> torch.optim.SGD:
    """Make stochastic gradient descent; all parameters decay, as in the paper."""
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov and recipe.momentum > 0,
    )


def layout(recipe: Recipe, dimensions: int) -> torch.memory_format:
    """Choose the memory format of network and images."""
    last = {2: torch.channels_last, 3: torch.channels_last_3d} if recipe.channels_last else {}
    return last.get(dimensions, torch.contiguous_format)


def precise(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """Make the context of mixed precision, or of none."""
    dtype = DTYPES.get(recipe.precision)
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """Make the scaler that keeps small gradients in the range of float16."""
    return torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")


def optimiser_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Collect the optimiser's tensors by the names of their parameters."""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Put the tensors of :func:`optimiser_state` back."""
    parameters = dict(model.named_parameters())
    for full, value in tensors.items():
        name, _, key = full.rpartition(".")
        if name not in parameters:
            raise InputError(f"the optimiser has {full!r}, and the network no parameter {name!r}")
        if value.shape != parameters[name].shape or not value.is_floating_point():
            raise InputError(
                f"{full!r} of the optimiser is {value.dtype} of shape {tuple(value.shape)}, and "
                f"its parameter of shape {tuple(parameters[name].shape)}"
            )
        fresh = torch.empty_like(parameters[name])  # in the parameter's own layout
        optimizer.state[parameters[name]][key] = fresh.copy_(value)
