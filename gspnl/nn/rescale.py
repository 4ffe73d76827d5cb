"""Scale the points of homogeneous kernels by powers of 2, where their products leave the range."""

from __future__ import annotations

import torch
from torch import Tensor

from gspnl.affinity.kernels import Kernel


class OutOfRangeError(Exception):
    """Degrees of points as they are given are near an end of the range."""


def check_range(degrees: Tensor) -> None:
    """Raise OutOfRangeError where degrees (B, N) lose digits; reads the values.

    Single degrees of 0 are those of isolated positions; an item with no other may have underflowed.
    """
    if degrees.numel() == 0:
        return
    limits, d = torch.finfo(degrees.dtype), degrees.detach()
    least, most = limits.tiny**0.5, limits.max**0.5
    low, high = (float(x) for x in torch.aminmax(d))
    if least <= low and high <= most:  # false for NaN
        return
    small = bool(((d > 0) & (d < least)).any()) or float(d.amax(-1).min()) < least
    if small or not high <= most:
        raise OutOfRangeError


def rescaled(kernel: Kernel, phi: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
    r"""Scale points (B, N, r) to a largest entry in [½, 1), item by item.

    :math:`f(c\,φ, c\,ψ) = c^p f(φ, ψ)` for a homogeneous kernel, and A does not depend on a common
    factor of W. Inner products allow one factor for each of φ and ψ.
    """
    first, second = _exponents(phi), _exponents(psi)
    if not kernel.bilinear:
        first = second = torch.maximum(first, second)
    return _times_power(phi, -first), _times_power(psi, -second)


def _times_power(x: Tensor, power: Tensor) -> Tensor:
    """Return 2^power x by two factors, each within the range."""
    half = torch.floor(power / 2)
    return x * torch.exp2(half) * torch.exp2(power - half)


def _exponents(points: Tensor) -> Tensor:
    """Return the binary exponents of the largest entries, (B, 1, 1); 0 where there is none."""
    largest = points.detach().abs().amax((-2, -1), keepdim=True)
    return torch.frexp(torch.where(torch.isfinite(largest), largest, 0))[1].to(points.dtype)
