"""Storage of a batch as a list of the weights of single graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, namespace
from gspnl.affinity.weights.base import Weights


@dataclass(frozen=True, eq=False)
class Stacked(Weights):
    """Weights of a batch, graph by graph.

    Parameters
    ----------
    items : list of Weights
        Of single graphs, in the order of ``np.ndindex(*batch)``.
    batch : tuple
        The batch dimensions.
    """

    items: list[Weights]
    batch: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.batch, *self.items[0].shape)

    @property
    def like(self) -> Array:
        return self.items[0].like

    @property
    def lazy(self) -> bool:
        return self.items[0].lazy

    @property
    def signed(self) -> bool:
        return any(w.signed for w in self.items)

    @property
    def log_factor(self) -> Any:
        return np.reshape([w.log_factor for w in self.items], self.batch)

    def matmul(self, Z: Array) -> Array:
        return self._each(lambda w, z: w.matmul(z), Z)

    def averages(self, Z: Array) -> Array:
        return self._each(lambda w, z: w.averages(z), Z)

    def rows(self, index: Array) -> Array:
        return self._stack([w.rows(index) for w in self.items])

    def degrees(self) -> Array:
        return self._stack([w.degrees() for w in self.items])

    def log_degrees(self) -> Array | None:
        logs = [w.log_degrees() for w in self.items]
        return None if any(part is None for part in logs) else self._stack(logs)

    def item(self, index: tuple[int, ...]) -> Weights:
        inside = [i % b for i, b in zip(index, self.batch, strict=True)]
        return self.items[int(np.ravel_multi_index(inside, self.batch))]

    def _each(self, fn: Callable[[Weights, Array], Array], Z: Array) -> Array:
        Z = namespace(Z).broadcast_to(Z, (*self.batch, *Z.shape[-2:]))
        keys = np.ndindex(*self.batch)
        return self._stack([fn(w, Z[(*key, ...)]) for w, key in zip(self.items, keys, strict=True)])

    def _stack(self, parts: list[Array]) -> Array:
        xp = namespace(parts[0])
        return xp.reshape(xp.stack(parts), (*self.batch, *parts[0].shape))


def stacked(build: Callable[[tuple[int, ...]], Weights], batch: tuple[int, ...]) -> Weights:
    """Build one graph, or the stack of a batch, by ``build(index)``."""
    if not batch:
        return build(())
    return Stacked([build(index) for index in np.ndindex(*batch)], batch)
