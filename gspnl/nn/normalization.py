"""Compute scales l and r of A = diag(l) W diag(r) that torch can trace and differentiate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gspnl._base.implicit import once
from gspnl._base.registry import Registry
from gspnl.affinity.normalization import NORMALIZATIONS as CORE
from gspnl.affinity.normalization import sinkhorn, sinkhorn_step
from gspnl.nn.precision import readable

Product = Callable[[Tensor], Tensor]
Solve = Callable[[Tensor, Tensor], Tensor]
Scales = tuple[Tensor | None, Tensor | None, Tensor | None]
# Numbers of Sinkhorn and Newton steps in traced programs, which cannot stop at a tolerance.
TRACED_STEPS, TRACED_NEWTON = 24, 6


@dataclass(frozen=True)
class Normalization:
    """A normalisation of blocks.

    Parameters
    ----------
    scales : callable
        ``scales(degrees, columns, product, solve) -> (l, r, isolated)``. A scale of None stands for
        ones, and ``isolated`` None for no isolated position. ``degrees`` is (B, N), ``columns`` is
        the number of columns of W, ``product(v)`` is W v, (B, N) → (B, N), and ``solve(s, v)`` is
        (I + diag(s) W diag(s))⁺ v, for an s without gradient.
    symmetric_core : bool
        Whether W = ½(M + Mᵀ), rather than M.
    """

    scales: Callable[[Tensor, int, Product, Solve], Scales]
    symmetric_core: bool = False


NORMALIZATIONS: Registry[Normalization] = Registry("normalization")


def _of_degrees(name: str) -> Normalization:
    """Return a normalisation of the core that is a function of 1/d."""
    of_inverse = CORE[name].of_inverse
    assert of_inverse is not None

    def scales(degrees: Tensor, columns: int, product: Product, solve: Solve) -> Scales:
        isolated = isolated_positions(degrees)
        left, right = of_inverse(inverse(degrees, isolated))
        return left, right, isolated

    return Normalization(scales, CORE[name].symmetric_core)


def _bistochastic(degrees: Tensor, columns: int, product: Product, solve: Solve) -> Scales:
    scale = balanced(degrees, product, solve)
    return scale, scale, isolated_positions(degrees)


def _mean(degrees: Tensor, columns: int, product: Product, solve: Solve) -> Scales:
    return torch.full_like(degrees, 1 / columns), None, None


def _none(degrees: Tensor, columns: int, product: Product, solve: Solve) -> Scales:
    return None, None, None


for _name in ("random_walk", "symmetric", "softmax"):
    NORMALIZATIONS.register(_name)(_of_degrees(_name))
NORMALIZATIONS.register("bistochastic")(Normalization(_bistochastic, symmetric_core=True))
NORMALIZATIONS.register("mean")(Normalization(_mean))
NORMALIZATIONS.register("none")(Normalization(_none))


def floor(x: Tensor) -> float:
    """Return the least degree with all its digits; positions below it count as isolated."""
    return float(torch.finfo(x.dtype).tiny)


def isolated_positions(degrees: Tensor) -> Tensor | None:
    """Return a mask of isolated positions.

    Outside of traced programs and torch.vmap, where values of a CPU can be read, None stands for no
    position.
    """
    isolated = degrees < floor(degrees)  # false for NaN, which passes on to the result
    return None if readable(degrees) and not bool(isolated.any()) else isolated


def inverse(degrees: Tensor, isolated: Tensor | None) -> Tensor:
    """Return 1/d, and 0 at isolated positions."""
    safe = degrees if isolated is None else torch.where(isolated, 1, degrees)
    small = safe < math.sqrt(floor(degrees))  # the gradient of 1/d is 1/d², which overflows
    if readable(degrees) and not bool(small.any()):
        out = torch.reciprocal(safe)
    else:
        unit = 1 + small.to(degrees.dtype) / math.sqrt(floor(degrees))
        out = unit * torch.reciprocal(unit * safe)
    return out if isolated is None else torch.where(isolated, 0, out)


def balanced(degrees: Tensor, product: Product, solve: Solve) -> Tensor:
    """Solve s∘(W s) = 1 by the core's Sinkhorn, with the gradient of the implicit function.

    Autograd does not record the iteration. One Newton step from the fixed point follows: it changes
    s by no more than rounding, and its gradient is that of the implicit function. Gradients of
    gradients, which would need a second step, raise a GspnlError.
    """
    live = degrees >= floor(degrees)
    with torch.no_grad():
        if torch.compiler.is_compiling() or degrees.device.type == "meta":
            s = _traced(degrees, live, product, solve)
        else:
            s = sinkhorn(product, torch.where(live, degrees, 0), check_every=4)
    if not (torch.is_grad_enabled() and degrees.requires_grad):
        return s
    residual = torch.where(live, s * product(s) - 1, 0)
    if not torch.compiler.is_compiling():
        residual.register_hook(  # type: ignore[no-untyped-call]  # untyped in torch
            lambda g: None if g is None else once(g, g + degrees)
        )
    return s * (1 - solve(s, residual))


def _traced(degrees: Tensor, live: Tensor, product: Product, solve: Solve) -> Tensor:
    """Return the fixed point after a fixed number of steps, which a compiler unrolls.

    Near it, Newton's steps double the digits; far from it, each changes s by at most a factor of e.
    """
    s = torch.sqrt(inverse(degrees, ~live))
    for _ in range(TRACED_STEPS):
        s = sinkhorn_step(s, product(s), live)
    for _ in range(TRACED_NEWTON):
        sums = torch.where(live, s * product(s), 1)  # the Hessian is this diagonal + SWS
        root = torch.rsqrt(sums)
        step = root * solve(s * root, root * (sums - 1))
        s = s * torch.exp(-torch.clamp(step, -1, 1))
    return s
