r"""The three-term recurrence on S = F Fᵀ, whose steps are products of the Gram matrix FᵀF.

T_k(αI − βS) Z = t_k Z + F R_k with numbers t_k and R_k of as many rows as F has columns, so a
filter of any order takes one product with Fᵀ and one with F.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import Array, constant64, is_numpy, like
from gspnl._base.effort import counted
from gspnl.affinity.weights.base import GramFactor
from gspnl.chebyshev.families import combine
from gspnl.chebyshev.recurrence import scales
from gspnl.chebyshev.series import Family

LEAST_ORDER = 3  # from which it takes fewer transforms than products with S, its table included


def pays(Z: Array, family: Family) -> bool:
    """Tell whether a family of series on signals Z is worth the table of the Gram matrix."""
    return is_numpy(Z) and family.coefficients.shape[1] > LEAST_ORDER


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
    if Z.ndim > 2:
        parts = [combine_factored(factor, modes, family, z, shown) for z in Z]
        return np.stack(parts)
    alpha, beta = scales(family.interval)
    heads = factor.heads(constant64(Z))
    known = np.linalg.qr(factor.heads(constant64(modes)))[0]

    def step(state: np.ndarray) -> np.ndarray:
        """Apply αI − βS to t Z + F R, kept as t above R."""
        out: np.ndarray = alpha * state
        out[1:] -= beta * (state[:1] * heads + factor.gram(state[1:]))
        out[1:] -= known @ (known.T @ out[1:])
        return out

    start = np.zeros((1 + factor.size, Z.shape[-1]))
    start[0] = 1.0
    found = combine(counted(step, shown), family, start)
    images = factor.times(np.concatenate(list(found[:, 1:]), axis=1))
    images = images.reshape(len(Z), len(found), Z.shape[-1]).transpose(1, 0, 2)
    return like(found[:, :1] * constant64(Z) + images, Z)
