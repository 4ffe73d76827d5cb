"""Affinities of exponential kernels as attention: the N × N entries are never stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gspnl.affinity.kernels.scores import report
from gspnl.nn.attention.attend import warn_operator
from gspnl.nn.attention.flash import available, large
from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.attention.symmetric import joint_attention
from gspnl.nn.operators import Operator
from gspnl.nn.precision import readable

LOGARITHMIC = ("softmax", "random_walk", "symmetric")  # normalisations in the log domain


@dataclass(frozen=True, eq=False)
class Attention(Operator):
    """A of M = exp(q kᵀ), normalised in the log domain.

    Parameters
    ----------
    q, k : tensors of shape (B, N, t), (B, M, t)
    normalization : {"softmax", "random_walk", "symmetric"}
    same : bool
        Whether M is symmetric already.
    """

    q: Tensor
    k: Tensor
    normalization: str
    same: bool

    def apply(self, Z: Tensor) -> Tensor:
        return self._rows(Z).to(Z.dtype)  # the points may be float64 where the signal is not

    def _rows(self, Z: Tensor) -> Tensor:
        if self.normalization == "softmax":
            return softmax_attention(self.q, self.k, Z)
        if self.normalization == "random_walk":
            return joint_attention(self.q, self.k, Z, symmetric=self.same)
        # The scores are divided by the degrees already, so W and its row sums are bounded.
        out, logs = joint_attention(self.q, self.k, Z, True, symmetric=self.same)
        return torch.exp(logs)[..., None] * out


def attention(q: Tensor, k: Tensor, normalization: str, same: bool) -> Attention:
    """Return A of scores q kᵀ; ``same``: they are symmetric."""
    if normalization == "symmetric":
        q, k = degree_scaled(q, k, same)
    return Attention(q, k, normalization, same)


def degree_scaled(q: Tensor, k: Tensor, same: bool) -> tuple[Tensor, Tensor]:
    """Return points with scores s_ij − ½(ℓ_i + ℓ_j), whose weights are D^-½ W D^-½.

    In float64 where ℓ is too large for float32, as the difference of s and ℓ has no digits there;
    warns, or raises a DegreeError, where ℓ is too large for float64.
    """
    unit = torch.ones_like(q[..., :1])
    _, logs = joint_attention(q, k, unit, True, symmetric=same)
    if torch.compiler.is_compiling() and available(q):
        logs = warn_operator(logs)
    elif readable(logs) and large(logs):
        return degree_scaled(q.double(), k.double(), same)
    elif readable(logs):
        size = float(torch.linalg.vector_norm(logs.detach(), math.inf))
        if math.isfinite(size):  # NaN of the features passes on to the result
            report(size * torch.finfo(logs.dtype).eps, q)
    half = logs.to(q.dtype)[..., None] / -2
    return torch.cat([q, half, unit], dim=-1), torch.cat([k, unit, half], dim=-1)
