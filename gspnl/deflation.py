r"""A graph with its smallest λ set aside, and the narrow band in which the others lie.

The spectrum of a fully-connected graph is {0} and a band near 1. A polynomial on [0, 2] spends its
order on the gap between; here the modes below the band are filtered exactly and the recurrence runs
on the operator without them, :math:`S - \sum_i μ_i v_i v_i^T`, over the band's own interval.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, singledispatch

import numpy as np

from gspnl._array import Array, constant, eps, float64, like, namespace, to_numpy, transpose
from gspnl.affinity import Affinity, scale_rows
from gspnl.chebyshev import Series
from gspnl.errors import ConvergenceError, InputError
from gspnl.gram import SmallCore, expand, gram, polynomial_core
from gspnl.lanczos import Ritz, lanczos
from gspnl.weights import LowRank, Weights

PAD = 0.01  # the band is widened by this share on either side
BLOCK = 4  # random starts of a Lanczos run
BAND_STEPS = 40
MODE_STEPS = 100


class Deflated(ABC):
    """One symmetric graph, split into deflated modes and a band."""

    affinity: Affinity
    eigenvalues: np.ndarray  # λ of the deflated modes

    @property
    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """The least and the largest λ of the band, as computed."""

    @property
    @abstractmethod
    def density(self) -> tuple[np.ndarray, np.ndarray]:
        """λ of the band and their shares: exact for low rank, else a Gauss quadrature."""

    @property
    def reached(self) -> tuple[float, float]:
        """A part of the band that is certainly in use: what an interval must cover."""
        return self.ends

    @property
    def amplification(self) -> float:
        """How much larger than S its summands are, which is by how much rounding grows."""
        return 1.0

    @abstractmethod
    def polynomial(self, series: Series, gains: np.ndarray, alone: float, Z: Array) -> Array:
        """p(L) Z, but gain i on deflated mode i and ``alone`` on isolated nodes."""

    @property
    def interval(self) -> tuple[float, float]:
        """Safe outer bounds of every λ of the band, within [0, 2] where λ must lie there."""
        low, high = self.ends
        pad = PAD * (high - low) + max(1e-6, 64 * eps(self.affinity.left))
        low, high = low - pad, high + pad
        return (max(low, 0.0), min(high, 2.0)) if self.affinity.nonnegative else (low, high)


@singledispatch
def deflate(weights: Weights, affinity: Affinity, count: int) -> Deflated:
    """Set aside the ``count`` modes of least λ (0: none) of one graph held as ``weights``."""
    return Recurrence(affinity, *_lowest_modes(affinity, count))


@deflate.register
def _(weights: LowRank, affinity: Affinity, count: int) -> Deflated:
    return OnePass.of(affinity, weights, count)


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
        rest = 1 - np.append(mu, 0.0)
        return cls(
            affinity, weights, G, J, heads, 1 - np.array(values), rest, shares / shares.sum()
        )

    @property
    def ends(self) -> tuple[float, float]:
        return float(self.rest.min()), float(self.rest.max())

    @property
    def density(self) -> tuple[np.ndarray, np.ndarray]:
        return self.rest, self.shares

    @property
    def amplification(self) -> float:
        return max(1.0, float(np.linalg.norm(constant(self.G), 2)))

    def polynomial(self, series: Series, gains: np.ndarray, alone: float, Z: Array) -> Array:
        core, middle = polynomial_core(self.G, self.J, series)
        core = core + (self.heads * like(gains - middle, core)) @ transpose(self.heads)
        return expand(self.affinity, self.weights, middle, alone, core, Z)


@dataclass(frozen=True, eq=False)
class Recurrence(Deflated):
    """Any storage: three terms on S, the deflated modes projected out at every step."""

    affinity: Affinity
    modes: Array  # V, (N, m), orthonormal modes of S
    eigenvalues: np.ndarray

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
        return 1 - self.ritz.values, self.ritz.weights

    def polynomial(self, series: Series, gains: np.ndarray, alone: float, Z: Array) -> Array:
        xp, affinity = namespace(Z), self.affinity
        y = Z / affinity.change[:, None]
        heads = transpose(self.modes) @ y
        rest = y - self.modes @ heads
        if affinity.isolated is not None:
            rest = xp.where(affinity.isolated[:, None], xp.zeros_like(rest), rest)
        # All of each step is kept off the modes: outside the band, α alone would make them explode.
        step = scaled(series, affinity.apply_core)
        rest = recurrence(lambda v: _off(self.modes, step(v)), series, rest)
        out = affinity.change[:, None] * (self.modes @ (like(gains, Z)[:, None] * heads) + rest)
        if affinity.isolated is None:
            return out
        return xp.where(affinity.isolated[:, None], alone * Z, out)


def _lowest_modes(affinity: Affinity, count: int) -> tuple[Array, np.ndarray]:
    """V and λ: the constant mode in closed form, further ones by Lanczos, one after another."""
    xp = namespace(affinity.left)
    modes = affinity.stationary[:, None][:, : min(count, 1)]
    values = [0.0][:count]
    tolerance = 100 * eps(affinity.left)
    if count > 1:
        to_numpy(affinity.left)  # further modes carry no gradient, and say so
    for _ in range(count - 1):
        ritz = _run(affinity, modes, MODE_STEPS, lambda v, r: r[-1] <= tolerance)
        if ritz.residuals[-1] > 2 * tolerance:
            raise ConvergenceError(
                f"deflate={count}: the mode λ = {1 - ritz.values[-1]:.4g} is not separated from "
                f"the rest after {MODE_STEPS} Lanczos steps; deflate fewer modes"
            )
        top = _off(modes, ritz.top)
        modes = xp.concat([modes, top / xp.sqrt(xp.sum(top * top))], axis=-1)
        values.append(1 - float(ritz.values[-1]))
    return modes, np.array(values)


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
    start = _off(modes, like(noise * constant(affinity.core_scale > 0)[:, None], affinity.left))
    return lanczos(lambda q: _off(modes, affinity.apply_core(q)), start, done=done, steps=steps)


def _off(modes: Array, y: Array) -> Array:
    """(I − V Vᵀ) y."""
    return y - modes @ (transpose(modes) @ y) if modes.shape[-1] else y


class _Settled:
    """Whether both ends of the band are known, and no longer move, to a hundredth of its width."""

    def __init__(self) -> None:
        self.before = (np.inf, np.inf)

    def __call__(self, values: np.ndarray, residuals: np.ndarray) -> bool:
        low, high = float(values[0]), float(values[-1])
        moved = max(abs(low - self.before[0]), abs(high - self.before[1]))
        self.before = (low, high)
        return bool(max(moved, residuals[0], residuals[-1]) <= 0.01 * (high - low))


def scaled(series: Series, apply: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """αI − βA, whose spectrum the series' interval takes to [−1, 1]; ``apply`` is A."""
    lo, hi = series.interval
    alpha, beta = (2 - lo - hi) / (hi - lo), 2 / (hi - lo)
    return lambda v: alpha * v - beta * apply(v)


def recurrence(operator: Callable[[Array], Array], series: Series, Z: Array) -> Array:
    """Σ θ_k T_k(operator) Z by three terms: K applications for order K."""
    theta = [float(v) for v in series.coefficients]
    total = theta[0] * Z
    old, new = Z, operator(Z) if len(theta) > 1 else Z
    for k in range(1, len(theta)):
        total = total + theta[k] * new
        if k + 1 < len(theta):
            old, new = new, 2 * operator(new) - old
    return total
