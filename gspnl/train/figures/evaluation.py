"""Open runs as networks, with the test images that their recipe evaluates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.train import data
from gspnl.train.recipes import Recipe, plain
from gspnl.train.run import checkpoint_of

log = logging.getLogger(__name__)

# The fields of a recipe that decide its network, and its images.
NETWORK = ("backbone", "backbone_options", "block", "place", "reduction", "units", "block_options")
IMAGES = ("data", "data_options", "evaluation")


def open_run(path: str | PathLike[str], recipe: Recipe | None = None) -> tuple[Recipe, nn.Module]:
    """Open the recipe and network of a run; they must agree with ``recipe`` if one is passed."""
    from gspnl.train import load_run

    own, model = load_run(path)
    if recipe is not None:
        check_same({"--recipe": recipe, str(path): own}, (*NETWORK, "data", "data_options"))
    return own, model


def check_same(recipes: dict[str, Recipe], names: Sequence[str]) -> None:
    """Raise InputError unless all recipes agree in the fields of these names."""
    (first, one), *others = recipes.items()
    for other, two in others:
        pairs = {name: [plain(getattr(each, name)) for each in (one, two)] for name in names}
        differ = [f"{name} {a!r} and {b!r}" for name, (a, b) in pairs.items() if a != b]
        if differ:
            raise InputError(
                f"{first} and {other} are of different recipes: {', '.join(differ)}; take runs "
                "that agree"
            )


def evaluation_images(
    recipe: Recipe,
    path: str | PathLike[str] | None,
    first: int = 0,
    count: int = 8,
    seed: int = 0,
    runs: Sequence[str | PathLike[str]] = (),
) -> tuple[Tensor, Tensor]:
    """Load test images as a recipe evaluates them, and the same with values in [0, 1].

    Of a sample of several views, the first. ``seed`` is of random choices in the evaluation, such
    as the place of a crop; a clip is the one in the middle of its part of the video. A warning is
    logged for each of ``runs`` that was trained on other data.
    """
    whole_number("images", count, 1)
    found = data.load(recipe.data, path, **recipe.data_options)
    now = data.fingerprint(found) if runs else ""
    for run in runs:
        if (before := checkpoint_of(run).data) != now:
            log.warning(
                f"{str(run)!r} was trained on other data (fingerprint {before}, of these {now}): "
                "the images, and the means they are normalised by, are not its own"
            )
    test = found.test
    whole_number("image", first, 0, len(test.labels) - 1, f", the test images of {recipe.data}")
    part: Any = SimpleNamespace(  # the split of these samples
        labels=test.labels[first : first + count],
        name=lambda index: test.name(first + index),
        read=lambda index: test.read(first + index),
        take=lambda indices: test.take(first + indices),
    )
    batches = data.Batches(
        part, batch_size=len(part.labels), augmentation=recipe.evaluation, mean=found.mean,
        std=found.std, seed=seed, epoch=0, shuffle=False, drop_last=False, skip_bad=False,
    )  # fmt: skip
    images = next(iter(batches))[0].chunk(getattr(test, "views", 1), 2)[0]
    shape = (-1, *[1] * (images.ndim - 2))
    mean, std = (images.new_tensor(values).reshape(shape) for values in (found.mean, found.std))
    return images, (images * std + mean).clamp(0, 1)
