"""Splits of samples in memory and in files, and their means and deviations."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.train.data.archives import Source
from gspnl.train.data.images import decode

LIMIT = 64 * 2**20  # bytes of an image file


class MemorySplit:
    r"""Samples of one size, in one tensor.

    Parameters
    ----------
    samples : tensor of shape (n, C, \*spatial), uint8
    labels : array of shape (n,), int64
    name : callable
        Index of a sample → its name in errors.

    Examples
    --------
    >>> import numpy as np, torch
    >>> split = MemorySplit(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), np.arange(4), str)
    >>> split.take(np.array([2, 0])).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, samples: Tensor, labels: np.ndarray, name: Callable[[int], str]) -> None:
        if samples.dtype != torch.uint8 or samples.ndim < 3:
            found = f"{samples.dtype} of shape {tuple(samples.shape)}"
            raise InputError(f"samples must be uint8 of shape (n, C, *spatial), not {found}")
        labels = np.asarray(labels)
        if labels.shape != samples.shape[:1] or labels.dtype.kind not in "iu":
            found = f"{labels.dtype} of shape {labels.shape}"
            raise InputError(f"labels must be {len(samples)} whole numbers, not {found}")
        self._samples, self._name = samples, name
        self.labels = labels.astype(np.int64)
        self.labels.setflags(write=False)

    def name(self, index: int) -> str:
        return self._name(index)

    def read(self, index: int) -> Tensor:
        return self._samples[index]

    def take(self, indices: np.ndarray) -> Tensor:
        return self._samples[torch.from_numpy(np.asarray(indices, np.int64))]


class FileSplit:
    """Images by their names in a folder or an archive, decoded when they are read."""

    def __init__(self, source: Source, files: Sequence[str], labels: Sequence[int]) -> None:
        self.source, self.files = source, tuple(files)
        self.labels = np.array(labels, np.int64)
        self.labels.setflags(write=False)

    def name(self, index: int) -> str:
        return f"{self.files[index]} of {self.source.path}"

    def read(self, index: int) -> Tensor:
        content = self.source.read(self.files[index], LIMIT)
        return torch.from_numpy(decode(content, self.name(index))).permute(2, 0, 1)

    def take(self, indices: np.ndarray) -> None:
        return None

    def without(self, indices: Collection[int]) -> FileSplit:
        """The split less some samples."""
        left = [index for index in range(len(self.files)) if index not in indices]
        return FileSplit(self.source, [self.files[i] for i in left], self.labels[left].tolist())


def moments(parts: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    r"""Mean and deviation of each channel of uint8 samples (b, C, \*spatial), of values in [0, 1].

    Σx and Σx² are summed exactly in integers, so their order does not matter. With n values
    x / 255 of a channel, the mean is :math:`\Sigma x / 255 n`, the deviation
    :math:`\sqrt{n \Sigma x^2 - (\Sigma x)^2} / 255 n`, or 1 where the channel is constant.
    """
    count, sums, squares = 0, torch.zeros(1).long(), torch.zeros(1).long()
    for part in parts:
        for first in range(0, len(part), 256):  # as int64 they take eight times the memory
            values = part[first : first + 256].transpose(0, 1).flatten(1).long()
            count += values.shape[1]
            sums, squares = sums + values.sum(1), squares + (values * values).sum(1)
    pairs = list(zip(sums.tolist(), squares.tolist(), strict=True))  # Python's integers: n Σx²
    count = max(count, 1)
    mean = tuple(total / (255 * count) for total, _ in pairs)
    inside = [count * square - total * total for total, square in pairs]
    return mean, tuple(math.sqrt(value) / (255 * count) if value else 1.0 for value in inside)
