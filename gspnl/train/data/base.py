"""What a data set is to the loop: two splits of labelled samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from gspnl._base.registry import Registry
from gspnl.errors import FileError


class DataError(FileError):
    """A sample, or a file of a data set, is missing or damaged."""


class Split(Protocol):
    """Samples and their labels; a sample is read when it is asked for."""

    @property
    def labels(self) -> np.ndarray:
        """Classes, int64 of shape (n,)."""

    def name(self, index: int) -> str:
        """Where a sample comes from, for errors: a file, or a record of a file."""

    def read(self, index: int) -> Tensor:
        r"""One sample, uint8 of shape (C, \*spatial).

        Raises
        ------
        DataError
            If it is damaged; the message has its name.
        """

    def take(self, indices: np.ndarray) -> Tensor | None:
        r"""Many samples of one size at once, uint8 of shape (b, C, \*spatial).

        None where samples must be read one by one, being files or of several sizes.
        """


class Drawn(Split, Protocol):
    """A split whose samples are drawn from something longer, as clips are of videos.

    A split without these attributes has ``draws`` 0 and ``views`` 1.
    """

    @property
    def draws(self) -> int:
        """How many uniforms of [0, 1) ``read`` takes; 0 where nothing is left to chance."""

    @property
    def views(self) -> int:
        r"""How many views of one thing a sample holds, ≥ 1.

        They lie one after the other along its first spatial axis: a sample has the shape
        (C, views · T, \*rest). A network takes them one by one in evaluation, and the
        probabilities that it gives are averaged.
        """

    def read(self, index: int, u: np.ndarray | None = None) -> Tensor:
        """One sample; ``u``, of shape (draws,), says which. Without it, the one in the middle."""


@dataclass(frozen=True)
class Data:
    """A data set.

    Parameters
    ----------
    name : str
    classes : tuple of str
        In the order of the labels.
    train, test : Split
    mean, std : tuple of float
        Of each channel over the training images, of values in [0, 1].
    skipped : tuple of str
        What was damaged when the data were opened, and left out on request; a line each.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()


class Open(Protocol):
    """What a name of DATASETS stands for."""

    def __call__(self, path: Path | None, *, skip_bad: bool = False) -> Data:
        """Open a data set in a folder or a file; ``skip_bad`` leaves damaged samples out.

        Further arguments by name are options of the data set.
        """


DATASETS: Registry[Callable[..., Data]] = Registry("data set")
