"""Exponential kernels as attention: the N × N entries are never in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gspnl.nn.fused import softmax_attention
from gspnl.nn.joint import joint_attention
from gspnl.nn.operators import Operator

LOGARITHMIC = ("softmax", "random_walk", "symmetric")  # what attention can normalise


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
        if self.normalization == "softmax":
            return softmax_attention(self.q, self.k, Z)
        if self.normalization == "random_walk":
            return joint_attention(self.q, self.k, Z, symmetric=self.same)
        # D^-½ W D^-½ = D^½ (D⁻¹ W) D^-½, whatever factor is common to all degrees.
        _, logs = joint_attention(self.q, self.k, Z[..., :1], True, symmetric=self.same)
        middle = (logs.amax(-1, keepdim=True) + logs.amin(-1, keepdim=True)).detach() / 2
        scale = torch.exp((logs - middle) / 2)[..., None]
        return scale * joint_attention(self.q, self.k, Z / scale, symmetric=self.same)
