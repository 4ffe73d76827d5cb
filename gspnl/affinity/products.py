"""Products of the A of one graph and of its transpose, in NumPy and float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, constant64, like
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.affinity.weights.adjoint import rmatmul


@dataclass(frozen=True, eq=False)
class AffinityProducts:
    """A = diag(l) W diag(r) + diag(isolated) as :class:`~gspnl._base.products.Products`.

    Parameters
    ----------
    affinity : Affinity
        Of one graph, not of a batch.
    """

    affinity: Affinity

    @property
    def n(self) -> int:
        return self.affinity.n_nodes

    def apply(self, Z: np.ndarray) -> np.ndarray:
        return constant64(self.affinity.apply(like(Z, self.affinity.left)))

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        return constant64(transposed(self.affinity, like(Z, self.affinity.left)))


def transposed(affinity: Affinity, Z: Array) -> Array:
    """Compute Aᵀ Z of one graph, (N, c), in its library and dtype."""
    weights, scaled = affinity.weights, scale_rows(affinity.left, Z)
    flow = weights.matmul(scaled) if affinity.symmetric_core else rmatmul(weights, scaled)
    out = scale_rows(affinity.right, flow)
    if affinity.isolated is None:
        return out
    return affinity.xp.where(affinity.isolated[:, None], Z + out, out)
