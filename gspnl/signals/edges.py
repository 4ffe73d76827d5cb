r"""Edge weights K and potentials f with ⟨Z, L Z⟩ = ½ Σ K_ij (f_i − f_j)², by normalisation.

With :math:`S` the symmetric core and :math:`v > 0` its mode :math:`S v = v`,

.. math::

    ⟨Z, L Z⟩_{T^{-2}} = ½ \sum_{ij} K_{ij} (f_i - f_j)^2, \quad
    K = diag(v)\,S\,diag(v), \quad f = T^{-1} Z / v, \quad K 1 = v^2 =: m .

random_walk: K = W, f = Z, m = d. symmetric: K = W, f = Z / √d, m = d. bistochastic: K = A, f = Z,
m = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from gspnl._base.array import Array
from gspnl.affinity.affinity import Affinity, scale_rows


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
        return self.affinity.right if self.affinity.row_stochastic else None

    def potential(self, Z: Array) -> Array:
        """Compute f of signals Z (..., N, c)."""
        return Z if self.affinity.row_stochastic else scale_rows(self.affinity.core_scale, Z)

    def apply(self, f: Array) -> Array:
        """Compute K f."""
        return scale_rows(self.scale, self.affinity.weights.matmul(scale_rows(self.scale, f)))
