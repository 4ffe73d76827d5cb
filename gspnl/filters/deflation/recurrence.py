"""Any graph deflated: modes and band ends by Lanczos, polynomials by the three-term recurrence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gspnl._base.array import Array, constant, eps, like, namespace, to_numpy, transpose
from gspnl._base.lanczos import Ritz, lanczos
from gspnl.affinity.affinity import Affinity
from gspnl.chebyshev.recurrence import scaled, terms
from gspnl.chebyshev.series import Family, Series
from gspnl.errors import ConvergenceError, InputError
from gspnl.filters.deflation.base import Deflated

BLOCK = 4  # random starts of a Lanczos run
BAND_STEPS = 40
MODE_STEPS = 100


@dataclass(frozen=True, eq=False)
class Recurrence(Deflated):
    """Any storage: three terms on S, the deflated modes projected out at every step."""

    affinity: Affinity
    modes: Array  # V, (N, m), orthonormal modes of S
    eigenvalues: np.ndarray

    @classmethod
    def of(cls, affinity: Affinity, count: int) -> Recurrence:
        """Find the modes to set aside; the band is looked for when it is asked for."""
        return cls(affinity, *_lowest_modes(affinity, count))

    @cached_property
    def ritz(self) -> Ritz:
        """A Lanczos run over the band."""
        return _run(self.affinity, self.modes, BAND_STEPS, _Settled())

    @property
    def ends(self) -> tuple[float, float]:
        low, high = self.ritz.ends
        return 1 - high, 1 - low

    @property
    def reached(self) -> tuple[float, float]:
        return 1 - float(self.ritz.values[-1]), 1 - float(self.ritz.values[0])

    @property
    def density(self) -> tuple[np.ndarray, np.ndarray]:
        return np.clip(1 - self.ritz.values, *self.affinity.limits), self.ritz.weights

    def analysis(self, family: Family, gains: np.ndarray, alone: np.ndarray, Z: Array) -> Array:
        heads, rest = self._split(Z)
        rest = combine(self._step(family), family, rest)
        heads = like(gains[:, :, None], Z) * heads[..., None, :, :]
        return self._joined(heads, rest, like(alone[:, None, None], Z) * Z[..., None, :, :])

    def synthesis(self, family: Family, gains: np.ndarray, alone: np.ndarray, C: Array) -> Array:
        heads, rest = self._split(C)
        rest = clenshaw(self._step(family), family, rest)
        heads = namespace(C).sum(like(gains[:, :, None], C) * heads, axis=-3)
        return self._joined(heads, rest, mix(alone, C))

    def _split(self, Z: Array) -> tuple[Array, Array]:
        """Of T⁻¹ Z, the heads Vᵀ T⁻¹ Z on the modes and the rest, 0 on isolated nodes."""
        y = Z / self.affinity.change[:, None]
        heads = transpose(self.modes) @ y
        rest = y - self.modes @ heads
        if self.affinity.isolated is not None:
            rest = namespace(Z).where(
                self.affinity.isolated[:, None], namespace(Z).zeros_like(rest), rest
            )
        return heads, rest

    def _joined(self, heads: Array, rest: Array, alone: Array) -> Array:
        """Undo :meth:`_split`, with ``alone`` on isolated nodes."""
        out = self.affinity.change[:, None] * (self.modes @ heads + rest)
        if self.affinity.isolated is None:
            return out
        return namespace(out).where(self.affinity.isolated[:, None], alone, out)

    def _step(self, family: Family) -> Callable[[Array], Array]:
        # All of each step is kept off the modes: outside the band, α alone would make them explode.
        step = scaled(family.interval, self.affinity.apply_core)
        return lambda v: _off(self.modes, step(v))


def _lowest_modes(affinity: Affinity, count: int) -> tuple[Array, np.ndarray]:
    """V and λ: the constant mode in closed form, further ones by Lanczos, one after another."""
    xp = namespace(affinity.left)
    modes = affinity.stationary[:, None][:, : min(count, 1)]
    values = [0.0][:count]
    tolerance = 100 * eps(affinity.left)
    live = int(np.count_nonzero(constant(affinity.core_scale)))
    count = min(count, max(live, 1))
    if count > 1:
        to_numpy(affinity.left)  # further modes carry no gradient, and say so
    for _ in range(count - 1):
        ritz = _run(affinity, modes, MODE_STEPS, lambda v, r: r[-1] <= tolerance)
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
        top = _off(modes, ritz.top)
        modes = xp.concat([modes, top / xp.sqrt(xp.sum(top * top))], axis=-1)
        values.append(1 - float(ritz.values[-1]))
    return modes, np.clip(values, *affinity.limits)


def _run(
    affinity: Affinity,
    modes: Array,
    steps: int,
    done: Callable[[np.ndarray, np.ndarray], bool],
) -> Ritz:
    """Lanczos on S without ``modes`` and without isolated nodes, from a fixed random start.

    Each run starts elsewhere: a mode found is the whole share that the last start had in a repeated
    eigenvalue, so the same start would never see a second one.
    """
    shape = (affinity.n_nodes, min(BLOCK, affinity.n_nodes))
    noise = np.random.default_rng(modes.shape[-1]).standard_normal(shape)
    start = like(noise * constant(affinity.core_scale > 0)[:, None], affinity.left)
    return lanczos(affinity.apply_core, start, modes, done=done, steps=steps)


def _off(modes: Array, y: Array) -> Array:
    """(I − V Vᵀ) y."""
    return y - modes @ (modes.mT @ y) if modes.shape[-1] else y


class _Settled:
    """Whether both ends of the band are known, and no longer move, to a hundredth of its width."""

    def __init__(self) -> None:
        self.before = (np.inf, np.inf)

    def __call__(self, values: np.ndarray, residuals: np.ndarray) -> bool:
        low, high = float(values[0]), float(values[-1])
        moved = max(abs(low - self.before[0]), abs(high - self.before[1]))
        self.before = (low, high)
        return bool(max(moved, residuals[0], residuals[-1]) <= 0.01 * (high - low))


def recurrence(operator: Callable[[Array], Array], series: Series, Z: Array) -> Array:
    """Σ θ_k T_k(operator) Z by three terms: K applications for order K."""
    return combine(operator, Family.of([series]), Z)[..., 0, :, :]


def combine(operator: Callable[[Array], Array], family: Family, Z: Array) -> Array:
    """Every Σ θ_fk T_k(operator) Z, (..., F, N, c), by one recurrence: K applications in all."""
    theta = like(family.coefficients[:, :, None, None], Z)
    powers = enumerate(terms(operator, Z, theta.shape[1] - 1))
    return sum(theta[:, k, ...] * term[..., None, :, :] for k, term in powers)


def clenshaw(operator: Callable[[Array], Array], family: Family, C: Array) -> Array:
    """Σ θ_fk T_k(operator) C_f over f and k, (..., N, c): the adjoint of :func:`combine`.

    By Clenshaw's recurrence on sums over f, it takes K applications to one signal.
    """
    theta = family.coefficients
    old, new = None, mix(theta[:, -1], C)
    for k in range(theta.shape[1] - 2, -1, -1):
        next_ = mix(theta[:, k], C) + (2 if k else 1) * operator(new)
        old, new = new, next_ if old is None else next_ - old
    return new


def mix(factors: np.ndarray, C: Array) -> Array:
    """Σ factors_f C_f, (..., F, N, c) to (..., N, c), as one product."""
    flat = namespace(C).reshape(C, (*C.shape[:-2], C.shape[-2] * C.shape[-1]))
    return namespace(C).reshape(like(factors[None], C) @ flat, (*C.shape[:-3], *C.shape[-2:]))
