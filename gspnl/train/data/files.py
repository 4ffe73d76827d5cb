"""A split whose samples are files, read when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from gspnl.train.data.base import DataError
from gspnl.train.data.images import decode
from gspnl.train.data.sources import Source

LIMIT = 64 * 2**20  # bytes of a file


class FileSplit:
    """Images by their names in a folder or an archive; several threads may read at once.

    Parameters
    ----------
    source : Source
    files : sequence of str
    labels : sequence of int
        A class for each file.
    """

    def __init__(self, source: Source, files: Sequence[str], labels: Sequence[int]) -> None:
        self.source, self.files = source, tuple(files)
        self._labels = np.array(labels, np.int64)
        self._labels.setflags(write=False)

    @property
    def labels(self) -> np.ndarray:
        return self._labels

    def name(self, index: int) -> str:
        return f"{self.files[index]} of {self.source.path}"

    def read(self, index: int) -> Tensor:
        content = self.source.read(self.files[index], LIMIT)
        if content is None:
            raise DataError(f"{self.name(index)!r} is gone; it was there when the data were opened")
        pixels = decode(content, self.name(index))
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def take(self, indices: np.ndarray) -> None:
        return None

    def without(self, indices: Collection[int]) -> FileSplit:
        """The same less some samples."""
        kept = [index for index in range(len(self.files)) if index not in indices]
        return FileSplit(
            self.source, [self.files[i] for i in kept], [int(self._labels[i]) for i in kept]
        )
