"""Mean and deviation of each channel, summed in integers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Moments:
    r"""Sums over samples of uint8; Σx and Σx² are exact, so their order does not matter.

    With n values x / 255 of a channel, the mean is :math:`\Sigma x / 255 n` and the deviation
    :math:`\sqrt{n \Sigma x^2 - (\Sigma x)^2} / 255 n`.

    Examples
    --------
    >>> import torch
    >>> moments = Moments()
    >>> moments.add(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    >>> moments.mean, moments.std
    ((0.5,), (0.5,))
    """

    count: int = 0
    sums: list[int] = field(default_factory=list)
    squares: list[int] = field(default_factory=list)

    def add(self, samples: Tensor) -> None:
        r"""Count samples (b, C, \*spatial) in."""
        channels = samples.shape[1]
        self.sums = self.sums or [0] * channels
        self.squares = self.squares or [0] * channels
        for first in range(0, len(samples), 256):  # as int64 they take eight times the memory
            values = samples[first : first + 256].transpose(0, 1).flatten(1).long()
            self.sums = [a + b for a, b in zip(self.sums, values.sum(1).tolist(), strict=True)]
            squares = (values * values).sum(1).tolist()
            self.squares = [a + b for a, b in zip(self.squares, squares, strict=True)]
        self.count += samples.shape[0] * math.prod(samples.shape[2:])

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel, of values in [0, 1]."""
        return tuple(total / (255 * self.count) for total in self.sums)

    @property
    def std(self) -> tuple[float, ...]:
        """Of each channel; 1 where a channel is constant, so that one can divide by it."""
        inside = [
            self.count * square - total * total
            for total, square in zip(self.sums, self.squares, strict=True)
        ]
        return tuple(math.sqrt(value) / (255 * self.count) if value else 1.0 for value in inside)
