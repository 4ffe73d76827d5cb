"""Modules of a block that sum over positions, for positions split over processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gspnl.affinity.kernels import Exponential
from gspnl.errors import InputError
from gspnl.nn.affinity import FeatureAffinity, Points
from gspnl.nn.attention import Attention
from gspnl.nn.attention.portable import stacked_rows
from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.normalization import Product, Scales, Solve
from gspnl.nn.operators import Factored, Operator
from gspnl.nn.parallel.positions import Positions
from gspnl.nn.precision import lift
from gspnl.nn.structured import CrissCross, GatherDistribute, Generalized, Grouped, NoEdges
from gspnl.nn.unit import PositionNorm


class SplitFeatureAffinity(FeatureAffinity):
    """Sum heads and degrees of low rank over processes; gather keys and values of attention."""

    positions: Positions

    def total(self, x: Tensor) -> Tensor:
        return self.positions.total(x)

    def lowrank(self, rows: int, columns: int, width: int, *, same: bool = False) -> bool:
        return True

    def _concatenates(self, nodes: int) -> bool:
        return True

    def _scales(self, degrees: Tensor, columns: int, product: Product, solve: Solve) -> Scales:
        return super()._scales(degrees, self.positions.count, product, solve)

    def _operator(self, X: Tensor, points: Points, spatial: Sequence[int]) -> Operator:
        if not isinstance(self.kernel, Exponential):
            return super()._operator(X, points, spatial)
        # Gather before the kernel centres the points at their mean.
        assert not isinstance(points, tuple)  # they are concatenated, see above
        every = self.positions.gathered(X if points is None else points)
        whole = super()._operator(every, None if points is None else every, spatial)
        assert isinstance(whole, Attention)
        return SplitAttention(
            whole.q, whole.k, whole.same or whole.normalization == "softmax", self.positions
        )


@dataclass(frozen=True, eq=False)
class SplitAttention(Operator):
    """Rows of one process in an attention among all positions.

    Parameters
    ----------
    q, k : tensors of shape (B, N, t)
        Points of all positions.
    plain : bool
        Whether the weights are exp(q kᵀ), rather than symmetrised.
    positions : Positions
    """

    q: Tensor
    k: Tensor
    plain: bool
    positions: Positions

    def apply(self, Z: Tensor) -> Tensor:
        values = self.positions.gathered(Z)
        q, k = self.positions.own(self.q), self.positions.own(self.k)
        if self.plain:
            return softmax_attention(q, self.k, values)
        return stacked_rows(q, k, self.q, self.k, values)


class SplitGatherDistribute(GatherDistribute):
    """Take the softmax over the positions of all processes."""

    positions: Positions

    def between(self, phi: Tensor, psi: Tensor, spatial: tuple[int, ...]) -> Operator:
        top = self.positions.largest(psi.amax(-2, keepdim=True))
        weights = torch.exp(psi - top)
        gather = weights / self.positions.total(weights.sum(-2, keepdim=True))
        return Factored(phi.softmax(-1), gather, swap=False, total=self.positions.total)


class SplitGeneralized(Generalized):
    """Sum the heads of each group over processes."""

    positions: Positions

    def between(self, phi: Tensor, psi: Tensor, spatial: tuple[int, ...]) -> Operator:
        grouped = super().between(phi, psi, spatial)
        assert isinstance(grouped, Grouped)
        assert isinstance(grouped.operator, Factored)
        return replace(grouped, operator=replace(grouped.operator, total=self.positions.total))


class SplitBatchNorm(nn.BatchNorm1d):
    """Batch norm over the positions of all processes; torch's own needs GPUs."""

    positions: Positions

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        x = lift(input)
        mean, var, count = self.positions.moments(x, (0, 2))
        if count == 1:
            raise InputError("batch norm needs more than one value per channel when training")
        if self.training and self.running_mean is not None and self.running_var is not None:
            self._update_running(
                mean.detach().flatten(), var.detach().flatten() * (count / (count - 1))
            )
        out = (x - mean) * torch.rsqrt(var + self.eps)
        if self.weight is not None:
            out = out * self.weight[:, None] + self.bias[:, None]
        return out.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, var: Tensor) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # cumulative mean of all batches
            share = 1 / float(self.num_batches_tracked)
        for running, value in ((self.running_mean, mean), (self.running_var, var)):
            assert running is not None
            running.lerp_(value.to(running.dtype), share)


class SplitGroupNorm(nn.GroupNorm):
    """Group norm over the positions of all processes."""

    positions: Positions

    def forward(self, input: Tensor) -> Tensor:
        x = lift(input)
        x = x.reshape(x.shape[0], self.num_groups, -1, x.shape[-1])
        mean, var, _ = self.positions.moments(x, (2, 3))
        out = ((x - mean) * torch.rsqrt(var + self.eps)).flatten(1, 2)
        return (out * self.weight[:, None] + self.bias[:, None]).to(input.dtype)


# Class → its split form; classes that map to themselves do not sum over positions.
SPLIT: dict[type[nn.Module], type[nn.Module]] = {
    FeatureAffinity: SplitFeatureAffinity,
    GatherDistribute: SplitGatherDistribute,
    Generalized: SplitGeneralized,
    NoEdges: NoEdges,
    nn.BatchNorm1d: SplitBatchNorm,
    nn.GroupNorm: SplitGroupNorm,
    PositionNorm: PositionNorm,
}


def split(module: nn.Module, positions: Positions) -> None:
    """Replace the class of an affinity or a norm by its split form, or raise."""
    reason = refusal(module)
    if reason is not None:
        raise InputError(f"this block cannot be sharded: {reason}")
    # The same parameters and buffers: only sums over positions differ.
    module.__class__ = SPLIT[type(module)]
    module.positions = positions  # type: ignore[assignment]  # no Tensor, no Module


def refusal(module: nn.Module) -> str | None:
    """Return the reason why a module cannot be split, or None."""
    if isinstance(module, CrissCross):
        return (
            "criss-cross attention takes whole lines of positions, which the split cuts; use "
            "block 'a2' or 'snl'"
        )
    if type(module) not in SPLIT:
        known = ", ".join(cls.__name__ for cls in SPLIT)
        return f"nothing is known of how to split a {type(module).__name__}, only {known}"
    if not isinstance(module, FeatureAffinity):
        return None
    kernel, name = module.kernel, type(module.kernel).__name__
    if module.pool is not None:
        return "windows of sub_sample= may lie on two processes; use sub_sample=None"
    if module.normalization == "bistochastic":
        return (
            "normalization='bistochastic' is found by an iteration over all positions; use "
            "'random_walk'"
        )
    if isinstance(kernel, Exponential):
        if module.normalization == "symmetric":
            return (
                f"normalization='symmetric' of the {name} kernel needs the degrees of all "
                "positions before its rows; use 'random_walk'"
            )
        return None
    if not kernel.bilinear:
        return (
            f"the {name} kernel is neither an inner product nor an exponential, and needs all "
            "positions at once; use kernel='dot'"
        )
    return None
