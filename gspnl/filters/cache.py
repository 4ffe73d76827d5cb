"""Cache of spectral results of one graph: eigenpairs, Gram matrix, deflated modes."""

from __future__ import annotations

import math
from functools import cached_property

from gspnl._base.array import Array
from gspnl._base.blas import one_thread
from gspnl.affinity.affinity import Affinity
from gspnl.filters.deflation import Deflation, deflate
from gspnl.filters.directed.regions import DirectedGraph
from gspnl.filters.lowrank_engine import LowRankEngine
from gspnl.filters.relative import unit_of
from gspnl.filters.spectrum import SMALL, Spectrum, exact_spectrum


class SpectralCache:
    """Spectral results of one graph (no batch), each computed on first use.

    Parameters
    ----------
    affinity : Affinity
    """

    second: float | None = None  # λ₂/s, where it has been computed
    second_at_most = math.inf  # an upper bound of it

    def __init__(self, affinity: Affinity) -> None:
        self.affinity = affinity
        self._deflations: dict[int, Deflation] = {}
        self._engine: LowRankEngine | None = None

    @cached_property
    def spectrum(self) -> Spectrum:
        """Every eigenpair."""
        return exact_spectrum(self.affinity)

    @property
    def has_spectrum(self) -> bool:
        """Whether every eigenpair has been computed already."""
        return "spectrum" in self.__dict__

    @property
    def cheap_spectrum(self) -> Spectrum | None:
        """The spectrum where it costs little; else None, even if it has been computed already.

        So the certificate of a filter does not depend on earlier calls.
        """
        cheap = self.affinity.low_rank is not None or self.affinity.n_nodes <= SMALL
        return self.spectrum if cheap else None

    def lowrank_engine(self, Z: Array) -> tuple[LowRankEngine, Array] | None:
        """Return the engine of a symmetric low-rank graph, and Bᵀ diag(r) Z; else None.

        The first call computes the Gram matrix and Bᵀ diag(r) Z in one pass over B.
        """
        weights = self.affinity.low_rank
        if weights is None or not self.affinity.symmetric_core:
            return None
        if self._engine is not None:
            return self._engine, self._engine.project(Z)
        self._engine, heads = LowRankEngine.build(self.affinity, weights, Z)
        return self._engine, heads

    @property
    def engine(self) -> LowRankEngine:
        """The engine of a symmetric low-rank graph, without signals."""
        if self._engine is None:
            self.lowrank_engine(self.affinity.left[:, None][:, :0])
        assert self._engine is not None
        return self._engine

    @property
    def interval(self) -> tuple[float, float]:
        """Outer bounds of every λ except those of the constant mode and of isolated nodes."""
        self.affinity.require_core("no real spectrum to bound")
        with one_thread:
            low, high = self.deflation(1).interval
        unit = unit_of(self.affinity)
        return unit * low, unit * high

    @cached_property
    def directed(self) -> DirectedGraph:
        """Stationary distribution, norms and numerical range of a directed A."""
        return DirectedGraph(self.affinity)

    def deflation(self, count: int) -> Deflation:
        """Return the deflation of the ``count`` modes of least λ."""
        if count not in self._deflations:
            self._deflations[count] = deflate(self.affinity, count)
        return self._deflations[count]

    def known_deflation(self, count: int) -> Deflation | None:
        """Return the deflation of ``count`` modes where it has been computed, else None."""
        return self._deflations.get(count)
