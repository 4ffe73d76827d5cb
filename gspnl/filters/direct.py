"""Solve shifted systems of a symmetric core by a Cholesky factor, banded or dense."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg

from gspnl._base.array import constant, constant64, fits
from gspnl._base.elimination import in_band
from gspnl.affinity.affinity import Affinity

BANDED, DENSE = 16.0, 4.0  # operations of a solve by an entry of the factor and a column, measured


def dense_core(affinity: Affinity, nodes: np.ndarray) -> np.ndarray:
    """Compute the symmetric core S of some nodes as a new dense array in float64."""
    xp = affinity.xp
    scale = constant64(affinity.core_scale)[nodes]
    rows = constant(affinity.weights.rows(xp.asarray(nodes)))
    rows = rows if len(nodes) == affinity.n_nodes else rows[:, nodes]
    S = scale[:, None] * rows
    S *= scale
    return np.asarray(S)


@dataclass(frozen=True, eq=False)
class Shifted:
    r"""The positive definite matrix c I − σ S on the nodes that are not isolated.

    Parameters
    ----------
    affinity : Affinity
    sign : float
        σ, 1 for the least λ, −1 for the greatest.
    """

    affinity: Affinity
    sign: float

    @cached_property
    def nodes(self) -> np.ndarray:
        """Indices of the nodes that are not isolated."""
        return np.nonzero(constant(self.affinity.core_scale) > 0)[0]

    @cached_property
    def limit(self) -> float:
        """Upper bound of the eigenvalues of σ S."""
        least, most = self.affinity.limits
        return 1 - least if self.sign > 0 else most - 1

    @cached_property
    def band(self) -> int | None:
        """Half bandwidth of a sparse S in the order of Cuthill and McKee, or None if dense."""
        return None if self.affinity.weights.sparse is None else self._banded[2]

    @property
    def width(self) -> int:
        """Entries of the factor in each column."""
        n = len(self.nodes)
        return n if self.band is None else min(n, self.band + 1)

    @property
    def fits(self) -> bool:
        """Whether the factor fits in memory."""
        return fits((len(self.nodes), self.width), self.affinity.left, copies=5)

    @property
    def factoring(self) -> float:
        """Operations of the factor, with those of the matrix itself."""
        n = len(self.nodes)
        build = self.affinity.weights.operations(0) if self.band is None else 0.0
        return 2 * build + 0.5 * n * float(self.width) ** 2 + 20 * n * float(self.width)

    def solving(self, columns: int) -> float:
        """Operations of one solve with several columns."""
        rate = DENSE if self.band is None else BANDED
        return rate * len(self.nodes) * self.width * columns

    @cached_property
    def _banded(self) -> tuple[np.ndarray, Any, int]:
        """An order of the nodes, S in it, sparse, and its half bandwidth."""
        stored: Any = self.affinity.weights.sparse
        order, core, width = in_band(stored[self.nodes][:, self.nodes].astype(np.float64))
        chosen = self.nodes[order]
        scale = constant64(self.affinity.core_scale)[chosen]
        core.data = core.data * scale[core.row] * scale[core.col]
        return chosen, core, width

    def factor(self, shift: float) -> Any:
        """Return a function x ↦ (c I − σ S)⁻¹ x on arrays (N, b), c = limit + shift, 0 if isolated.

        On isolated nodes it is 0.
        """
        n, nodes, c = self.affinity.n_nodes, self.nodes, self.limit + shift
        if self.band is None:
            S = dense_core(self.affinity, nodes)
            S *= -self.sign
            S[np.diag_indices(len(nodes))] += c
            factor = scipy.linalg.cholesky(S, lower=True, overwrite_a=True, check_finite=False)
            places = nodes

            def inside(x: np.ndarray) -> np.ndarray:
                return np.asarray(
                    scipy.linalg.cho_solve((factor, True), x, overwrite_b=True, check_finite=False)
                )
        else:
            places, core, _ = self._banded
            banded = np.zeros((self.width, len(nodes)))
            below = core.row >= core.col
            gap = core.row - core.col
            banded[gap[below], core.col[below]] = -self.sign * core.data[below]
            banded[0] += c
            lower = scipy.linalg.cholesky_banded(
                banded, overwrite_ab=True, lower=True, check_finite=False
            )

            def inside(x: np.ndarray) -> np.ndarray:
                return np.asarray(
                    scipy.linalg.cho_solve_banded((lower, True), x, check_finite=False)
                )

        def solve(x: np.ndarray) -> np.ndarray:
            out = np.zeros((n, x.shape[1]))
            out[places] = inside(x[places])
            return out

        return solve
