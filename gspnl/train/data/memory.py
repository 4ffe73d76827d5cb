"""A split whose samples are in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError


class MemorySplit:
    r"""Samples of one size, in one tensor.

    Parameters
    ----------
    samples : tensor of shape (n, C, \*spatial), uint8
    labels : array of shape (n,), int64
    name : callable
        From an index to where that sample comes from.

    Examples
    --------
    >>> import numpy as np, torch
    >>> split = MemorySplit(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), np.arange(4), str)
    >>> split.take(np.array([2, 0])).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, samples: Tensor, labels: np.ndarray, name: Callable[[int], str]) -> None:
        if samples.dtype != torch.uint8 or samples.ndim < 3:
            raise InputError(
                f"samples must be uint8 of shape (n, C, *spatial), not {samples.dtype} of shape "
                f"{tuple(samples.shape)}"
            )
        labels = np.asarray(labels)
        if labels.shape != samples.shape[:1] or labels.dtype.kind not in "iu":
            raise InputError(
                f"labels must be {len(samples)} whole numbers, not {labels.dtype} of shape "
                f"{labels.shape}"
            )
        self._samples, self._name = samples, name
        self._labels = labels.astype(np.int64)
        self._labels.setflags(write=False)

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    def name(self, index: int) -> str:
        return self._name(index)

    def read(self, index: int) -> Tensor:
        return self._samples[index]

    def take(self, indices: np.ndarray) -> Tensor:
        return self._samples[torch.from_numpy(np.asarray(indices, np.int64))]
