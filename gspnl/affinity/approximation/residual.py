r"""Bounds of the residual E = K − F Fᵀ ≥ 0 from its diagonal blocks alone.

Any partition of the nodes into blocks a, b, ... gives, for E ≥ 0,

.. math::

    \|E\|_F ≤ \sum_a \|E_{aa}\|_F ≤ \operatorname{tr} E, \qquad
    \sqrt{s^T E s} ≤ \sum_a \sqrt{s_a^T E_{aa} s_a},

since ‖E_ab‖_F² ≤ ‖E_aa‖_F ‖E_bb‖_F and E = RᵀR. Blocks of one node give the trace, one block the
norm itself. A block of random nodes is a sample of E, so that blocks of a few hundred nodes come
close to the norm, at a cost of O(N · block · rank).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gspnl._base.rows import on_cores
from gspnl.affinity.approximation.points import Points

BLOCK = 512  # nodes in a block
FEW = 8  # blocks below which threads are not worth their start
CACHED = 1 << 24  # entries of blocks cached from one bound to the next: 128 MiB


@dataclass(frozen=True, eq=False)
class Residual:
    r"""Residual E of the points of Φ and Ψ, and W − Ŵ = ½(E_φψ + E_ψφ), for the stored factor.

    Parameters
    ----------
    points : Points
        N of them, or 2N where Φ ≠ Ψ.
    factors : list of arrays of shape (N, m)
        F, or F_φ and F_ψ.
    self_loops : bool
        Whether W has its diagonal.
    rounding : float
        ρ: entries of F Fᵀ are off by at most ρ √(K_ii K_jj).
    seed : int
        Seed of the partition into blocks.
    """

    points: Points
    factors: list[np.ndarray]
    self_loops: bool
    rounding: float
    seed: int
    _memo: dict[int, list[np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def n(self) -> int:
        return len(self.factors[0])

    @cached_property
    def blocks(self) -> list[np.ndarray]:
        order = np.random.default_rng([self.seed, 1]).permutation(self.n)
        return np.array_split(order, -(-self.n // BLOCK))

    @cached_property
    def roots(self) -> list[np.ndarray]:
        """Roots √K_ii of Φ and of Ψ."""
        return list(np.sqrt(self.points.diagonal()).reshape(len(self.factors), self.n))

    def _kernel(self, i: int, j: int, nodes: np.ndarray) -> np.ndarray:
        rows, cols = nodes + i * self.n, nodes + j * self.n
        return self.points.block(rows, cols)

    def _blocks(self, a: int) -> list[np.ndarray]:
        """Compute E_aa of Φ and of Ψ; blocks are cached if all together take little memory."""
        if a in self._memo:
            return self._memo[a]
        nodes, found = self.blocks[a], []
        for i, F in enumerate(self.factors):
            part = F[nodes].astype(np.float64, copy=False)
            E = self._kernel(i, i, nodes)
            E -= part @ part.T
            found.append(E)
        if self.n * len(self.blocks[0]) * len(self.factors) <= CACHED:
            self._memo[a] = found
        return found

    def _each_block(self, fn: Callable[[int], None]) -> None:
        """Call ``fn`` with the number of every block, on all cores."""
        count = len(self.blocks)
        if count < FEW:
            for a in range(count):
                fn(a)
            return

        def share(worker: int, workers: int) -> None:
            for a in range(worker, count, workers):
                fn(a)

        on_cores(share)

    def norms(self, *scales: np.ndarray) -> list[tuple[float, float]]:
        r"""Bound ‖diag(s) E diag(s)‖_F, of Φ and of Ψ, for each of several s ≥ 0.

        Their geometric mean is at least ‖diag(s) (W − Ŵ) diag(s)‖_F.
        """
        found = np.zeros((len(self.blocks), len(scales), len(self.factors)))

        def add(a: int) -> None:
            nodes = self.blocks[a]
            for i, E in enumerate(self._blocks(a)):
                squares = E * E
                for j, scale in enumerate(scales):
                    s = scale[nodes] ** 2
                    found[a, j, i] = math.sqrt(float(s @ squares @ s))

        self._each_block(add)
        return self._rounded(found, scales)

    @cached_property
    def plain_norms(self) -> tuple[float, float]:
        """:meth:`norms` for s = 1; :meth:`row_sums` computes it on the way."""
        return self.norms(np.ones(self.n))[0]

    def _rounded(
        self, found: np.ndarray, scales: tuple[np.ndarray, ...]
    ) -> list[tuple[float, float]]:
        """Sum the norms of blocks, and add the rounding error of F Fᵀ."""
        totals = found.sum(0)
        for i, root in enumerate(self.roots):
            for j, scale in enumerate(scales):
                totals[j, i] += self.rounding * float((scale**2) @ root**2)
        return [(float(t[0]), float(t[-1])) for t in totals]

    def row_sums(self, scale: np.ndarray) -> RowSums:
        """Bound (W − Ŵ) s and W s, for s > 0."""
        n, count = self.n, len(self.factors)
        diagonals, roots = np.zeros((count, n)), np.zeros((count, len(self.blocks)))
        own, floor, of = np.zeros(n), np.zeros(n), np.zeros(n, dtype=int)
        norms = np.zeros((len(self.blocks), 1, count))

        def add(a: int) -> None:
            nodes = self.blocks[a]
            s = scale[nodes]
            parts = self._blocks(a)
            for i, E in enumerate(parts):
                diagonals[i, nodes] = np.maximum(E.diagonal(), 0.0)
                roots[i, a] = math.sqrt(max(float(s @ E @ s), 0.0))
                norms[a, 0, i] = np.linalg.norm(E)
            tall = [F[nodes].astype(np.float64, copy=False) for F in self.factors]
            known = tall[0] @ tall[-1].T
            if count == 1:
                gap, W = parts[0], parts[0] + known
            else:
                W = self._kernel(0, 1, nodes)
                W, known = (W + W.T) / 2, (known + known.T) / 2
                gap = W - known
            own[nodes], floor[nodes], of[nodes] = gap @ s, W @ s, a
            if not self.self_loops:
                own[nodes] -= gap.diagonal() * s
                floor[nodes] -= W.diagonal() * s

        self._each_block(add)
        self.__dict__["plain_norms"] = self._rounded(norms, (np.ones(n),))[0]
        total = roots.sum(1)
        beyond = total[:, None] - roots[:, of]
        spread = np.sqrt(diagonals[0]) * beyond[-1] + np.sqrt(diagonals[-1]) * beyond[0]
        noise = self.roots[0] * (self.roots[-1] @ scale) + self.roots[-1] * (self.roots[0] @ scale)
        return RowSums(
            own, floor, spread / 2 + self.rounding * noise / 2, (total[0], total[-1]),
            np.sqrt(diagonals[0] * diagonals[-1]), self.rounding * noise / 2,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class RowSums:
    """Bounds of e = (W − Ŵ) s: exact within a node's block, and bounded for the other blocks.

    Parameters
    ----------
    own : array of shape (N,)
        The part of e from the node's block.
    floor : array of shape (N,)
        A lower bound of W s: the part from the node's block.
    spread : array of shape (N,)
        An upper bound of ``abs(e − own)``.
    roots : (float, float)
        Upper bounds of √(sᵀ E s), of Φ and of Ψ.
    diagonal : array of shape (N,)
        An upper bound of the diagonal of W − Ŵ, in magnitude.
    noise : array of shape (N,)
        An upper bound of the rounding error in e.
    """

    own: np.ndarray
    floor: np.ndarray
    spread: np.ndarray
    roots: tuple[float, float]
    diagonal: np.ndarray
    noise: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        """Upper bound of ``abs(e)``."""
        out: np.ndarray = np.abs(self.own) + self.spread
        return out
