"""Runs and checkpoints as networks, with the test images that their recipe evaluates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.train import data
from gspnl.train.data import Split
from gspnl.train.recipes import Recipe
from gspnl.train.recipes.files import plain
from gspnl.train.runs import checkpoint_of

# What of a recipe a network is made of, and what its images are.
NETWORK = ("backbone", "backbone_options", "block", "place", "reduction", "units", "block_options")
IMAGES = ("data", "data_options", "evaluation")


def opened(path: str | PathLike[str], recipe: Recipe | None = None) -> tuple[Recipe, nn.Module]:
    """The recipe and the network of a run folder or checkpoint.

    Parameters
    ----------
    path : path
    recipe : Recipe, optional
        What it should be of; anything else is an error.

    Raises
    ------
    FileError
        If there is no such run, or it is damaged.
    InputError
        If it is of another recipe.
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
        differ = [name for name in names if plain(getattr(one, name)) != plain(getattr(two, name))]
        if differ:
            told = ", ".join(
                f"{name} {plain(getattr(one, name))!r} and {plain(getattr(two, name))!r}"
                for name in differ
            )
            raise InputError(
                f"{first} and {other} are of different recipes: {told}; take runs that agree"
            )


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some samples of a split; of several views, the first."""

    split: Split
    indices: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return np.asarray(self.split.labels[self.indices])

    def name(self, index: int) -> str:
        return self.split.name(int(self.indices[index]))

    def read(self, index: int) -> Tensor:
        return self._first(self.split.read(int(self.indices[index])), 1)

    def take(self, indices: np.ndarray) -> Tensor | None:
        samples = self.split.take(self.indices[indices])
        return None if samples is None else self._first(samples, 2)

    def _first(self, samples: Tensor, axis: int) -> Tensor:
        views = getattr(self.split, "views", 1)
        return samples.narrow(axis, 0, samples.shape[axis] // views)


def recipe_named(name: str) -> Recipe:
    """The recipe of a name, or of a TOML file."""
    from gspnl.train import recipe

    return recipe(name)


def evaluated(
    recipe: Recipe,
    path: str | PathLike[str] | None,
    first: int = 0,
    count: int = 8,
    seed: int = 0,
    runs: Sequence[str | PathLike[str]] = (),
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Tensor, Tensor]:
    """Test images as a recipe evaluates them, and the same with values in [0, 1].

    Parameters
    ----------
    recipe : Recipe
    path : path, optional
        Of the data.
    first, count : int
        The image ``first`` and those after it, as many as there are up to ``count``.
    seed : int
        Of what an evaluation draws, such as the place of a crop. A clip is the one in the middle
        of its part of the video.
    runs : sequence of path
        Runs or checkpoints that the images are for.
    say : callable
        Takes a line for each of them that was trained on other data.

    Returns
    -------
    images, pictures : tensors of shape (b, C, ``*spatial``)

    Raises
    ------
    DataError
        Where the data are missing or damaged.
    InputError
        If there is no image of that number.
    """
    whole_number("images", count, 1)
    found = data.load(recipe.data, path, **recipe.data_options)
    now = data.fingerprint(found) if runs else ""
    for run in runs:
        if (before := checkpoint_of(run).data) != now:
            say(
                f"{str(run)!r} was trained on other data (fingerprint {before}, of these {now}): "
                "the images, and the means they are normalised by, are not its own"
            )
    total = len(found.test.labels)
    if not 0 <= first < total:
        raise InputError(
            f"image {first} is not among the {total:,} test images of {recipe.data}; take one "
            f"from 0 to {total - 1}"
        )
    chosen = Chosen(found.test, np.arange(first, min(first + count, total)))
    batches = data.Batches(
        chosen, batch_size=len(chosen.indices), augmentation=recipe.evaluation, mean=found.mean,
        std=found.std, seed=seed, epoch=0, shuffle=False, drop_last=False, skip_bad=False,
    )  # fmt: skip
    images, _ = next(iter(batches))
    shape = (1, -1, *[1] * (images.ndim - 2))
    mean, std = (
        torch.tensor(values, dtype=images.dtype).reshape(shape)
        for values in (found.mean, found.std)
    )
    return images, (images * std + mean).clamp(0, 1)
