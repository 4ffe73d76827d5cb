r"""The three-term recurrence :math:`T_{k+1} = 2xT_k - T_{k-1}`, on operators of any library.

Only arithmetic operators are used, so that any library can trace it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gspnl._base.array import Array


def scaled(
    interval: tuple[float, float], apply: Callable[[Array], Array]
) -> Callable[[Array], Array]:
    """Return αI − βA, which maps the interval of λ to [−1, 1]; ``apply`` computes A Z."""
    alpha, beta = scales(interval)
    return lambda v: alpha * v - beta * apply(v)


def scales(interval: tuple[float, float]) -> tuple[float, float]:
    """Return (α, β) of the map x = α − βμ that takes the interval of λ = 1 − μ to [−1, 1]."""
    lo, hi = interval
    return (2 - lo - hi) / (hi - lo), 2 / (hi - lo)


def terms(operator: Callable[[Array], Array], Z: Array, order: int) -> Iterator[Array]:
    """Yield T_k(operator) Z for k = 0 … K, by K applications."""
    old, new = Z, Z
    for k in range(order + 1):
        if k == 1:
            new = operator(Z)
        elif k > 1:
            old, new = new, 2 * operator(new) - old
        yield new


def small_terms(
    product: Callable[[Array], Array],
    heads: Array,
    order: int,
    shift: float = 0.0,
    slope: float = 1.0,
) -> Iterator[tuple[float, Array]]:
    r"""Yield (t_k, R_k H) for k = 1 … K: T_k of a low-rank A = P Qᵀ in small matrices.

    :math:`T_k(αI - βPQ^T) = t_k I + P R_k Q^T` with t_k = T_k(α), R₀ = 0, R₁ = −βI and
    :math:`R_{k+1} = 2(αR_k - βQ^TP\,R_k - βt_k I) - R_{k-1}`.

    Parameters
    ----------
    product : callable
        Computes (QᵀP) R for an R of m rows.
    heads : array of shape (..., m, c)
        H: QᵀZ, or the identity.
    order : int
        K.
    shift, slope : float
        α and β: those of :func:`scales` for an interval of λ, by default of [0, 2].
    """
    alpha, beta = shift, slope
    new = heads if beta == -1 else -beta * heads
    old = 0 * heads if order > 1 else heads
    t_old, t_new = 1.0, alpha
    for k in range(1, order + 1):
        if k > 1:
            step = alpha * new - beta * product(new) - (beta * t_new) * heads
            old, new = new, 2 * step - old
            t_old, t_new = t_new, 2 * alpha * t_new - t_old
        yield t_new, new
