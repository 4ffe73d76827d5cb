"""Keep the points and scales of exponential kernels within the digits and range of a dtype."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gspnl.affinity.kernels import Kernel
from gspnl.errors import DegreeError
from gspnl.nn.precision import readable

DIGITS = 1e-5  # largest rounding error of squared distances in float32


def check_balanced(scale: Tensor, name: str) -> None:
    """Raise where entries of a balanced exponential kernel that count have underflowed."""
    limits = torch.finfo(scale.dtype)
    least, most = (float(x) for x in torch.aminmax(scale.detach()))
    lost = scale.shape[-1] * limits.tiny * most * most  # of a row sum of 1, at most
    if least <= 0 or lost > math.sqrt(limits.eps):
        raise DegreeError(
            f"scores of the {name} kernel span more than {scale.dtype} carries through "
            "normalization='bistochastic'; scale the features down, raise temperature= or sigma=, "
            "or use normalization='random_walk'"
        )


def embedded(kernel: Kernel, X: Tensor) -> tuple[Tensor, Tensor]:
    """Embed features without maps, in float64 where float32 cancels the digits of distances.

    The scores of a bounded kernel, as the rbf, are differences of squares of its points: rounding
    of these may exceed the scores.
    """
    phi, psi = kernel.embed(X, None)
    if not getattr(kernel, "bounded", False) or X.dtype == torch.float64 or not readable(X):
        return phi, psi
    longest = float(torch.linalg.vector_norm(phi.detach(), dim=-1).amax())
    if longest**2 * torch.finfo(X.dtype).eps <= DIGITS:
        return phi, psi
    return kernel.embed(X.double(), None)
