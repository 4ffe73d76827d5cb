"""Scales l and r of A = diag(l) W diag(r), as torch can trace and differentiate them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gspnl._base.registry import Registry
from gspnl.affinity.normalization import NORMALIZATIONS, SINKHORN_STEPS, reciprocal
from gspnl.errors import ConvergenceError

SYMMETRIZED: Registry[bool] = Registry("normalization")  # whether W = ½(M + Mᵀ), rather than M
for name in ("random_walk", "symmetric", "bistochastic", "softmax"):  # of the core, as torch traces
    SYMMETRIZED.register(name)(NORMALIZATIONS[name].symmetric_core)
SYMMETRIZED.register("mean")(False)  # M / N
SYMMETRIZED.register("none")(False)  # M
# Where a loop cannot look at what it has reached: so many Sinkhorn steps, then Newton's.
TRACED_STEPS, TRACED_NEWTON = 24, 6


def scales(
    normalization: str,
    degrees: Tensor,
    columns: int,
    product: Callable[[Tensor], Tensor],
    solve: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """(l, r, isolated); None stands for ones, and for no isolated position.

    Parameters
    ----------
    normalization : str
    degrees : tensor of shape (B, N)
    columns : int
        N of the mean.
    product : callable
        W v, (B, N) → (B, N).
    solve : callable
        ``solve(s, v)`` → (I + diag(s) W diag(s))⁺ v, of an s without gradient.
    """
    if normalization == "none":
        return None, None, None
    if normalization == "mean":
        return torch.full_like(degrees, 1 / columns), None, None
    isolated = marked(degrees)
    if normalization == "bistochastic":
        scale = _sinkhorn(degrees, product, solve)
        return scale, scale, isolated
    inverse = inverted(degrees, isolated)
    if normalization == "symmetric":
        scale = torch.sqrt(inverse)
        return scale, scale, isolated
    return inverse, None, isolated


def floor(x: Tensor) -> float:
    """The degree up to which a position is isolated: 1/d² still has a number above it."""
    return math.sqrt(torch.finfo(x.dtype).tiny)


def marked(degrees: Tensor) -> Tensor | None:
    """The isolated positions, or None where a look is cheap and shows that there are none."""
    isolated = degrees <= floor(degrees)  # false for NaN, which goes on to the result
    looked = degrees.device.type == "cpu" and not torch.compiler.is_compiling()
    return None if looked and not bool(isolated.any()) else isolated


def inverted(degrees: Tensor, isolated: Tensor | None) -> Tensor:
    """1/d, and 0 where a position is isolated."""
    if isolated is None:
        return torch.reciprocal(degrees)
    return torch.where(isolated, 0, torch.reciprocal(torch.where(isolated, 1, degrees)))


def _sinkhorn(
    degrees: Tensor,
    product: Callable[[Tensor], Tensor],
    solve: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """S with s∘(W s) = 1: the fixed point, and one Newton step from it that carries the gradient.

    The step changes the value by rounding alone, and its derivative is that of the implicit
    function: nothing is kept of the iteration.
    """
    live = degrees > floor(degrees)
    with torch.no_grad():
        s = (_traced if cannot_look(degrees) else _iterate)(degrees, live, product, solve)
    if not (torch.is_grad_enabled() and degrees.requires_grad):
        return s
    residual = torch.where(live, s * product(s) - 1, 0)
    return s * (1 - solve(s, residual))


def cannot_look(x: Tensor) -> bool:
    """Whether values decide nothing here: traced, or without values."""
    return torch.compiler.is_compiling() or x.device.type == "meta"


def _traced(
    degrees: Tensor,
    live: Tensor,
    product: Callable[[Tensor], Tensor],
    solve: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The fixed point in a fixed number of steps: a compiler unrolls them all.

    Near it, Newton's steps double the digits; far from it they are held to a factor of e.
    """
    s = torch.sqrt(inverted(degrees, ~live))
    for _ in range(TRACED_STEPS):
        s = torch.where(live, torch.sqrt(s * reciprocal(product(s))), s)
    for _ in range(TRACED_NEWTON):
        sums = torch.where(live, s * product(s), 1)  # the Hessian is this diagonal + SWS
        root = torch.rsqrt(sums)
        step = root * solve(s * root, root * (sums - 1))
        s = s * torch.exp(-torch.clamp(step, -1, 1))
    return s


def _iterate(
    degrees: Tensor,
    live: Tensor,
    product: Callable[[Tensor], Tensor],
    solve: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The iteration s ← √(s / (W s)), until it is at rest."""
    s = torch.sqrt(inverted(degrees, ~live))
    tolerance, defect = 64 * torch.finfo(s.dtype).eps, float("inf")
    for step in range(SINKHORN_STEPS):
        ws = product(s)
        if step % 4 == 0:
            previous = defect
            defect = float(torch.where(live, s * ws - 1, 0).abs().max())
            if defect <= tolerance or (defect <= 100 * tolerance and defect >= previous):
                return s
        s = torch.where(live, torch.sqrt(s * reciprocal(ws)), s)
    raise ConvergenceError(
        f"normalization='bistochastic' left rows {defect:.1e} away from a sum of 1 after "
        f"{SINKHORN_STEPS} Sinkhorn steps; use normalization='random_walk'"
    )
