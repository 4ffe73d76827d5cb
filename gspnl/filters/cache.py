"""What has been computed of one graph, each part once and on demand."""

from __future__ import annotations

from functools import cached_property

from gspnl._base.array import Array, float64
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights import LowRank
from gspnl.filters.deflation import Deflated, deflate
from gspnl.filters.lowrank_engine import SmallCore, project, sweep
from gspnl.filters.spectrum import Spectrum, exact_spectrum

SMALL = 1024  # nodes of a dense graph whose eigenpairs take a fraction of a second


class Decompositions:
    """The spectral parts of one graph (no batch).

    Parameters
    ----------
    affinity : Affinity
    """

    def __init__(self, affinity: Affinity) -> None:
        self.affinity = affinity
        self._deflated: dict[int, Deflated] = {}
        self._small: SmallCore | None = None

    @cached_property
    def spectrum(self) -> Spectrum:
        """Every eigenpair."""
        return exact_spectrum(self.affinity)

    @property
    def known_spectrum(self) -> Spectrum | None:
        """The spectrum, where it is cheap; not where it merely happens to be there already.

        What a filter is certified to must not depend on what was computed before it.
        """
        low_rank = isinstance(self.affinity.weights, LowRank)
        cheap = low_rank or self.affinity.n_nodes <= SMALL
        return self.spectrum if cheap else None

    def small(self, weights: LowRank, Z: Array) -> tuple[SmallCore, Array]:
        """The Gram picture of a low-rank graph, kept, and Bᵀ diag(r) Z, in one pass over B."""
        if self._small is not None:
            return self._small, project(self.affinity, weights, Z)
        G, heads = sweep(self.affinity, weights, Z)
        self._small = SmallCore.of(G, float64(weights.core))
        return self._small, heads

    def deflated(self, count: int) -> Deflated:
        """The graph with ``count`` modes set aside."""
        if count not in self._deflated:
            self._deflated[count] = deflate(self.affinity.weights, self.affinity, count)
        return self._deflated[count]
