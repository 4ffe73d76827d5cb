"""The batches of an epoch, prepared while the network works on those before."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Full, Queue
from typing import Any

import numpy as np
from torch import Tensor

from gspnl.errors import InputError
from gspnl.train.data.augmentations import Augmentation
from gspnl.train.data.base import Split
from gspnl.train.data.making import Made, Maker
from gspnl.train.data.randomness import order


class Batches:
    r"""The batches of one epoch.

    Iterating gives pairs: images (b, C, \*spatial), float32, and labels (b,), int64.

    Which samples are in a batch, and how each is changed, depends on ``seed``, ``epoch`` and the
    sample alone: not on the number of processes, threads or resumes. A thread of its own prepares
    batches ahead; it ends with the iterator.

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
        Whether the order is random; else it is the split's.
    start : int
        How many batches of the epoch are done already.
    rank, world : int
        This process, of how many: it gets its contiguous share of each batch, which can be empty
        in the last; its images are of shape (0, C, \*spatial) then.
    drop_last : bool
        Leave out the last batch if it is smaller.
    skip_bad : bool
        Leave out samples that are damaged, and list them in ``skipped``; else the first is an
        error. A batch of damaged samples only is empty.
    ahead : int
        How many batches are kept ready, at least 1.

    Attributes
    ----------
    skipped : list of str
        A line for each sample left out so far.

    Raises
    ------
    InputError
        If an argument is out of range, or there are no batches.
    DataError
        From the iterator: if a sample is damaged, or with ``skip_bad`` all of them are where a
        batch is empty, or if samples of a batch have several sizes.

    Examples
    --------
    >>> from gspnl.train import data
    >>> digits = data.load("digits")
    >>> batches = Batches(
    ...     digits.train, batch_size=128, shuffle=True, drop_last=True,
    ...     augmentation=("pad_crop(1)",), mean=digits.mean, std=digits.std,
    ... )
    >>> images, labels = next(iter(batches))
    >>> len(batches), images.shape, labels.shape
    (11, torch.Size([128, 1, 8, 8]), torch.Size([128]))
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
        samples = len(split.labels)
        _whole("world", world, 1, 2**31)
        _whole("rank", rank, 0, world)
        _whole("batch_size", batch_size, world, 2**31)
        _whole("seed", seed, 0, 2**64)
        _whole("epoch", epoch, 0, 2**64)
        _whole("ahead", ahead, 1, 2**31)
        count = samples // batch_size if drop_last else -(-samples // batch_size)
        if count == 0:
            raise InputError(
                f"{samples} samples make no batch of {batch_size}; use a smaller batch_size, or "
                "drop_last=False"
            )
        _whole("start", start, 0, count + 1)
        self.batch_size, self.rank, self.world, self.ahead = batch_size, rank, world, ahead
        self.order = order(seed, epoch, samples) if shuffle else np.arange(samples)
        self.range = range(start, count)
        self.maker = Maker(split, augmentation, mean, std, seed, epoch, skip_bad)
        self.skipped: list[str] = []

    def __len__(self) -> int:
        return len(self.range)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        ready: Queue[Any] = Queue(self.ahead)
        stop = threading.Event()
        thread = threading.Thread(target=self._prepare, args=(ready, stop), name="batches")
        self.skipped.clear()
        thread.start()
        try:
            while isinstance(item := ready.get(), Made):
                self.skipped += item.skipped
                yield item.images, item.labels
            if item is not None:
                raise item
        finally:  # at the end, at an error, or where the iterator is dropped
            stop.set()
            thread.join()

    def _prepare(self, ready: Queue[Any], stop: threading.Event) -> None:
        try:
            with self.maker.reading() as pool:
                for number in self.range:
                    whole = self.order[number * self.batch_size :][: self.batch_size]
                    first, last = (
                        len(whole) * part // self.world for part in (self.rank, self.rank + 1)
                    )
                    if not _offer(ready, stop, self.maker.make(whole, first, last, pool)):
                        return
            _offer(ready, stop, None)
        except BaseException as error:  # whatever it is, it belongs to whoever waits for a batch
            _offer(ready, stop, error)


def _offer(ready: Queue[Any], stop: threading.Event, item: object) -> bool:
    """Wait for a place in the queue; False if nobody waits for the item any more."""
    while not stop.is_set() and threading.main_thread().is_alive():
        try:
            ready.put(item, timeout=0.1)
            return True
        except Full:
            continue
    return False


def _whole(name: str, value: object, least: int, below: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{name}={value!r} must be a whole number")
    if not least <= value < below:
        raise InputError(f"{name}={value} must be at least {least} and below {below}")
