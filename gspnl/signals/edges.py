r"""Edge weights K and potentials f with ⟨Z, L Z⟩ = ½ Σ K_ij (f_i − f_j)², by normalisation.

With :math:`S` the symmetric core and :math:`v > 0` its mode :math:`S v = v`,

.. math::

    ⟨Z, L Z⟩_{T^{-2}} = ½ \sum_{ij} K_{ij} (f_i - f_j)^2, \quad
    K = diag(v)\,S\,diag(v), \quad f = T^{-1} Z / v, \quad K 1 = v^2 =: m .

random_walk: K = W, f = Z, m = d. symmetric: K = W, f = Z / √d, m = d. bistochastic: K = A, f = Z,
m = 1. combinatorial: K, f and m of random_walk, and the plain inner product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, constant
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.affinity.weights import AddedLoops, Weights
from gspnl.errors import DegreeError


@dataclass(frozen=True, eq=False)
class Edges:
    """K and f of an affinity with a symmetric core.

    Parameters
    ----------
    affinity : Affinity
    """

    affinity: Affinity

    @property
    def scale(self) -> Array | None:
        """Scale u of K = diag(u) W diag(u), (..., N); None stands for ones."""
        if self.affinity.unit is not None or not self.affinity.row_stochastic:
            return None
        return self.affinity.right

    def potential(self, Z: Array) -> Array:
        """Compute f of signals Z (..., N, c)."""
        return Z if self.affinity.row_stochastic else scale_rows(self.affinity.core_scale, Z)

    @property
    def weights(self) -> Weights:
        """W in its storage."""
        weights = self.affinity.weights
        return weights.full if isinstance(weights, AddedLoops) else weights

    @property
    def mass(self) -> Array:
        """M = K 1, (..., N); 0 where isolated."""
        return self.affinity.degrees if self.affinity.unit is not None else self.affinity.core_mass

    @property
    def factor(self) -> np.ndarray | None:
        """Factor exp(log_factor) of K = W, (..., 1, 1), without which W is stored; None for 1."""
        logs = np.asarray(self.affinity.weights.log_factor)
        normalized = self.scale is not None or not self.affinity.row_stochastic
        if normalized or not logs.any():
            return None
        degrees = constant(self.affinity.degrees)
        limits = np.finfo(degrees.dtype)
        largest = logs + np.log(np.maximum(degrees.max(axis=-1), 1.0))
        if not (np.append(largest, -logs) < math.log(float(limits.max))).all():
            raise DegreeError(
                f"weights around exp({float(logs.flat[0]):.0f}) leave the range of {limits.dtype}, "
                "and so do differences weighted by them; scale the features, use float64, or "
                "normalization='symmetric'"
            )
        return np.asarray(np.exp(logs))[..., None, None]

    def apply(self, f: Array) -> Array:
        """Compute K f."""
        return scale_rows(self.scale, self.weights.matmul(scale_rows(self.scale, f)))
