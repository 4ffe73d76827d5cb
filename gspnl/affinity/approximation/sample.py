"""Estimate the certified bound of any rank from a seeded sample of nodes.

The kernel among the sampled nodes is computed once, for all ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gspnl._base.blas import one_thread
from gspnl.affinity.approximation.certificate import error_of_core, error_of_scaling
from gspnl.affinity.approximation.cholesky import PivotedFactor
from gspnl.affinity.approximation.moments import SampledCore, SampledResidual, row_sums
from gspnl.affinity.approximation.points import Points

SAMPLE, LEAST = 512, 256  # nodes in the sample, and in that of a small graph
SWEEPS = 40  # of Sinkhorn's iteration on the sample


@dataclass(frozen=True, eq=False)
class Sample:
    """Sampled nodes of one graph, with their kernel.

    Parameters
    ----------
    points : Points
        N of them, or 2N where Φ ≠ Ψ.
    n : int
        Nodes of the graph.
    self_loops, unit : bool
        Whether W has its diagonal, and whether the scales are those of the degrees, not Sinkhorn's.
    seed : int
    """

    points: Points
    n: int
    self_loops: bool
    unit: bool
    seed: int

    @cached_property
    def nodes(self) -> np.ndarray:
        count = min(self.n, max(LEAST, min(SAMPLE, self.n // 8)))
        return np.random.default_rng([self.seed, 3]).permutation(self.n)[:count]

    @property
    def halves(self) -> list[np.ndarray]:
        """Rows of the stacked points: of Φ, and of Ψ where it differs."""
        return [self.nodes + i * self.n for i in range(len(self.points.a) // self.n)]

    @cached_property
    def kernels(self) -> list[np.ndarray]:
        return [self.points.block(rows, rows) for rows in self.halves]

    @cached_property
    def weights(self) -> np.ndarray:
        """W among the sampled nodes."""
        if len(self.halves) == 1:
            return self.kernels[0]
        W = self.points.block(*self.halves)
        out: np.ndarray = (W + W.T) / 2
        return out

    @cached_property
    def scaling(self) -> np.ndarray:
        """Sinkhorn's scale of the graph, as the sample has it."""
        s = np.ones(len(self.nodes))
        for _ in range(SWEEPS):
            s = np.sqrt(s / row_sums(self._looped(self.weights), s, self.n))
        return s

    def _looped(self, W: np.ndarray) -> np.ndarray:
        return W if self.self_loops else W - np.diag(W.diagonal())

    def bound(self, factors: list[np.ndarray], sums: list[np.ndarray], rounding: float) -> float:
        """Estimate the bound of ‖S − Ŝ‖_F, from the sampled rows of F and its sums of columns."""
        with one_thread:
            return self._bound(factors, sums, rounding)

    def _bound(self, factors: list[np.ndarray], sums: list[np.ndarray], rounding: float) -> float:
        errors = [K - F @ F.T for K, F in zip(self.kernels, factors, strict=True)]
        if len(factors) == 1:
            known = self.weights - errors[0]
        else:
            known = factors[0] @ factors[1].T
            known = (known + known.T) / 2
        degrees = (factors[0] @ sums[-1] + factors[-1] @ sums[0]) / 2
        if not self.self_loops:
            degrees -= known.diagonal()
        if not (degrees > 0).all():
            return math.inf
        scale = 1 / np.sqrt(degrees) if self.unit else self.scaling
        core = SampledCore(known, scale, self.n)
        part = SampledResidual(errors, self.kernels, self.self_loops, rounding, self.n)
        found = part.row_sums(
            np.ones_like(scale) if self.unit else scale,
            self._looped(errors[0] if len(factors) == 1 else self.weights - known),
            self._looped(self.weights),
        )  # fmt: skip
        if self.unit:  # a floor above the degrees is noise of the sample
            floor = np.minimum(found.floor, degrees + found.own)
            return error_of_core(core, degrees, part, replace(found, floor=floor))
        return error_of_scaling(core, np.zeros_like(scale), part, found)


class Estimate:
    """Estimate of the bound by rank, for a factor diag(root) F that grows.

    Parameters
    ----------
    grown : PivotedFactor
    root : array of shape (n,)
    sample : Sample
    rounding : callable
        Maps a rank to the ρ of :class:`residual.Residual`.
    """

    def __init__(
        self,
        grown: PivotedFactor,
        root: np.ndarray,
        sample: Sample,
        rounding: Callable[[int], float],
    ) -> None:
        self.grown, self.root, self.sample, self.rounding = grown, root, sample, rounding
        self.sums = np.zeros((len(sample.halves), 0))  # sums of the columns so far

    def __call__(self, rank: int) -> float:
        F, n = self.grown.factor, self.sample.n
        count = len(self.sample.halves)
        if rank > self.sums.shape[1]:
            fresh = F[:, self.sums.shape[1] :]
            halves = [slice(i * n, (i + 1) * n) for i in range(count)]
            added = np.stack([self.root[rows] @ fresh[rows] for rows in halves])
            self.sums = np.concatenate([self.sums, added], axis=1)
        factors = [self.root[rows, None] * F[rows, :rank] for rows in self.sample.halves]
        sums = list(self.sums[:, :rank])
        return self.sample.bound(factors, sums, self.rounding(rank))
