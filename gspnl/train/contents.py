"""Check the values in a checkpoint of a run, whose checksum may be right all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.nn.checkpoints.contents import check_sizes
from gspnl.train.recipes import Recipe

WHOLE = ("epoch", "step", "peak_bytes")
SUMS = ("loss", "correct", "count", "seconds")
ROW = {"epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"}
ROW |= {"images_per_second", "learning_rate"}
IMAGE = (2, 4)  # channels and one to three spatial sizes


def check_header(about: Mapping[str, Any]) -> None:
    """Raise InputError unless shape, classes and fingerprint are of their types."""
    shape = about["shape"]
    if not isinstance(shape, list) or not IMAGE[0] <= len(shape) <= IMAGE[1]:
        raise InputError(f"shape={shape!r} must be channels and one to three spatial sizes")
    for size in shape:
        whole_number("shape", size, 1)
    whole_number("classes", about["classes"], 1)
    if not isinstance(about["data"], str):
        raise InputError(f"data={about['data']!r} must be a fingerprint")
    if not isinstance(about["scaler"], dict):
        raise InputError(f"scaler={about['scaler']!r} must map names to numbers")
    for name, value in about["scaler"].items():
        number(f"scaler.{name}", value)


def check_position(state: Any, recipe: Recipe) -> None:
    """Raise InputError unless the state is a position in a run of the recipe."""
    for name in WHOLE:
        whole_number(f"state.{name}", getattr(state, name))
    whole_number("state.epoch", state.epoch, 0, recipe.epochs, ", the epochs of the recipe")
    for name in SUMS:
        number(f"state.{name}", getattr(state, name))
    for name in ("rates", "rows", "skipped"):
        if not isinstance(getattr(state, name), list):
            raise InputError(f"state.{name}={getattr(state, name)!r} must be a list")
    for rate in state.rates:
        number("state.rates", rate, least=0)
    if not all(isinstance(name, str) for name in state.skipped):
        raise InputError("state.skipped must hold names")
    if len(state.rows) != state.epoch:
        raise InputError(f"state.rows has {len(state.rows)} epochs, and state.epoch={state.epoch}")
    for i, row in enumerate(state.rows, 1):
        if not isinstance(row, dict) or not set(row) >= ROW or row["epoch"] != i:
            raise InputError(f"state.rows[{i - 1}] is not the metrics of epoch {i}")
        for name in row:
            if not isinstance(name, str):
                raise InputError(f"state.rows[{i - 1}] has the name {name!r}")
            number(f"state.rows[{i - 1}].{name}", row[name])


def check_network(
    recipe: Recipe, shape: tuple[int, ...], classes: int, tensors: Mapping[str, Tensor]
) -> None:
    """Raise InputError where a recipe asks for more than a checkpoint has weights for."""
    weights = {k: v for k, v in tensors.items() if k.startswith("model.")}
    numbers = sum(value.numel() for value in weights.values())
    options = {"units": recipe.units, **recipe.block_options} if recipe.block else {}
    check_sizes({"block": recipe.block, **options}, weights)
    sizes = {"classes": classes, "channels": shape[0], **recipe.backbone_options}
    for name, value in sizes.items():
        if isinstance(value, int) and not isinstance(value, bool):
            whole_number(name, value, 0, numbers, f", as the file holds {numbers} numbers")
