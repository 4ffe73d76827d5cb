"""A low-rank graph deflated: everything happens in m × m matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, constant, float64, like, namespace, to_numpy, transpose
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.affinity.weights import LowRank
from gspnl.chebyshev.series import Family
from gspnl.errors import InputError
from gspnl.filters.deflation.base import Deflated
from gspnl.filters.lowrank_engine import SmallCore, contract, expand, gram, polynomial_core


@dataclass(frozen=True, eq=False)
class OnePass(Deflated):
    """A low-rank graph: everything happens in m × m matrices, between two passes over the data."""

    affinity: Affinity
    weights: LowRank
    G: Array
    J: Array
    heads: Array  # H: the deflated modes of S are B H
    eigenvalues: np.ndarray
    rest: np.ndarray  # λ of the band
    shares: np.ndarray

    @classmethod
    def of(cls, affinity: Affinity, weights: LowRank, count: int) -> OnePass:
        xp = namespace(affinity.left)
        G, J = gram(affinity, weights), float64(weights.core)
        m, n_live = G.shape[-1], int(np.count_nonzero(constant(affinity.core_scale)))
        heads, values = xp.zeros_like(G)[:, :0], []
        if count:
            scaled = scale_rows(affinity.core_scale, affinity.stationary[:, None])
            heads = J @ float64(transpose(weights.factor) @ scaled)
            values.append(1.0)
            J = J - heads @ transpose(heads)
        small = SmallCore.of(G, J)
        mu = constant(small.values)
        extra = min(count, n_live) - 1
        if extra > 0:
            if extra > m or mu[m - extra] <= 1e-6:
                raise InputError(
                    f"deflate={count} asks for more modes with λ < 1 than this graph has "
                    f"({int((mu > 1e-6).sum()) + 1}); use a smaller number"
                )
            found = small.heads(slice(m - extra, m))
            J = J - (found * small.values[m - extra :]) @ transpose(found)
            heads = xp.concat([heads, xp.flip(found, axis=-1)], axis=-1)
            values += [float(v) for v in to_numpy(small.values)[: m - extra - 1 : -1]]
            mu = mu[: m - extra]
        # The deflated constant mode is one of the mu, at 0; N − m − 1 more lie there.
        shares = np.append(np.ones(len(mu)), max(n_live - m - bool(count), 0))
        rest = np.clip(1 - np.append(mu, 0.0), *affinity.limits)
        lam = np.clip(1 - np.array(values), *affinity.limits)
        return cls(affinity, weights, G, J, heads, lam, rest, shares / shares.sum())

    @property
    def ends(self) -> tuple[float, float]:
        return float(self.rest.min()), float(self.rest.max())

    @property
    def density(self) -> tuple[np.ndarray, np.ndarray]:
        return self.rest, self.shares

    @property
    def amplification(self) -> float:
        return max(1.0, float(np.linalg.norm(constant(self.G), 2)))

    def analysis(self, family: Family, gains: np.ndarray, alone: np.ndarray, Z: Array) -> Array:
        core, middle = self._cores(family, gains)
        at_one, at_zero = (like(v[:, None, None], Z) for v in (middle, alone))
        return expand(self.affinity, self.weights, at_one, at_zero, core, Z[..., None, :, :])

    def synthesis(self, family: Family, gains: np.ndarray, alone: np.ndarray, C: Array) -> Array:
        core, middle = self._cores(family, gains)
        at_one, at_zero = (like(v[:, None, None], C) for v in (middle, alone))
        return contract(self.affinity, self.weights, at_one, at_zero, core, C)

    def _cores(self, family: Family, gains: np.ndarray) -> tuple[Array, np.ndarray]:
        """C of every polynomial, deflated modes included, and its value at μ = 0."""
        core, middle = polynomial_core(self.G, self.J, family)
        extra = like(gains - middle[:, None], core)[:, None, :]
        return core + (self.heads * extra) @ transpose(self.heads), middle
