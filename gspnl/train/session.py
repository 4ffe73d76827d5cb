"""What one process of a run works with: its data, its network, where it is, and what is kept."""

from __future__ import annotations

from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gspnl.errors import ConvergenceError, InputError
from gspnl.train import checkpoints, data, facts, gathering, networks
from gspnl.train.checkpoints import Checkpoint, State
from gspnl.train.determinism import generators, restore_generators
from gspnl.train.memory import Memory
from gspnl.train.processes import Processes
from gspnl.train.recipes import Recipe
from gspnl.train.runs import CHECKPOINT, fit, same_data, tidy
from gspnl.train.shares import counted


class Session:
    """What :func:`gspnl.train.train` works with.

    Parameters
    ----------
    recipe : Recipe
    path : Path, optional
        Of the data.
    skip_bad : bool
    among : Processes
    pretrained : path, optional
        Where the weights lie that the recipe starts from.
    """

    def __init__(
        self,
        recipe: Recipe,
        path: Path | None,
        skip_bad: bool,
        among: Processes,
        pretrained: str | PathLike[str] | None = None,
    ) -> None:
        self.recipe, self.skip_bad, self.among = recipe, skip_bad, among
        self.data = opened(recipe, path, skip_bad)
        self.fingerprint = data.fingerprint(self.data)
        self.drop_last, self.steps = counted(
            len(self.data.train.labels), recipe.batch_size, among.world
        )
        self.state, self.out = State(skipped=list(self.data.skipped)), Path()
        image = self._image()
        self.shape = tuple(image.shape)
        self.memory = Memory(among.device)  # the data are there, and the network is not
        torch.manual_seed(recipe.seed)
        classes = len(self.data.classes)
        model = networks.network(recipe, self.shape, classes, pretrained=pretrained)
        self.flops = facts.flops(model, image)
        self.layout = networks.layout(recipe, len(self.shape) - 1)
        self.model = model.to(among.device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimiser = networks.optimiser(recipe, self.model)
        self.scaler = networks.scaler(recipe, among.device)

    def _image(self) -> Tensor:
        """An image as the network sees it in training."""
        with closing(iter(self.batches("train", single=True))) as source:
            for images, _ in source:
                if len(images):  # else it was damaged, and is left out
                    found: Tensor = images[0]
                    return found
        raise InputError("the data have no training samples; give a data set that has some")

    def open(self, out: Path) -> None:
        """Go on from the checkpoint of a folder, if there is one."""
        self.out = out
        path = out / CHECKPOINT
        if self.among.first:
            tidy(out)
        tensors: dict[str, Tensor] = {}
        if path.exists():
            found = checkpoints.load(path)
            same_data(out, found.data, self.fingerprint)
            fit(self.model, found, path)
            networks.restore_optimiser(self.optimiser, self.model, found.part("optimiser"))
            if found.scaler:
                self.scaler.load_state_dict(dict(found.scaler))
            self.state, tensors = found.state, found.part("rng")
        restore_generators(self.among, tensors, self.recipe.seed + 7919 * (self.among.rank + 1))

    def batches(self, split: str, *, start: int = 0, single: bool = False) -> Any:
        """Batches of an epoch, "train" or "test": this process's share of each, or one by one."""
        training = split == "train"
        return data.Batches(
            getattr(self.data, split),
            batch_size=1 if single else self.recipe.batch_size,
            augmentation=self.recipe.augmentation if training else self.recipe.evaluation,
            mean=self.data.mean,
            std=self.data.std,
            seed=self.recipe.seed,
            epoch=self.state.epoch if training else 0,
            shuffle=training,
            start=start,
            rank=0 if single else self.among.rank,
            world=1 if single else self.among.world,
            drop_last=training and self.drop_last,
            skip_bad=self.skip_bad,
        )

    def placed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A batch on the device."""
        device = self.among.device
        return images.to(device, memory_format=self.layout), labels.to(device)

    def note(self, loader: Any) -> None:
        """Remember what was left out of the batches that a loader has given."""
        fresh = set(loader.skipped).difference(self.state.skipped)
        self.state.skipped = sorted(fresh.union(self.state.skipped))

    def save(self) -> None:
        """Write a checkpoint, unless what it would hold is not finite."""
        self.among.share(self.model.buffers())
        kept = self.model.state_dict()
        # Weights that overflowed must not take the place of the last good ones.
        if not all(bool(value.isfinite().all()) for value in kept.values()):
            raise ConvergenceError(self.diverged("the weights are no longer finite"))
        states = generators(self.among)
        self.state.skipped = gathering.lines(self.among, self.state.skipped)
        self.state.peak_bytes = max(self.state.peak_bytes, self.memory.taken())
        tensors = {f"model.{name}": value for name, value in kept.items()}
        for name, value in networks.optimiser_state(self.optimiser, self.model).items():
            tensors[f"optimiser.{name}"] = value
        for name, value in states.items():
            tensors[f"rng.{name}"] = value
        found = Checkpoint(
            self.recipe,
            self.shape,
            len(self.data.classes),
            self.fingerprint,
            self.state,
            self.scaler.state_dict(),
            tensors,
        )

        def write() -> None:
            if self.among.first:
                checkpoints.save(found, self.out / CHECKPOINT)

        self.among.agree(write)

    def diverged(self, what: str) -> str:
        kept = (self.out / CHECKPOINT).exists()
        return (
            f"{what} at epoch {self.state.epoch + 1}, step {self.state.step + 1}; "
            + ("the last good checkpoint is kept; " if kept else "")
            + "lower learning_rate, lengthen warmup, or set clip"
        )


def opened(recipe: Recipe, path: Path | None, skip_bad: bool) -> data.Data:
    """The data of a recipe."""
    return data.load(recipe.data, path, skip_bad=skip_bad, **recipe.data_options)
