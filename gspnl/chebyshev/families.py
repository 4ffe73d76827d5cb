"""Apply Chebyshev series of an operator: one, a family by one recurrence, and its adjoint."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gspnl._base.array import Array, like, namespace
from gspnl.chebyshev.recurrence import terms
from gspnl.chebyshev.series import Family, Series


def apply_series(operator: Callable[[Array], Array], series: Series, Z: Array) -> Array:
    """Compute Σ θ_k T_k(operator) Z, by K applications for order K."""
    family = Family(series.coefficients[None], series.interval)
    return combine(operator, family, Z)[..., 0, :, :]


def combine(operator: Callable[[Array], Array], family: Family, Z: Array) -> Array:
    """Compute Σ_k θ_fk T_k(operator) Z for every f, (..., F, N, c), by K applications in all."""
    theta = like(family.coefficients[:, :, None, None], Z)
    total: Array = 0
    for k, term in enumerate(terms(operator, Z, theta.shape[1] - 1)):
        total = total + theta[:, k, ...] * term[..., None, :, :]
    return total


def clenshaw(operator: Callable[[Array], Array], family: Family, C: Array) -> Array:
    """Compute Σ_f Σ_k θ_fk T_k(operator) C_f, (..., N, c): the adjoint of :func:`combine`.

    Clenshaw's recurrence on the sums over f takes K applications to one signal.
    """
    theta = family.coefficients
    old, new = None, mix(theta[:, -1], C)
    for k in range(theta.shape[1] - 2, -1, -1):
        next_ = mix(theta[:, k], C) + (2 if k else 1) * operator(new)
        old, new = new, next_ if old is None else next_ - old
    return new


def mix(factors: np.ndarray, C: Array) -> Array:
    """Compute Σ_f factors_f C_f, (..., F, N, c) to (..., N, c), as one product."""
    xp = namespace(C)
    flat = xp.reshape(C, (*C.shape[:-2], C.shape[-2] * C.shape[-1]))
    return xp.reshape(like(factors[None], C) @ flat, (*C.shape[:-3], *C.shape[-2:]))
