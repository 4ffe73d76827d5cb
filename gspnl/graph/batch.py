"""Spectral caches of a batch of graphs, and functions applied graph by graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gspnl._base.array import Array, namespace
from gspnl.affinity.affinity import Affinity
from gspnl.errors import InputError
from gspnl.filters.cache import SpectralCache


def batch_key(index: Any, batch: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``index`` as one number for each batch dimension, or raise."""
    key = index if isinstance(index, tuple) else (index,)
    if len(key) != len(batch) or not all(isinstance(i, (int, np.integer)) for i in key):
        raise InputError(
            f"graph[{index!r}]: this graph has batch dimensions {batch}; "
            + ("index each with a number" if batch else "it is a single graph")
        )
    return key


class BatchCache:
    """One :class:`SpectralCache` for each graph of a batch, built on first use.

    Parameters
    ----------
    affinity : Affinity
        A of the whole batch, or of a single graph.
    """

    warned = False  # that it only averages: once for a graph, whatever is done with it

    def __init__(self, affinity: Affinity) -> None:
        self.affinity = affinity
        self.batch = affinity.weights.shape[:-2]
        self._caches: dict[tuple[int, ...], SpectralCache] = {}

    def item(self, key: tuple[int, ...] = ()) -> SpectralCache:
        """Return the cache of graph ``key`` of the batch; ``()`` for a single graph."""
        if key not in self._caches:
            one = self.affinity.item(key) if key else self.affinity
            self._caches[key] = SpectralCache(one)
        return self._caches[key]

    def single(self) -> SpectralCache:
        """Return the cache of a single graph; raises for a batch."""
        if self.batch:
            raise InputError(
                f"this holds {self.batch} graphs, each with a spectrum of its own; take one, "
                "graph[i]"
            )
        return self.item()

    def map(self, fn: Callable[[SpectralCache, Array], Array], Z: Array) -> Array:
        """Apply ``fn`` to the cache and the signals of each graph, and stack the results.

        Parameters
        ----------
        fn : callable
            Maps (cache, z) to an array, z the signals of one graph.
        Z : array of shape (*batch, ..., N, c), or (N, c) for all graphs of a batch
            Checked signals.
        """
        if not self.batch:
            return fn(self.item(), Z)
        xp = namespace(Z)
        if Z.ndim == 2:
            Z = xp.broadcast_to(Z, (*self.batch, *Z.shape))
        parts = [fn(self.item(key), Z[(*key, ...)]) for key in np.ndindex(*self.batch)]
        return xp.reshape(xp.stack(parts), (*self.batch, *parts[0].shape))

    def each(self, fn: Callable[[Affinity], Array]) -> Array:
        """Apply ``fn`` to the affinity of each graph, and stack the results, (*batch, ...)."""
        if not self.batch:
            return fn(self.affinity)
        parts = [fn(self.affinity.item(key)) for key in np.ndindex(*self.batch)]
        xp = namespace(parts[0])
        return xp.reshape(xp.stack(parts), (*self.batch, *parts[0].shape))

    def norm_scale(self) -> np.ndarray:
        """Return π^-½ of directed graphs, (*batch, N, 1), whose inverse weighs the norm."""
        keys = np.ndindex(*self.batch)
        parts = np.stack([1 / self.item(key).directed.core.root for key in keys])
        return parts.reshape(*self.batch, *parts.shape[1:])

    def clear(self) -> None:
        """Drop all spectral results, so that a benchmark measures a new graph."""
        self._caches.clear()
