"""Conjugate gradients for signals of several columns, in any array library."""

from __future__ import annotations

from collections.abc import Callable

from gspnl._base.array import Array, constant, detached, eps, is_numpy, namespace
from gspnl._base.implicit import implicit
from gspnl.errors import ConvergenceError


def conjugate_gradients(
    operator: Callable[[Array], Array], b: Array, diagonal: Array, *, tol: float, max_steps: int
) -> Array:
    """Solve ``operator(x) = b`` for a symmetric, positive definite operator, column by column.

    The gradient is that of the solution, by a second system with the same operator, and not that of
    the steps that led to it.

    Parameters
    ----------
    operator : callable
        Maps (..., N, c) to (..., N, c), column by column.
    b : array of shape (..., N, c)
    diagonal : array of shape (..., N, 1)
        D > 0, similar to the operator's diagonal: the preconditioner, and the scale of residuals,
        so that rows of very different size are all solved.
    tol : float
        Bound of ‖D⁻¹(b − operator(x))‖ / ‖D⁻¹ b‖ in each column, met within a factor of 2.
    max_steps : int

    Raises
    ------
    ConvergenceError
        Where the residual does not reach ``tol``.
    """

    def solve(right: Array) -> Array:
        values = detached(right), detached(diagonal)
        return _steps(lambda v: detached(operator(v)), *values, tol, max_steps)

    x = solve(b)
    if is_numpy(b):
        return x
    return implicit(x, operator(x) - b, lambda g: -solve(g))


def _steps(
    operator: Callable[[Array], Array], b: Array, diagonal: Array, tol: float, max_steps: int
) -> Array:
    """Run the iteration of :func:`conjugate_gradients`."""
    xp = namespace(b)

    def dot(u: Array, v: Array) -> Array:
        return xp.sum(u * v, axis=-2, keepdims=True)

    # Columns are scaled to size 1, so that no square overflows; a column of zeros has solution 0.
    size = xp.max(xp.abs(b), axis=-2, keepdims=True)
    size = xp.where(size > 0, size, xp.ones_like(size))
    b = b / size
    x, r, z = xp.zeros_like(b), b, b / diagonal
    p, old = z, dot(r, z)
    goal = dot(z, z) * tol**2
    one, zero = xp.ones_like(old), xp.zeros_like(old)
    steps = 0
    while steps < max_steps:
        steps += 1
        on = dot(z, z) > goal
        if not bool(xp.any(on)):
            r = b - operator(x)  # the recurrence may have drifted from the residual
            z = r / diagonal
            on = dot(z, z) > 4 * goal
            if not bool(xp.any(on)):
                return x * size
            p, old = z, dot(r, z)
        q = operator(p)
        curvature = dot(p, q)
        if bool(xp.any(on & ~(curvature > 0))):
            break  # singular to rounding
        alpha = xp.where(on, old / xp.where(on, curvature, one), zero)
        x, r = x + alpha * p, r - alpha * q
        z = r / diagonal
        new = dot(r, z)
        p = z + xp.where(on, new / xp.where(on, old, one), zero) * p
        old = new
    z = (b - operator(x)) / diagonal
    left = constant(dot(z, z)) / constant(xp.where(goal > 0, goal, one))
    reached = tol * float(left.max()) ** 0.5
    if reached <= 2 * tol:
        return x * size
    raise ConvergenceError(
        f"conjugate gradients left a residual of {reached:.1e}, above tol={tol:g}, after "
        f"{steps} steps; raise max_steps=, raise tol= (rounding allows {eps(b):.0e} at best), "
        "or mark more nodes as known"
    )
