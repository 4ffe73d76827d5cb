"""Norm layers and activations of a stage, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gspnl._base.registry import Registry

NORMS: Registry[Callable[[int, int | None], nn.Module | None]] = Registry("norm")


ACTIVATIONS: Registry[Callable[[Tensor], Tensor]] = Registry("activation")
ACTIVATIONS.register("relu")(torch.relu)


class PositionNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of (B, C, N)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.mT).mT


def batch_scale(norm: nn.Module | None) -> Tensor | None:
    """γ / √(var + ε) of a batch norm in evaluation, float64; None where it depends on the input."""
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_var is None:
        return None
    scale = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale if norm.weight is None else scale * norm.weight.detach().double()


@NORMS.register("batch")
def batch(channels: int, groups: int | None) -> nn.Module:
    """Batch norm, over items and positions."""
    return nn.BatchNorm1d(channels)


@NORMS.register("group")
def group(channels: int, groups: int | None) -> nn.Module:
    """Group norm, of the block's groups, or of up to 32 groups of at least 4 channels.

    A group of one channel would lose the mean over positions, which is what λ = 0 stands for.
    """
    if groups is None:
        groups = max(g for g in range(1, 33) if channels % g == 0 and (g == 1 or channels >= 4 * g))
    return nn.GroupNorm(groups, channels)


@NORMS.register("layer")
def layer(channels: int, groups: int | None) -> nn.Module:
    """Layer norm."""
    return PositionNorm(channels)


@NORMS.register("none")
def none(channels: int, groups: int | None) -> None:
    """No norm."""
