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
        if first == last:  # only the shape of the images is asked for
            made = self._made(whole, pool)
            return Made(made.images[:0], made.labels[:0], ())
        return self._made(whole[first:last], pool)

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
        if not good:
            raise DataError(f"no sample of a batch can be read: {bad[0]} (and {len(bad) - 1} more)")
        for index, image in zip(indices.tolist(), found, strict=True):
            if isinstance(image, Tensor) and image.shape != good[0].shape:
                sizes = tuple(tuple(one.shape[1:]) for one in (good[0], image))
                raise DataError(
                    f"samples of a batch have the shapes {sizes[0]} and {sizes[1]} "
                    f"({self.split.name(index)!r}); bring them to one size, as by "
                    "'random_resized_crop(224)' or 'resize(256)' with 'centre_crop(224)'"
                )
        kept = indices[[isinstance(image, Tensor) for image in found]]
        labels = torch.from_numpy(self.split.labels[kept])
        return Made(torch.cat(good), labels, tuple(str(error) for error in bad))

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
