"""Open runs as networks, with the test images that their recipe evaluates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.train import data
from gspnl.train.data import Split
from gspnl.train.recipes import Recipe, plain
from gspnl.train.run import checkpoint_of

log = logging.getLogger(__name__)

# The fields of a recipe that decide its network, and its images.
NETWORK = ("backbone", "backbone_options", "block", "place", "reduction", "units", "block_options")
IMAGES = ("data", "data_options", "evaluation")


def open_run(path: str | PathLike[str], recipe: Recipe | None = None) -> tuple[Recipe, nn.Module]:
    """Open the recipe and the network of a run, which must agree with ``recipe`` if one is passed.

    ``path`` is a run folder or a checkpoint.
    """
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


@dataclass(frozen=True, eq=False)
class Part:
    """Consecutive samples of a split."""

    split: Split
    first: int
    labels: np.ndarray

    def name(self, index: int) -> str:
        return self.split.name(self.first + index)

    def read(self, index: int) -> Tensor:
        return self.split.read(self.first + index)

    def take(self, indices: np.ndarray) -> Tensor | None:
        return self.split.take(self.first + indices)


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
    part = Part(test, first, test.labels[first : first + count])
    batches = data.Batches(
        part, batch_size=len(part.labels), augmentation=recipe.evaluation, mean=found.mean,
        std=found.std, seed=seed, epoch=0, shuffle=False, drop_last=False, skip_bad=False,
    )  # fmt: skip
    images = next(iter(batches))[0].chunk(getattr(test, "views", 1), 2)[0]
    shape = (1, -1, *[1] * (images.ndim - 2))
    mean, std = (
        torch.tensor(values, dtype=images.dtype).reshape(shape)
        for values in (found.mean, found.std)
    )
    return images, (images * std + mean).clamp(0, 1)
