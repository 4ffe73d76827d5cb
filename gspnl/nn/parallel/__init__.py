"""Split the positions of a feature map over processes."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call

from gspnl.affinity.kernels import Exponential
from gspnl.errors import InputError
from gspnl.nn.affinity import FeatureAffinity, Points
from gspnl.nn.attention import Attention
from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.attention.symmetric import stacked_rows
from gspnl.nn.block import Block
from gspnl.nn.checkpoints.contents import checksum
from gspnl.nn.hooked import maps_of, own_memo
from gspnl.nn.normalization import Product, Scales, Solve
from gspnl.nn.operators import Factored, Operator
from gspnl.nn.parallel.positions import Positions, Shared
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.precision import lift
from gspnl.nn.structured import CrissCross, GatherDistribute, Generalized, Grouped, NoEdges
from gspnl.nn.unit import PositionNorm, Stage

__all__ = ["Sharded", "shard"]


def shard(block: Block, group: Any = None) -> Sharded:
    r"""Split the positions of a feature map over the processes of a group.

    A feature map (B, C, H, ...) is split along the first spatial dimension, in the order of the
    ranks, into parts of any sizes ≥ 1. Each process passes its part (B, C, h, ...) and gets the
    same part of the block's result.

    Parameters
    ----------
    block : Block
        Not modified; parameters and buffers are shared with it, so move and cast it before.
        It must be the same on all processes.
    group : ProcessGroup, optional
        Default: all processes.

    Returns
    -------
    Sharded
        A module. Parameters have the names of the block's, after "block.".

    Raises
    ------
    InputError
        Without a process group, and for blocks that cannot be sharded: block "cc",
        normalization="bistochastic", "symmetric" with an exponential kernel, the concatenation
        kernel, ``sub_sample``. When called, on every process, for parts that do not fit together,
        and for options, dtypes, modes or first weights that differ.
    ProcessError
        When called, if another process of the group failed or does not answer within the timeout
        of ``init_process_group``.

    Notes
    -----
    The loss is :math:`L = \sum_r L_r`, with :math:`L_r` computed by process r from its part; all
    processes must call ``backward``. On every process the gradient of its part is then
    :math:`\partial L/\partial x_r`, and the gradient of each parameter of the block is
    :math:`\partial L/\partial θ`, summed over processes. A mean over positions must divide by the
    number of positions of all processes; training then equals that of one process.
    DistributedDataParallel on the same processes averages gradients. Those of the block are equal
    everywhere and do not change, but those of other layers become means instead of sums: multiply
    the loss by the number of processes and exclude the block's parameters from it, or sum the
    gradients of the other layers yourself.

    With low rank (kernels "dot" and "cosine", blocks "a2" and "cgnl"), Qᵀ Z, the degrees and QᵀP
    are summed: messages do not grow with N. Exponential kernels gather keys and values: every
    process stores those of all positions, but only its own rows of A. ``storage=`` has no effect.
    Batch and group norm use the statistics of all positions.

    An error on one process alone, such as infinities in half precision, blocks the others.
    torch.compile and torch.export cannot trace a sharded block.

    Examples
    --------
    >>> import os, torch
    >>> import torch.distributed as dist
    >>> from gspnl import nn as gnn
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> block = gnn.create("snl", 8, zero_init=False)
    >>> part = gnn.parallel.shard(block)
    >>> x = torch.randn(2, 8, 4, 4)
    >>> bool(torch.allclose(part(x), block(x), atol=1e-5))
    True
    >>> dist.destroy_process_group()
    """
    if not isinstance(block, Block):
        raise InputError(f"shard takes a block, as gnn.create makes it, not {type(block).__name__}")
    if not (dist.is_available() and dist.is_initialized()):
        raise InputError(
            "there is no process group; call torch.distributed.init_process_group on every "
            "process first"
        )
    if dist.get_rank(group) < 0:
        raise InputError("this process is not in the group; shard on its members only")
    return Sharded(block, group)


class Sharded(nn.Module):
    """A block whose positions are split over processes, see :func:`shard`.

    Parameters
    ----------
    block : Block
    group : ProcessGroup, optional
    """

    def __init__(self, block: Block, group: Any = None) -> None:
        super().__init__()
        shared: dict[int, Any] = {id(t): t for t in (*block.parameters(), *block.buffers())}
        shared |= own_memo(block)
        self.positions = Positions(group)
        self.compared = False  # whether the weights were
        self.block = copy.deepcopy(block, shared)
        for path, _, _, layer in maps_of(self.block):
            if not isinstance(layer, Pointwise):
                raise InputError(
                    f"this block cannot be sharded: {path!r} is a {type(layer).__name__} in the "
                    "place of a map; put its weight into a plain one"
                )
        split(self.block.affinity, self.positions)
        for stage in self.block.stages:
            assert isinstance(stage, Stage)
            if stage.norm is not None:
                split(stage.norm, self.positions)

    def forward(self, x: Tensor) -> Tensor:
        """Return this process's part of Y, for its part (B, C, h, ...) of the feature map."""
        self.positions.measure(x, self._about(x))
        self.compared = True
        names, parameters = zip(*self.block.named_parameters(), strict=True)
        shared = Shared.apply(self.positions.group, *parameters)  # type: ignore[no-untyped-call]  # untyped in torch
        out: Tensor = functional_call(self.block, dict(zip(names, shared, strict=True)), (x,))
        return out

    def _about(self, x: Tensor) -> dict[str, str]:
        """Describe what must be equal on all processes: options, dtypes, modes, first weights."""
        autocast = torch.is_autocast_enabled(x.device.type)
        about: dict[str, Any] = {
            **self.block.config,
            "the dtype of the features": x.dtype,
            "autocast": torch.get_autocast_dtype(x.device.type) if autocast else None,
            "the mode (training)": [m.training for m in self.block.modules()],
        }
        for name, tensor in self.block.state_dict(keep_vars=True).items():
            about[f"the dtype of {name!r}"] = tensor.dtype
            about[f"the shape of {name!r}"] = tuple(tensor.shape)
            about[f"requires_grad of {name!r}"] = tensor.requires_grad
        if not self.compared:
            for name, parameter in self.block.named_parameters():
                about[f"the checksum of {name!r}"] = checksum("", {name: parameter.detach().cpu()})
        # Objects, as a kernel, may show their address, which is of one process.
        return {name: re.sub(r" at 0x[0-9a-f]+", "", repr(value)) for name, value in about.items()}


class SplitFeatureAffinity(FeatureAffinity):
    """An affinity that sums QᵀZ and degrees over processes, or gathers keys of attention."""

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
    """Attention of the positions of one process to all positions.

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
            rows = softmax_attention(q, self.k, values)
        else:
            rows = stacked_rows(q, k, self.q, self.k, values)
        return rows.to(Z.dtype)  # the points may be float64 where the signal is not


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
    module.positions = positions  # type: ignore[assignment]  # neither Tensor nor Module


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
