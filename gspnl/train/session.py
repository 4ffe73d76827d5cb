"""Hold what one rank trains with: data, network, optimiser, state; save and restore them."""

from __future__ import annotations

from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gspnl._base.validate import whole_number
from gspnl.errors import ConvergenceError, FileError
from gspnl.train import checkpoints, cost, data, networks
from gspnl.train.checkpoints import Checkpoint, State
from gspnl.train.distributed import Ranks, batch_count
from gspnl.train.recipes import Recipe
from gspnl.train.run import CHECKPOINT, check_data, fit


class Session:
    """The objects of a run on one rank; ``path`` is that of the data."""

    def __init__(
        self,
        recipe: Recipe,
        path: Path | None,
        skip_bad: bool,
        ranks: Ranks,
        pretrained: str | PathLike[str] | None = None,
    ) -> None:
        self.recipe, self.skip_bad, self.ranks = recipe, skip_bad, ranks
        networks.check_names(recipe)
        self.data = open_data(recipe, path, skip_bad)
        self.fingerprint = data.fingerprint(self.data)
        self.drop_last, self.steps = batch_count(
            len(self.data.train.labels), recipe.batch_size, ranks.world
        )
        self.state, self.out = State(skipped=list(self.data.skipped)), Path()
        alone = {"batch_size": 1, "rank": 0, "world": 1}
        with closing(iter(self.batches("train", **alone))) as source:  # of damaged samples none
            image = next(images[0] for images, _ in source if len(images))
        self.shape = tuple(image.shape)
        self.memory = cost.Memory(ranks.device)  # of the network and training; the data are loaded
        torch.manual_seed(recipe.seed)
        classes = len(self.data.classes)
        model = networks.network(recipe, self.shape, classes, pretrained=pretrained)
        self.flops = cost.flops(model, image)
        self.layout = networks.layout(recipe, len(self.shape) - 1)
        self.model = model.to(ranks.device).to(memory_format=self.layout)  # type: ignore[call-overload]  # torch's stubs lack it
        self.optimiser = networks.optimiser(recipe, self.model)
        self.scaler = networks.scaler(recipe, ranks.device)

    def open(self, out: Path) -> None:
        """Restore the checkpoint of a folder, if there is one."""
        self.out = out
        path = out / CHECKPOINT
        torch.manual_seed(self.recipe.seed + 7919 * (self.ranks.rank + 1))
        if not path.exists():
            return
        found = checkpoints.load(path)
        check_data(out, found.data, self.fingerprint)
        fit(self.model, found, path)
        try:
            whole_number("state.step", found.state.step, 0, self.steps, ", the steps of an epoch")
            networks.restore_optimiser(self.optimiser, self.model, found.part("optimiser"))
            if found.scaler:
                self.scaler.load_state_dict(dict(found.scaler))
            states = found.part("rng")
            for kind, module in self._generators().items():
                if (state := states.get(f"{kind}.{self.ranks.rank}")) is not None:
                    module.set_rng_state(state)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise FileError(
                f"{str(path)!r} does not hold the state of this run: "
                f"{' '.join(str(error).split())}; put back a copy, or begin again in another folder"
            ) from error
        self.state = found.state

    def _generators(self) -> dict[str, Any]:
        """The modules that hold torch's generators: of the CPU, and of a GPU of this rank."""
        return {"cpu": torch} | ({"cuda": torch.cuda} if self.ranks.device.type == "cuda" else {})

    def batches(self, split: str, **changes: Any) -> Any:
        """Batches of an epoch, "train" or "test": this rank's share of each."""
        training = split == "train"
        options = {
            "batch_size": self.recipe.batch_size,
            "augmentation": self.recipe.augmentation if training else self.recipe.evaluation,
            "mean": self.data.mean,
            "std": self.data.std,
            "seed": self.recipe.seed,
            "epoch": self.state.epoch if training else 0,
            "shuffle": training,
            "rank": self.ranks.rank,
            "world": self.ranks.world,
            "drop_last": training and self.drop_last,
            "skip_bad": self.skip_bad,
        }
        return data.Batches(getattr(self.data, split), **{**options, **changes})

    def to_device(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Move a batch to the device, in the network's memory format."""
        device = self.ranks.device
        return images.to(device, memory_format=self.layout), labels.to(device)

    def save(self) -> None:
        """Write a checkpoint, unless the weights are not finite."""
        self.ranks.broadcast(self.model.buffers())
        weights = self.model.state_dict()
        # Weights that overflowed must not take the place of the last good ones.
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise self.diverged("the weights are no longer finite")
        own = {kind: module.get_rng_state() for kind, module in self._generators().items()}
        found = enumerate(self.ranks.gather(own))
        self.state.skipped = self.ranks.lines(self.state.skipped)
        self.state.peak_bytes = max(self.state.peak_bytes, self.memory.taken())
        parts = {
            "model": weights,
            "optimiser": networks.optimiser_state(self.optimiser, self.model),
            "rng": {f"{kind}.{rank}": of[kind] for rank, of in found for kind in of},
        }
        checkpoint = Checkpoint(
            self.recipe,
            self.shape,
            len(self.data.classes),
            self.fingerprint,
            self.state,
            self.scaler.state_dict(),
            {f"{part}.{key}": value for part, of in parts.items() for key, value in of.items()},
        )

        def write() -> None:
            if self.ranks.first:
                checkpoints.save(checkpoint, self.out / CHECKPOINT)

        self.ranks.agree(write)

    def diverged(self, cause: str) -> ConvergenceError:
        """The error of a run whose numbers are no longer finite."""
        return ConvergenceError(
            f"{cause} at epoch {self.state.epoch + 1}, step {self.state.step + 1}; the last good "
            "checkpoint, if any, is kept; lower learning_rate, lengthen warmup, or set clip"
        )


def open_data(recipe: Recipe, path: Path | None, skip_bad: bool) -> data.Data:
    """Open the data of a recipe."""
    return data.load(recipe.data, path, skip_bad=skip_bad, **recipe.data_options)
