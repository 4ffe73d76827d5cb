"""Synchronise batch norms over processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gspnl.nn.parallel.positions import Total


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Batch norm with mean and variance over the batches of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        own = self.training or not self.track_running_stats
        if not own or not (dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]  # of torch
        x = input if input.dtype == torch.float64 else input.float()
        dims = [d for d in range(x.ndim) if d != 1]
        count = total(x.new_tensor([x.numel() / x.shape[1]]))
        mean = total(x.sum(dims, keepdim=True)) / count
        centred = x - mean
        # A second pass: mean(x²) − mean² would lose digits.
        var = total((centred * centred).sum(dims, keepdim=True)) / count
        if self.training and self.track_running_stats:
            self._remember(mean.detach(), (var * count / (count - 1).clamp(min=1)).detach())
        out = centred * torch.rsqrt(var + self.eps)
        if self.weight is not None:
            weight, bias = (each.to(x.dtype).view_as(mean) for each in (self.weight, self.bias))
            out = out * weight + bias
        return out.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor) -> None:
        own: Any = self  # with running statistics, which torch's types leave open
        own.num_batches_tracked.add_(1)
        rate = own.momentum if own.momentum is not None else 1 / float(own.num_batches_tracked)
        for running, new in ((own.running_mean, mean), (own.running_var, var)):
            running.lerp_(new.flatten().to(running.dtype), rate)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """Synchronised batch norm of (B, C) or (B, C, N)."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """Synchronised batch norm of (B, C, H, W)."""


class SynchronisedBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """Synchronised batch norm of (B, C, T, H, W)."""


SYNCHRONISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
    nn.BatchNorm3d: SynchronisedBatchNorm3d,
}


def synchronise(network: nn.Module) -> nn.Module:
    r"""Let every batch norm of a network take its statistics over all processes, in place.

    With x the values of one channel in the batches of all processes, n of them, the norm is

    .. math:: y = γ \frac{x - μ}{\sqrt{σ^2 + ε}} + β, \qquad
              μ = \frac1n \sum x, \quad σ^2 = \frac1n \sum (x - μ)^2

    and gradients pass through both sums. Unlike torch's own this works on every device, and on the
    norms of nonlocal blocks. Names, parameters, buffers, hooks, other norms, and subclasses of
    batch norms stay as they are; so do results of one process, or in evaluation.

    Examples
    --------
    >>> from torch import nn
    >>> from gspnl.nn.parallel.batch_norm import synchronise
    >>> synchronise(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))[1]
    SynchronisedBatchNorm2d(8, eps=1e-05, momentum=0.1, ...)
    """
    for module in network.modules():
        module.__class__ = SYNCHRONISED.get(type(module), type(module))
    return network


def total(x: Tensor) -> Tensor:
    """Sum over all processes, with its gradient."""
    return Total.apply(x, None)  # type: ignore[no-untyped-call,no-any-return]  # of torch
