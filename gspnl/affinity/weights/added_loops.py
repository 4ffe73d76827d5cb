"""Storage of weights with self-loops added: W + diag(loops) without N² entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import scipy.sparse

from gspnl._base.array import Array, constant64, namespace
from gspnl.affinity.weights.base import Weights


@dataclass(frozen=True, eq=False)
class AddedLoops(Weights):
    """W + diag(loops) for W in another storage.

    Parameters
    ----------
    full : Weights
        W.
    loops : array of shape (..., N)
        Without the factor exp(log_factor) of W.
    """

    full: Weights
    loops: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.full.shape

    @property
    def like(self) -> Array:
        return self.full.like

    @property
    def signed(self) -> bool:
        return self.full.signed

    @property
    def log_factor(self) -> Any:
        return self.full.log_factor

    @cached_property
    def sparse(self) -> Any | None:
        inner = self.full.sparse
        if inner is None:
            return None
        return inner + scipy.sparse.diags_array(constant64(self.loops)).tocsr()

    @property
    def entries(self) -> int | None:
        inner = self.full.entries
        return None if inner is None else inner + self.shape[-1]

    @property
    def lanczos_block(self) -> int:
        return self.full.lanczos_block

    def operations(self, columns: int) -> float:
        return self.full.operations(columns)

    def matmul(self, Z: Array) -> Array:
        return self.full.matmul(Z) + self.loops[..., None] * Z

    def rows(self, index: Array) -> Array:
        xp = namespace(self.loops)
        part = self.full.rows(index)
        on = index[:, None] == xp.arange(self.shape[-1])
        return xp.where(on, part + self.loops[..., None, :], part)

    def item(self, index: tuple[int, ...]) -> AddedLoops:
        return AddedLoops(self.full.item(index), self.loops[(*index, ...)])
