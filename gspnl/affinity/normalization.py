"""Normalisations of W, all of the form A = diag(l) W diag(r), and the combinatorial Laplacian."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, carries_gradient, constant, detached, eps, namespace
from gspnl._base.conjugate_gradients import conjugate_gradients
from gspnl._base.implicit import implicit
from gspnl._base.registry import Registry
from gspnl.affinity.weights import Weights
from gspnl.errors import ConvergenceError

SINKHORN_STEPS = 2000
# Momentum (Polyak) for eigenvalues 1 + μ in [1/4, 2]: (2/(√a + √b))² and ((√b − √a)/(√b + √a))².
SPEED, MEMORY = 1.0914, 0.2280
SLOW = 0.5  # ratio of two defects of plain steps above which momentum is faster
NEAR = 0.1  # row sums from which steps have momentum


@dataclass(frozen=True)
class Normalization:
    """Scales l and r of A = diag(l) W diag(r).

    Parameters
    ----------
    scales : callable
        ``scales(weights, degrees) -> (l, r)``, each (..., N); r = None stands for ones.
        Nodes of degree 0 get l = r = 0. A must not depend on a common factor of W.
    symmetric_core : bool
        Whether W is symmetrised first, so that A is similar to a symmetric matrix.
    row_stochastic : bool
        Whether the rows of A sum to 1, so that its mode with λ = 0 is the constant vector; else
        that mode is √d, as for l = r = d^-½.
    averages : bool
        Whether l = 1/d and r = 1, so that A Z is a weighted mean.
    nonnegative : bool
        Whether W ≥ 0 is required.
    regular : bool
        Whether self-loops are added first, until every degree is the largest one, s. Then
        L = D − W = s (I − A), which self-loops do not change.
    directed : bool
        Whether M is not symmetrised, and W is made of its walk A = D⁻¹M, averaged over both
        directions of time: W = ½(ΠA + AᵀΠ), πᵀA = πᵀ. A is then diag(1/π) W, :math:`½(A + A^*)`.
    of_inverse : callable, optional
        ``of_inverse(1/d) -> (l, r)``, where degrees alone set the scales.
    """

    scales: Callable[[Weights, Array], tuple[Array, Array | None]]
    symmetric_core: bool = True
    row_stochastic: bool = True
    averages: bool = False
    nonnegative: bool = False
    regular: bool = False
    directed: bool = False
    of_inverse: Callable[[Array], tuple[Array, Array | None]] | None = None

    @property
    def symmetrizes(self) -> bool:
        """Whether W = ½(M + Mᵀ); else edges of a directed M count as they are."""
        return self.symmetric_core and not self.directed


NORMALIZATIONS: Registry[Normalization] = Registry("normalization")


def inverse(d: Array) -> Array:
    """Compute 1/d, and 0 where d = 0, with a gradient that does not overflow."""
    xp = namespace(d)
    safe = xp.where(d > 0, d, xp.ones_like(d))
    if carries_gradient(d):
        # The gradient of 1/d is 1/d²: by logarithms where that would leave the range.
        far = 0.3 * math.log(float(xp.finfo(d.dtype).max))
        if np.abs(np.log(constant(safe))).max() > far:
            return xp.where(d > 0, xp.exp(-xp.log(safe)), xp.zeros_like(d))
    return xp.where(d > 0, 1 / safe, xp.zeros_like(d))


def _left_only(inverses: Array) -> tuple[Array, None]:
    return inverses, None


def _both_sides(inverses: Array) -> tuple[Array, Array]:
    scale = namespace(inverses).sqrt(inverses)
    return scale, scale


def _of_degrees(
    of_inverse: Callable[[Array], tuple[Array, Array | None]], **properties: bool
) -> Normalization:
    """Return a normalisation whose scales are functions of 1/d."""
    return Normalization(
        lambda weights, degrees: of_inverse(inverse(degrees)), **properties, of_inverse=of_inverse
    )


def _bistochastic(weights: Weights, degrees: Array) -> tuple[Array, Array]:
    def product(v: Array) -> Array:
        return weights.matmul(v[..., None])[..., 0]

    scale = sinkhorn(lambda v: detached(product(v)), detached(degrees))
    if carries_gradient(degrees):
        scale = _differentiable(weights, scale)
    return scale, scale


def _differentiable(weights: Weights, s: Array) -> Array:
    r"""Return the fixed point s of s∘(W s) = 1 with its gradient.

    With ds = s∘u, :math:`(I + SWS)\,u = -s∘(dW\,s)`: a system that is positive semi-definite, as
    the eigenvalues of the bistochastic SWS lie in [−1, 1]. It is singular for a bipartite W, in a
    direction of s that changes no entry of SWS.
    """
    column = s[..., None]
    tol = 256 * eps(s)

    def operator(v: Array) -> Array:
        return v + column * weights.matmul(column * v)

    def adjoint(g: Array) -> Array:
        one = namespace(g).ones_like(column)
        try:
            u = conjugate_gradients(operator, column * g, one, tol=tol, max_steps=SINKHORN_STEPS)
        except ConvergenceError as error:
            raise ConvergenceError(
                "the gradient of normalization='bistochastic' did not converge: the scales are "
                "hardly determined by the features; use normalization='random_walk', or float64"
            ) from error
        return -u

    residual = column * weights.matmul(column) - 1
    live = column > 0
    return implicit(column, namespace(s).where(live, residual, 0 * column), adjoint)[..., 0]


def sinkhorn(product: Callable[[Array], Array], degrees: Array, *, check_every: int = 1) -> Array:
    """Solve s∘(W s) = 1 by symmetric Sinkhorn steps, s ← √(s / (W s)).

    Parameters
    ----------
    product : callable
        W v, (..., N) → (..., N), for a symmetric W ≥ 0.
    degrees : array of shape (..., N)
        W 1. Nodes of degree 0 get s = 0.
    check_every : int
        Steps between two checks of the row sums.

    Raises
    ------
    ConvergenceError
        Where row sums stay away from 1.
    """
    xp = namespace(degrees)
    live = degrees > 0
    s = previous_s = xp.sqrt(inverse(degrees))
    tolerance = 64 * eps(degrees)
    defect, fast, near = float("inf"), False, NEAR
    with np.errstate(over="ignore", invalid="ignore"):  # checked on the row sums
        for step in range(SINKHORN_STEPS):
            ws = product(s)
            if step % check_every == 0:
                gap = xp.where(live, s * ws - 1, xp.zeros_like(s))
                previous, defect = defect, float(xp.max(xp.abs(detached(gap))))
                # Stop at the tolerance, or near it once rounding stops the descent of plain steps.
                stalled = defect <= 100 * tolerance and defect >= previous
                if defect <= tolerance or (stalled and not fast):
                    return s
                near = 0.0 if stalled else near
                if not math.isfinite(defect):
                    break
                if fast and defect > 2 * near:
                    near /= 10  # momentum only nearer to the solution
                # Plain steps are faster where they gain more than momentum would.
                fast = defect <= near and (fast or defect > SLOW * previous)
            plain = sinkhorn_step(s, ws, live)
            if fast:
                momentum = xp.where(live, s * inverse(previous_s), xp.ones_like(s))
                plain = s * (plain * inverse(s)) ** (2 * SPEED) * momentum**MEMORY
            previous_s, s = s, plain
    left = f"left rows {defect:.1e} away from a sum of 1" if math.isfinite(defect) else "diverged"
    raise ConvergenceError(
        f"normalization='bistochastic' {left} within {SINKHORN_STEPS} Sinkhorn steps: this pattern "
        "of zero weights may allow no bistochastic scaling; use normalization='random_walk', or a "
        "kernel without zeros"
    )


def sinkhorn_step(s: Array, ws: Array, live: Array) -> Array:
    """Compute √(s / (W s)) where ``live``, else s; ``ws`` is W s."""
    xp = namespace(s)
    return xp.where(live, xp.sqrt(s * inverse(ws)), s)


NORMALIZATIONS.register("random_walk")(_of_degrees(_left_only, averages=True))
NORMALIZATIONS.register("symmetric")(_of_degrees(_both_sides, row_stochastic=False))
NORMALIZATIONS.register("bistochastic")(Normalization(_bistochastic, nonnegative=True))
NORMALIZATIONS.register("softmax")(_of_degrees(_left_only, symmetric_core=False, averages=True))
NORMALIZATIONS.register("combinatorial")(_of_degrees(_both_sides, nonnegative=True, regular=True))
NORMALIZATIONS.register("chung")(
    _of_degrees(_left_only, averages=True, nonnegative=True, directed=True)
)
