"""Deflation of a low-rank graph by m × m matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gspnl._base.array import Array, constant, float64, like, to_numpy
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.affinity.weights import LowRank
from gspnl.chebyshev.series import Family
from gspnl.errors import InputError
from gspnl.filters.deflation.base import Deflation
from gspnl.filters.lowrank_engine import LowRankEngine, SmallEigen, polynomial_core


@dataclass(frozen=True, eq=False)
class LowRankDeflation(Deflation):
    """A deflated low-rank graph: filters take m × m matrices and two passes over B.

    Attributes
    ----------
    engine : LowRankEngine
    core : array of shape (m, m)
        J without the deflated modes.
    heads : array of shape (m, count)
        H: the deflated modes of S are B H.
    band, shares : arrays of shape (k,)
        λ of the band, and the share of the modes that each stands for.
    """

    affinity: Affinity
    engine: LowRankEngine
    core: Array
    heads: Array
    eigenvalues: np.ndarray
    band: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, affinity: Affinity, weights: LowRank, count: int) -> LowRankDeflation:
        """Take the constant mode in closed form, further ones from the small eigenproblem."""
        xp = affinity.xp
        engine, _ = LowRankEngine.build(affinity, weights, weights.factor[..., :0])
        G, J = engine.gram, engine.core
        m, n_live = G.shape[-1], int(np.count_nonzero(constant(affinity.core_scale)))
        heads, values = xp.zeros_like(G)[:, :0], []
        if count:
            scaled = scale_rows(affinity.core_scale, affinity.stationary[:, None])
            heads = J @ float64(weights.factor.mT @ scaled)
            values.append(1.0)
            J = J - heads @ heads.mT
        small = SmallEigen.of(G, J)
        mu = constant(small.values)
        extra = min(count, n_live) - 1
        if extra > 0:
            if extra > m or mu[m - extra] <= 1e-6:
                raise InputError(
                    f"deflate={count} asks for more modes with λ < 1 than this graph has "
                    f"({int((mu > 1e-6).sum()) + 1}); use a smaller number"
                )
            found = small.heads(slice(m - extra, m))
            J = J - (found * small.values[m - extra :]) @ found.mT
            heads = xp.concat([heads, xp.flip(found, axis=-1)], axis=-1)
            values += [float(v) for v in to_numpy(small.values)[: m - extra - 1 : -1]]
            mu = mu[: m - extra]
        # One mu, at 0, is that of the deflated constant mode; N − m − 1 other modes have μ = 0.
        # A factor with more columns than there are modes has further μ = 0, which are none.
        bulk = n_live - m - bool(count)
        shares = np.append(np.ones(len(mu)), max(bulk, 0))
        if bulk < 0:
            shares[np.argsort(np.abs(mu))[:-bulk]] = 0.0
        limits = affinity.limits
        band = np.clip(1 - np.append(mu, 0.0), *limits)
        lam = np.clip(1 - np.array(values), *limits)
        return cls(affinity, engine, J, heads, lam, band, shares / max(shares.sum(), 1.0))

    @cached_property
    def ends(self) -> tuple[float, float]:
        return float(self.band.min()), float(self.band.max())

    @property
    def density(self) -> tuple[np.ndarray, np.ndarray]:
        return self.band, self.shares

    @cached_property
    def amplification(self) -> float:
        return max(1.0, float(np.linalg.norm(constant(self.engine.gram), 2)))

    def analysis(
        self, family: Family, gains: np.ndarray, isolated_gain: np.ndarray, Z: Array
    ) -> Array:
        core, null_gain = self._cores(family, gains)
        at_one, at_zero = like(null_gain[:, None, None], Z), like(isolated_gain[:, None, None], Z)
        return self.engine.expand(at_one, at_zero, core, Z[..., None, :, :])

    def synthesis(
        self, family: Family, gains: np.ndarray, isolated_gain: np.ndarray, C: Array
    ) -> Array:
        core, null_gain = self._cores(family, gains)
        at_one, at_zero = like(null_gain[:, None, None], C), like(isolated_gain[:, None, None], C)
        return self.engine.contract(at_one, at_zero, core, C)

    def _cores(self, family: Family, gains: np.ndarray) -> tuple[Array, np.ndarray]:
        """Return C of every polynomial, deflated modes included, and its value at μ = 0."""
        core, null_gain = polynomial_core(self.engine.gram, self.core, family)
        extra = like(gains - null_gain[:, None], core)[:, None, :]
        return core + (self.heads * extra) @ self.heads.mT, null_gain
