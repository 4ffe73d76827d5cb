"""Storage of weights without their diagonal: self_loops=False without N² entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gspnl._base.array import Array, namespace
from gspnl.affinity.weights.base import Weights


@dataclass(frozen=True, eq=False)
class NoSelfLoops(Weights):
    """W − diag(W) for W in another storage.

    Parameters
    ----------
    full : Weights
    diagonal : array of shape (..., N)
    """

    full: Weights
    diagonal: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.full.shape

    @property
    def like(self) -> Array:
        return self.full.like

    @property
    def log_factor(self) -> Any:
        return self.full.log_factor

    @property
    def signed(self) -> bool:
        return self.full.signed

    def matmul(self, Z: Array) -> Array:
        return self.full.matmul(Z) - self.diagonal[..., None] * Z

    def rows(self, index: Array) -> Array:
        xp = namespace(self.diagonal)
        part = self.full.rows(index)
        return xp.where(index[:, None] == xp.arange(self.shape[-1]), xp.zeros_like(part), part)

    def operations(self, columns: int) -> float:
        return self.full.operations(columns)

    def item(self, index: tuple[int, ...]) -> NoSelfLoops:
        return NoSelfLoops(self.full.item(index), self.diagonal[(*index, ...)])
