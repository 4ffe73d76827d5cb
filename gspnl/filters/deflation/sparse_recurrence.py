"""The three-term recurrence on a sparse graph, in blocks of rows on all cores.

A step on one block is a product and some arithmetic on rows that are in the cache. In steps on
whole arrays, a third of the time goes into temporaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.array import is_numpy
from gspnl._base.rows import shared_out
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights import AddedLoops
from gspnl.affinity.weights.sparse import Sparse, in_columns, row_blocks, times
from gspnl.chebyshev.recurrence import scales
from gspnl.chebyshev.series import Family

LEAST = 1 << 17  # entries of the signals from which blocks pay: measured


@dataclass(frozen=True, eq=False)
class SparseCore:
    """The symmetric core S of a sparse graph, its rows and columns in an order of its own.

    Parameters
    ----------
    matrix : csr_array of shape (N, N)
        S, without what ``loops`` has.
    loops : array of shape (N, 1), or None
        Added to the diagonal of S.
    modes : array of shape (N, m)
        V, to which every step is made orthogonal.
    order : array of shape (N,), or None
        The node of each row.
    """

    matrix: Any
    loops: np.ndarray | None
    modes: np.ndarray
    order: np.ndarray | None

    @classmethod
    def of(cls, affinity: Affinity, modes: np.ndarray) -> SparseCore | None:
        """Scale the weights of a graph; None where they are not a sparse matrix."""
        weights: Any = affinity.weights
        loops = None
        if isinstance(weights, AddedLoops):
            weights, loops = weights.full, weights.loops
        if not isinstance(weights, Sparse):
            return None
        stored, scale, order = weights.stored, affinity.core_scale, weights.order
        if loops is not None:
            loops = scale * scale * loops
        if order is not None:
            scale, modes = scale[order], modes[order]
            loops = None if loops is None else loops[order]
        data = np.repeat(scale, np.diff(stored.indptr))
        data *= stored.data
        data *= scale[stored.indices]
        core = scipy.sparse.csr_array((data, stored.indices, stored.indptr), shape=stored.shape)
        return cls(core, None if loops is None else loops[:, None], modes, order)

    def combine(self, family: Family, Z: np.ndarray, shown: Any) -> np.ndarray:
        """Compute Σ_k θ_fk T_k(αI − βS) Z for every f, (F, N, c); ``shown`` counts the steps."""
        theta = family.coefficients.astype(Z.dtype)
        alpha, beta = (Z.dtype.type(part) for part in scales(family.interval))
        twice = row_blocks(self.matrix * (-2 * beta))  # of 2(αI − βS), but for the diagonal
        old = in_columns(Z[self.order] if self.order is not None else Z.copy())
        new = np.empty_like(old)
        total: np.ndarray = theta[:, 0, None, None] * old
        diagonal = None
        if alpha or self.loops is not None:
            loops = np.zeros((1, 1), Z.dtype) if self.loops is None else self.loops
            diagonal = np.broadcast_to(2 * (alpha - beta * loops), (len(Z), 1))

        heads: dict[int, np.ndarray] = {}  # Vᵀ T_k, block by block

        def step(k: int, block: tuple[slice, Any]) -> None:
            """Replace rows of T_{k−2} by those of T_k."""
            rows, core = block
            now = old if k == 1 else new
            term = times(core, now)
            if diagonal is not None:
                term += diagonal[rows] * now[rows]
            if k == 1:
                term *= 0.5
                new[rows] = term
            else:
                term -= old[rows]
                old[rows] = term
            if self.modes.shape[1]:
                heads[rows.start] = self.modes[rows].T @ term
            else:
                add(k, rows, term)

        def project(k: int, block: tuple[slice, Any]) -> None:
            """Make rows of T_k orthogonal to the modes."""
            rows = block[0]
            term = new[rows] - self.modes[rows] @ head
            new[rows] = term
            add(k, rows, term)

        def add(k: int, rows: slice, term: np.ndarray) -> None:
            """Add θ_fk T_k to the sums of every f, overwriting ``term``."""
            for f in range(1, len(theta)):
                total[f, rows] += theta[f, k] * term
            term *= theta[0, k]
            total[0, rows] += term

        with shared_out(twice) as apply:
            for k in range(1, theta.shape[1]):
                apply(partial(step, k))
                if k > 1:
                    old, new = new, old
                if heads:
                    head = sum(heads[start] for start in sorted(heads))
                    apply(partial(project, k))
                shown.done += 1
        if self.order is None:
            return total
        out = np.empty_like(total)
        out[:, self.order] = total
        return out


def pays(Z: Any) -> bool:
    """Tell whether signals are large enough for blocks."""
    return is_numpy(Z) and Z.ndim == 2 and Z.size >= LEAST
