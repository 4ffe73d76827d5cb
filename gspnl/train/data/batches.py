"""The batches of an epoch, prepared by a thread while the network works on earlier ones."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.train.data.augmentations import Augmentation, chain
from gspnl.train.data.randomness import order, uniforms
from gspnl.train.data.registry import DataError, Split, attempt
from gspnl.train.data.transforms import normalise

READERS = 8  # threads at most that read files
Batch = tuple[Tensor, Tensor, list[str]]  # images, labels, lines on the samples left out


class Batches:
    r"""The batches of one epoch.

    Iterating gives pairs: images (b, C, \*spatial), float32, and labels (b,), int64. The samples
    of a batch and their augmentations depend on ``seed``, ``epoch`` and the sample alone: not on
    the number of processes, threads or resumes. A thread prepares batches ahead; it ends with the
    iterator.

    Parameters
    ----------
    split : Split
    batch_size : int
        Of all processes together, at least ``world``.
    augmentation : sequence of str or Augmentation
        Such as ``("pad_crop(4)", "flip")``; see :func:`chain`.
    mean, std : sequence of float, optional
        Of each channel; with neither, images are left in [0, 1].
    seed, epoch : int
        At least 0, below 2⁶⁴.
    shuffle : bool
        Draw a random order; else it is the split's.
    start : int
        Number of batches of the epoch that are done already.
    rank, world : int
        This process and the number of processes: each gets a contiguous share of each batch, which
        can be empty in the last; its images are of shape (0, C, \*spatial) then.
    drop_last : bool
        Leave out the last batch if it is smaller.
    skip_bad : bool
        Leave damaged samples out of their batches, with a line for each in the list ``skipped``;
        else the first is an error. A batch of damaged samples only is empty.
    ahead : int
        Number of batches that are kept ready, at least 1.

    Raises
    ------
    InputError
        If an argument is out of range, or there are no batches.
    DataError
        From the iterator: if a sample is damaged, or all of them, or samples of a batch have
        several sizes.

    Examples
    --------
    >>> from gspnl.train import data
    >>> digits = data.load("digits")
    >>> batches = Batches(digits.train, batch_size=128, shuffle=True, augmentation=["pad_crop(1)"])
    >>> images, labels = next(iter(batches))
    >>> len(batches), images.shape, labels.shape
    (12, torch.Size([128, 1, 8, 8]), torch.Size([128]))
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        augmentation: Sequence[str | Augmentation] = (),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        skip_bad: bool = False,
        ahead: int = 2,
    ) -> None:
        whole_number("world", world, 1)
        whole_number("rank", rank, 0, world - 1)
        whole_number("batch_size", batch_size, world)
        whole_number("seed", seed, 0, 2**64 - 1)
        whole_number("epoch", epoch, 0, 2**64 - 1)
        whole_number("ahead", ahead, 1)
        samples = len(split.labels)
        count = samples // batch_size if drop_last else -(-samples // batch_size)
        if count == 0:
            raise InputError(
                f"{samples} samples make no batch of {batch_size}; use a smaller batch_size, or "
                "drop_last=False"
            )
        whole_number("start", start, 0, count, ", the batches of the epoch")
        if (mean is None) != (std is None):
            raise InputError("mean and std go together; give both, or neither")
        self.split, self.batch_size, self.rank, self.world = split, batch_size, rank, world
        self.mean, self.std, self.skip_bad, self.ahead = mean, std, skip_bad, ahead
        self.order = order(seed, epoch, samples) if shuffle else np.arange(samples)
        self.range = range(start, count)
        self.chain = chain(augmentation)
        # A split of samples that are drawn, as clips are, takes the first uniforms.
        self.draws: int = getattr(split, "draws", 0)
        drawn = uniforms(seed, epoch, samples, self.draws + self.chain.draws)
        self.for_reading = drawn[:, : self.draws]
        self.for_chain = torch.from_numpy(drawn[:, self.draws :])
        self.shape: tuple[int, ...] | None = None  # of an image, known once a share was empty
        self.skipped: list[str] = []

    def __len__(self) -> int:
        return len(self.range)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.skipped.clear()
        waiting: deque[Future[Batch]] = deque()
        threads = min(READERS, os.cpu_count() or 1)  # none starts where samples are in memory
        with (
            ThreadPoolExecutor(threads, "reading") as readers,
            ThreadPoolExecutor(1, "batches") as maker,
        ):
            try:
                for number in self.range:
                    waiting.append(maker.submit(self._batch, number, readers))
                    if len(waiting) > self.ahead + 1:
                        yield self._result(waiting.popleft())
                while waiting:
                    yield self._result(waiting.popleft())
            finally:  # at the end, at an error, or where the iterator is dropped
                for future in waiting:
                    future.cancel()

    def _result(self, future: Future[Batch]) -> tuple[Tensor, Tensor]:
        images, labels, skipped = future.result()
        self.skipped += skipped
        return images, labels

    def _batch(self, number: int, pool: Executor) -> Batch:
        """Read, augment and normalise this process's share of a batch."""
        batch = self.order[number * self.batch_size :][: self.batch_size]
        first, last = (len(batch) * part // self.world for part in (self.rank, self.rank + 1))
        indices = batch[first:last]
        if not len(indices):
            return self._empty([])
        samples = self.split.take(indices)
        if samples is not None:
            labels = torch.from_numpy(self.split.labels[indices])
            return self._augment(samples, indices), labels, []
        found = list(pool.map(self._read, indices.tolist()))
        good = {i: image for i, image in enumerate(found) if isinstance(image, Tensor)}
        bad = [error for error in found if isinstance(error, DataError)]
        if bad and not self.skip_bad:
            raise bad[0]
        skipped = [str(error) for error in bad]
        if not good:
            return self._empty(skipped)
        shape = next(iter(good.values())).shape
        other = next((i for i, image in good.items() if image.shape != shape), None)
        if other is not None:
            raise DataError(
                f"samples of a batch have the shapes {tuple(shape[1:])} and "
                f"{tuple(good[other].shape[1:])} ({self.split.name(int(indices[other]))!r}); bring "
                "them to one size, as by 'random_resized_crop(224)' or 'resize(256)' with "
                "'centre_crop(224)'"
            )
        labels = torch.from_numpy(self.split.labels[indices[list(good)]])
        return torch.cat(list(good.values())), labels, skipped

    def _empty(self, skipped: list[str]) -> Batch:
        """A batch without samples, its images of the shape of the first sound sample."""
        count = len(self.split.labels)
        if self.shape is None:
            found = (self._read(index) for index in range(count))
            image = next((each for each in found if isinstance(each, Tensor)), None)
            if image is None:
                raise DataError(
                    f"none of {count:,} samples can be read: {self._read(0)} (and {count - 1:,} "
                    "more); put the data set in place again"
                )
            self.shape = tuple(image.shape[1:])
        return torch.empty(0, *self.shape), torch.empty(0, dtype=torch.int64), skipped

    def _read(self, index: int) -> Tensor | DataError:
        """One sample, augmented and normalised, (1, C, *spatial), or the error that it gives."""
        uniforms_of_split = [self.for_reading[index]] if self.draws else []
        sample = attempt(self.split.read, index, *uniforms_of_split)
        if isinstance(sample, DataError):
            return sample
        return self._augment(sample[None], np.array([index]))

    def _augment(self, samples: Tensor, indices: np.ndarray) -> Tensor:
        images = self.chain(samples.to(torch.float32).div_(255), self.for_chain[indices])
        if self.mean is None or self.std is None:
            return images.contiguous()
        return normalise(images, self.mean, self.std)
