r"""Estimates of the certificate's sums from a random sample of nodes.

A certificate sums over blocks of b random nodes. Of a block's quadratic form :math:`v^T G v` the
mean is :math:`b \overline{v_i^2 G_{ii}} + b (b - 1) \overline{v_i G_{ij} v_j}`, the second over
pairs i ≠ j; both means come from a few hundred nodes, whatever the number of nodes and blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gspnl.affinity.approximation import residual
from gspnl.affinity.approximation.residual import RowSums


def quadratic(G: np.ndarray, v: np.ndarray, size: float) -> float:
    """Estimate vᵀ G v over ``size`` random nodes from its sample."""
    m = len(v)
    own = float(G.diagonal() @ (v * v))
    others = float(v @ (G @ v)) - own
    return size / m * (own + (size - 1) / (m - 1) * others)


def row_sums(G: np.ndarray, v: np.ndarray, size: float) -> np.ndarray:
    """Estimate G v of the sampled nodes, each among ``size`` random nodes."""
    own = G.diagonal() * v
    out: np.ndarray = own + (size - 1) / (len(v) - 1) * (G @ v - own)
    return out


@dataclass(frozen=True, eq=False)
class SampledCore:
    """Ŝ among the sampled nodes, with the sums of :class:`certificate.Core`."""

    weights: np.ndarray
    scale: np.ndarray
    n: int

    @property
    def share(self) -> float:
        return self.n / len(self.scale)

    @cached_property
    def _squares(self) -> np.ndarray:
        core = self.scale[:, None] * self.weights * self.scale
        out: np.ndarray = core * core
        return out

    @cached_property
    def rows(self) -> np.ndarray:
        out: np.ndarray = row_sums(self._squares, np.ones_like(self.scale), self.n)
        return out

    def both_sides(self, weight: np.ndarray) -> float:
        return math.sqrt(max(quadratic(self._squares, weight**2, self.n), 0.0))


@dataclass(frozen=True, eq=False)
class SampledResidual:
    """E among the sampled nodes, with the bounds of :class:`residual.Residual`."""

    errors: list[np.ndarray]
    kernels: list[np.ndarray]
    self_loops: bool
    rounding: float
    n: int

    @property
    def blocks(self) -> int:
        return -(-self.n // residual.BLOCK)

    @cached_property
    def squares(self) -> list[np.ndarray]:
        return [E * E for E in self.errors]

    def norms(self, *scales: np.ndarray) -> list[tuple[float, float]]:
        found = []
        for scale in scales:
            s = scale**2
            totals = [
                self.blocks * math.sqrt(max(quadratic(G, s, self.n / self.blocks), 0.0))
                + self.rounding * self.n * float((s * K.diagonal()).mean())
                for G, K in zip(self.squares, self.kernels, strict=True)
            ]
            found.append((totals[0], totals[-1]))
        return found

    def row_sums(self, scale: np.ndarray, gap: np.ndarray, W: np.ndarray) -> RowSums:
        size = self.n / self.blocks
        roots = [math.sqrt(max(quadratic(E, scale, size), 0.0)) for E in self.errors]
        diagonals = [np.maximum(E.diagonal(), 0.0) for E in self.errors]
        beyond = [(self.blocks - 1) * root for root in roots]
        spread = np.sqrt(diagonals[0]) * beyond[-1] + np.sqrt(diagonals[-1]) * beyond[0]
        tops = [np.sqrt(K.diagonal()) for K in self.kernels]
        noise = sum(
            own * (self.n * float((other * scale).mean()))
            for own, other in zip(tops, tops[::-1], strict=True)
        )
        noise = self.rounding * noise / len(tops)
        return RowSums(
            row_sums(gap, scale, size), row_sums(W, scale, size), spread / 2 + noise,
            (self.blocks * roots[0], self.blocks * roots[-1]),
            np.sqrt(diagonals[0] * diagonals[-1]), noise,
        )  # fmt: skip
