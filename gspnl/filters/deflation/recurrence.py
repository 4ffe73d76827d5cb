"""Deflation of a graph of any storage, by Lanczos and the three-term recurrence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, is_numpy, like, to_numpy
from gspnl._base.effort import counted, work
from gspnl._base.lanczos import Ritz, lanczos
from gspnl.affinity.affinity import Affinity
from gspnl.chebyshev.families import clenshaw, combine, mix
from gspnl.chebyshev.recurrence import scales
from gspnl.chebyshev.series import Family
from gspnl.errors import ConvergenceError, InputError
from gspnl.filters.deflation import factored
from gspnl.filters.deflation.base import Deflation
from gspnl.filters.deflation.sparse_recurrence import SparseCore, pays

COLUMNS = 4  # random columns of a run that looks for one mode
BAND_STEPS = 40
MODE_STEPS = 100


@dataclass(frozen=True, eq=False)
class RecurrenceDeflation(Deflation):
    """A deflated graph of any storage: each step of the recurrence is orthogonal to the modes.

    Attributes
    ----------
    modes : array of shape (N, m)
        V, orthonormal eigenvectors of S.
    """

    affinity: Affinity
    modes: Array
    eigenvalues: np.ndarray

    @classmethod
    def of(cls, affinity: Affinity, count: int) -> RecurrenceDeflation:
        """Find the modes; the band is computed on first use."""
        return cls(affinity, *_lowest_modes(affinity, count))

    @cached_property
    def ritz(self) -> Ritz:
        """A Lanczos run over the band."""
        return _run(self.affinity, self.modes, BAND_STEPS, _Settled())

    @property
    def has_band(self) -> bool:
        return "ritz" in self.__dict__

    @cached_property
    def ends(self) -> tuple[float, float]:
        low, high = self.ritz.ends
        return 1 - high, 1 - low

    @property
    def inner_ends(self) -> tuple[float, float]:
        return 1 - float(self.ritz.values[-1]), 1 - float(self.ritz.values[0])

    @cached_property
    def density(self) -> tuple[np.ndarray, np.ndarray]:
        return np.clip(1 - self.ritz.values, *self.affinity.limits), self.ritz.weights

    @cached_property
    def core(self) -> SparseCore | None:
        """S of a sparse graph, for large signals; None for other graphs."""
        return SparseCore.of(self.affinity, self.modes)

    def analysis(
        self, family: Family, gains: np.ndarray, isolated_gain: np.ndarray, Z: Array
    ) -> Array:
        heads, rest = self._split(Z)
        with self._work(family, Z) as shown:
            if pays(rest) and self.core is not None:
                rest = self.core.combine(family, rest, shown)
            elif (
                self.affinity.weights.factored
                and self.affinity.factor is not None
                and factored.pays(rest, family)
            ):
                factor = self.affinity.factor
                rest = factored.combine_factored(factor, self.modes, family, rest, shown)
            else:
                rest = combine(counted(self._step(family), shown), family, rest)
        heads = like(gains[:, :, None], Z) * heads[..., None, :, :]
        return self._joined(heads, rest, like(isolated_gain[:, None, None], Z) * Z[..., None, :, :])

    def synthesis(
        self, family: Family, gains: np.ndarray, isolated_gain: np.ndarray, C: Array
    ) -> Array:
        heads, rest = self._split(C)
        with self._work(family, C[..., 0, :, :]) as shown:
            rest = clenshaw(counted(self._step(family), shown), family, rest)
        heads = self.affinity.xp.sum(like(gains[:, :, None], C) * heads, axis=-3)
        return self._joined(heads, rest, mix(isolated_gain, C))

    def _work(self, family: Family, Z: Array) -> Any:
        """Estimate the products of a family with signals Z."""
        if not is_numpy(Z):
            return work("", 0.0)
        order, columns = family.coefficients.shape[1] - 1, Z.size // Z.shape[-2]
        cost = order * self.affinity.weights.operations(columns)
        if self.affinity.weights.factored:
            cost = min(cost, 2 * self.affinity.weights.operations(columns))
        what = f"a filter of order {order} on {self.affinity.n_nodes:,} nodes"
        return work(what, cost, order, "lower the order or the columns, or approximate by rank=")

    def _split(self, Z: Array) -> tuple[Array, Array]:
        """Split T⁻¹ Z into Vᵀ T⁻¹ Z and the rest, which is 0 on isolated nodes."""
        y = Z / self.affinity.change[:, None]
        heads = self.modes.mT @ y
        rest = y - self.modes @ heads
        if self.affinity.isolated is not None:
            xp = self.affinity.xp
            rest = xp.where(self.affinity.isolated[:, None], xp.zeros_like(rest), rest)
        return heads, rest

    def _joined(self, heads: Array, rest: Array, isolated_gain: Array) -> Array:
        """Undo :meth:`_split`, with ``isolated_gain`` on isolated nodes."""
        out = self.affinity.change[:, None] * (self.modes @ heads + rest)
        if self.affinity.isolated is None:
            return out
        return self.affinity.xp.where(self.affinity.isolated[:, None], isolated_gain, out)

    def _step(self, family: Family) -> Callable[[Array], Array]:
        """Return (I − V Vᵀ)(αI − βS), which maps the band to [−1, 1]."""
        alpha, beta = scales(family.interval)
        apply, modes = self.affinity.apply_core, self.modes
        if not modes.shape[-1]:
            return lambda y: alpha * y - beta * apply(y)

        def step(y: Array) -> Array:
            y = alpha * y - beta * apply(y)
            # αy is projected too: deflated modes lie outside the band, where polynomials grow.
            return y - modes @ (modes.mT @ y)

        return step


def _lowest_modes(affinity: Affinity, count: int) -> tuple[Array, np.ndarray]:
    """Return V and λ: the constant mode in closed form, further ones by Lanczos, one by one."""
    xp = affinity.xp
    modes = affinity.stationary[:, None][:, : min(count, 1)]
    values = [0.0][:count]
    tolerance = 100 * affinity.eps
    live = int(np.count_nonzero(constant(affinity.core_scale)))
    count = min(count, max(live, 1))
    if count > 1:
        to_numpy(affinity.left)  # raises where a gradient would be lost: Lanczos carries none
    for _ in range(count - 1):
        ritz = _run(affinity, modes, MODE_STEPS, lambda v, r: r[-1] <= tolerance, COLUMNS, True)
        if ritz.values[-1] <= 1e-6:
            raise InputError(
                f"deflate={count} asks for more modes with λ < 1 than this graph has "
                f"({len(values)}); use a smaller number"
            )
        if ritz.residuals[-1] > 2 * tolerance:
            raise ConvergenceError(
                f"deflate={count}: the mode λ = {1 - ritz.values[-1]:.4g} is not separated from "
                f"the rest after {MODE_STEPS} Lanczos steps; deflate fewer modes"
            )
        top = ritz.top - modes @ (modes.mT @ ritz.top)
        modes = xp.concat([modes, top / xp.sqrt(xp.sum(top * top))], axis=-1)
        values.append(1 - float(ritz.values[-1]))
    return modes, np.clip(values, *affinity.limits)


def _run(
    affinity: Affinity,
    modes: Array,
    steps: int,
    done: Callable[[np.ndarray, np.ndarray], bool],
    width: int = 0,
    vectors: bool = False,
) -> Ritz:
    """Run Lanczos on S without ``modes`` and isolated nodes, from a fixed random start.

    Without ``vectors`` the result has Ritz values only, where S = F Fᵀ those of FᵀF.

    Each run has its own start: a run finds one mode of a repeated eigenvalue, to which the rest of
    its start is orthogonal, so the same start would never find a second one.
    """
    n = affinity.n_nodes
    width = min(width or affinity.weights.lanczos_block, n)
    noise = np.random.default_rng(modes.shape[-1]).standard_normal((n, width))
    start = like(noise * constant(affinity.core_scale > 0)[:, None], affinity.left)
    if affinity.weights.factored and affinity.factor is not None and not vectors:
        return factored.band(affinity.factor, modes, start, done, steps)
    return lanczos(affinity.apply_core, start, modes, done=done, steps=steps)


def lower_end(affinity: Affinity, level: float) -> float:
    """Estimate λ₂ of one graph; the run ends as soon as λ₂ is seen to be at most ``level``."""
    settled = _Settled()

    def done(values: np.ndarray, residuals: np.ndarray) -> bool:
        return settled(values, residuals) or 1 - float(values[-1]) <= level

    ritz = _run(affinity, affinity.stationary[:, None], BAND_STEPS, done)
    return 1 - float(ritz.values[-1])


class _Settled:
    """Stop a Lanczos run once both ends of the band are known to a hundredth of its width."""

    def __init__(self) -> None:
        self.before = (np.inf, np.inf)

    def __call__(self, values: np.ndarray, residuals: np.ndarray) -> bool:
        low, high = float(values[0]), float(values[-1])
        moved = max(abs(low - self.before[0]), abs(high - self.before[1]))
        self.before = (low, high)
        return bool(max(moved, residuals[0], residuals[-1]) <= 0.01 * (high - low))
