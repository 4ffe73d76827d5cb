r"""The three-term recurrence on S = F Fᵀ, whose steps are products of the Gram matrix FᵀF.

T_k(αI − βS) Z = t_k Z + F R_k with numbers t_k and R_k of as many rows as F has columns, so a
filter of any order takes one product with Fᵀ and one with F.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, carries_gradient, constant64, device, like
from gspnl._base.effort import counted
from gspnl._base.lanczos import Ritz, lanczos
from gspnl.affinity.weights.base import GramFactor
from gspnl.chebyshev.families import combine
from gspnl.chebyshev.recurrence import scales, terms
from gspnl.chebyshev.series import Family

LEAST_ORDER = 3  # from which it takes fewer transforms than products with S, its table included


def pays(Z: Array, family: Family) -> bool:
    """Tell whether a family of series on signals Z is worth the table of the Gram matrix."""
    if carries_gradient(Z) or "cpu" not in str(device(Z)).lower():
        return False
    return int(family.coefficients.shape[1]) > LEAST_ORDER


def combine_factored(
    factor: GramFactor, modes: Array, family: Family, Z: Array, shown: Any
) -> Array:
    """Compute Σ_k θ_fk T_k(αI − βS) Z for every f, (..., F, N, c), of Z orthogonal to the modes.

    Parameters
    ----------
    factor : GramFactor
    modes : array of shape (N, m)
        Orthonormal eigenvectors of S, to which every step is made orthogonal.
    family : Family
    Z : array of shape (..., N, c)
    shown : Work
        Counts the steps.
    """
    values = constant64(Z)
    flat = values.reshape(-1, *values.shape[-2:])
    parts = [_combined(factor, constant64(modes), family, z, shown) for z in flat]
    return like(np.stack(parts).reshape(*values.shape[:-2], *parts[0].shape), Z)


def _combined(
    factor: GramFactor, modes: np.ndarray, family: Family, Z: np.ndarray, shown: Any
) -> np.ndarray:
    """Compute :func:`combine_factored` of signals (N, c), (F, N, c)."""
    steps = Steps.of(factor, modes, family.interval, Z)
    found = combine(counted(steps.step, shown), family, steps.start)
    images = factor.times(np.concatenate(list(found[:, 1:]), axis=1))
    images = images.reshape(len(Z), len(found), Z.shape[-1]).transpose(1, 0, 2)
    out: np.ndarray = found[:, :1] * Z + images
    return out


def moments_factored(
    factor: GramFactor, modes: np.ndarray, interval: tuple[float, float], count: int, Z: np.ndarray
) -> np.ndarray:
    """Compute zᵀ T_k(αI − βS) z for k < count and each column of Z, (c, count)."""
    steps = Steps.of(factor, modes, interval, Z)
    squares = (Z * Z).sum(0)
    series = terms(steps.step, steps.start, count - 1)
    found = [t[0] * squares + (steps.heads * t[1:]).sum(0) for t in series]
    return np.stack(found, axis=1)


def band(
    factor: GramFactor,
    modes: Array,
    start: Array,
    done: Callable[[np.ndarray, np.ndarray], bool],
    steps: int,
) -> Ritz:
    """Run Lanczos on FᵀF, whose eigenvalues are those of S but for zeros, from Fᵀ start.

    Random starts (N, b) see an eigenvector of FᵀF in proportion to μ, so weights are divided by it;
    what is missing of their sum is the share of μ = 0.
    """
    known = np.linalg.qr(factor.heads(constant64(modes)))[0]
    wide = constant64(start)
    wide = wide - constant64(modes) @ (constant64(modes).T @ wide)
    heads = factor.heads(wide)
    share = float((heads**2).sum() / (wide**2).sum())

    def apply(h: np.ndarray) -> np.ndarray:
        out = factor.gram(h)
        return np.asarray(out - known @ (known.T @ out))

    found = lanczos(apply, heads, known, done=done, steps=steps)
    mu = np.maximum(found.values, 0.0)
    weights = share * found.weights / np.maximum(mu, share * found.weights + 1e-300)
    weights = weights / max(1.0, float(weights.sum()))
    values = np.concatenate([[0.0], mu])
    weights = np.concatenate([[max(0.0, 1 - float(weights.sum()))], weights])
    return Ritz(values, np.concatenate([[0.0], found.residuals]), weights, found.top)


@dataclass(frozen=True, eq=False)
class Steps:
    """The operator αI − βS on signals t Z + F R, kept as t (1, c) above R (M, c)."""

    factor: GramFactor
    known: np.ndarray  # the modes of FᵀF of those to which every step is made orthogonal
    heads: np.ndarray  # Fᵀ Z
    shift: tuple[float, float]  # α and β

    @classmethod
    def of(
        cls, factor: GramFactor, modes: np.ndarray, interval: tuple[float, float], Z: np.ndarray
    ) -> Steps:
        known = np.linalg.qr(factor.heads(modes))[0]
        return cls(factor, known, factor.heads(Z), scales(interval))

    @property
    def start(self) -> np.ndarray:
        """Z itself: t = 1 and R = 0."""
        return np.concatenate([np.ones((1, self.heads.shape[1])), 0 * self.heads])

    def step(self, state: np.ndarray) -> np.ndarray:
        """Apply αI − βS."""
        alpha, beta = self.shift
        out: np.ndarray = alpha * state
        out[1:] -= beta * (state[:1] * self.heads + self.factor.gram(state[1:]))
        out[1:] -= self.known @ (self.known.T @ out[1:])
        return out
