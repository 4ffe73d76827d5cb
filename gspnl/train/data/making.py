"""One batch: samples read, changed and normalised."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.train.data.augmentations import Augmentation, chain, normalise
from gspnl.train.data.base import DataError, Split
from gspnl.train.data.randomness import uniforms

READERS = 8  # threads at most that read files


@dataclass(frozen=True)
class Made:
    """A batch, and lines on the samples that were left out of it."""

    images: Tensor
    labels: Tensor
    skipped: tuple[str, ...]


class Maker:
    """Makes batches of a split for an epoch."""

    def __init__(
        self,
        split: Split,
        augmentation: Sequence[str | Augmentation],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        seed: int,
        epoch: int,
        skip_bad: bool,
    ) -> None:
        if (mean is None) != (std is None):
            raise InputError("mean and std go together; give both, or neither")
        self.split, self.skip_bad = split, skip_bad
        self.mean, self.std = mean, std
        self.shape: tuple[int, ...] | None = None  # of an image, once it was asked for
        self.chain = chain(augmentation)
        # A split whose samples are drawn from something longer, as clips, takes uniforms too.
        self.draws: int = getattr(split, "draws", 0)
        drawn = uniforms(seed, epoch, len(split.labels), self.draws + self.chain.draws)
        self.for_reading = drawn[:, : self.draws]
        self.for_changing = torch.from_numpy(drawn[:, self.draws :])

    def reading(self) -> Executor:
        """Threads to read files with; none is started where samples are in memory."""
        return ThreadPoolExecutor(min(READERS, os.cpu_count() or 1), "reading")

    def make(self, whole: np.ndarray, first: int, last: int, pool: Executor) -> Made:
        """The share [first, last) of the samples of a batch."""
        return self._made(whole[first:last], pool) if first < last else self._empty()

    def _made(self, indices: np.ndarray, pool: Executor) -> Made:
        samples = self.split.take(indices)
        if samples is not None:
            images = self._changed(samples, indices)
            return Made(images, torch.from_numpy(self.split.labels[indices]), ())
        found = list(pool.map(self._read, indices.tolist()))
        good = [image for image in found if isinstance(image, Tensor)]
        bad = [error for error in found if isinstance(error, DataError)]
        if bad and not self.skip_bad:
            raise bad[0]
        lines = tuple(str(error) for error in bad)
        if not good:
            return self._empty(lines)
        for index, image in zip(indices.tolist(), found, strict=True):
            if isinstance(image, Tensor) and image.shape != good[0].shape:
                sizes = tuple(tuple(one.shape[1:]) for one in (good[0], image))
                raise DataError(
                    f"samples of a batch have the shapes {sizes[0]} and {sizes[1]} "
                    f"({self.split.name(index)!r}); bring them to one size, as by "
                    "'random_resized_crop(224)' or 'resize(256)' with 'centre_crop(224)'"
                )
        kept = indices[[isinstance(image, Tensor) for image in found]]
        return Made(torch.cat(good), torch.from_numpy(self.split.labels[kept]), lines)

    def _empty(self, skipped: tuple[str, ...] = ()) -> Made:
        """A batch without samples, of the shape of the first sound one."""
        if self.shape is None:
            self.shape = self._first()
        return Made(torch.empty(0, *self.shape), torch.empty(0, dtype=torch.int64), skipped)

    def _first(self) -> tuple[int, ...]:
        """The shape of the first sound sample, as the network sees it."""
        trouble = []
        for index in range(len(self.split.labels)):
            samples = self.split.take(np.array([index]))
            if samples is not None:
                return tuple(self._changed(samples, np.array([index])).shape[1:])
            image = self._read(index)
            if isinstance(image, Tensor):
                return tuple(image.shape[1:])
            trouble.append(image)
        raise DataError(
            f"none of {len(trouble):,} samples can be read: {trouble[0]} (and "
            f"{len(trouble) - 1:,} more); put the data set in place again"
        )

    def _read(self, index: int) -> Tensor | DataError:
        try:
            sample = self._sample(index)
        except DataError as error:
            return error
        return self._changed(sample[None], np.array([index]))

    def _sample(self, index: int) -> Tensor:
        if self.draws == 0:
            return self.split.read(index)
        read: Callable[[int, np.ndarray], Tensor] = self.split.read  # type: ignore[assignment]
        return read(index, self.for_reading[index])

    def _changed(self, samples: Tensor, indices: np.ndarray) -> Tensor:
        images = self.chain(samples.to(torch.float32).div_(255), self.for_changing[indices])
        if self.mean is None or self.std is None:
            return images.contiguous()
        return normalise(images, self.mean, self.std)
