"""Split the positions of a feature map over processes."""

from __future__ import annotations

import copy
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.parallel.positions import Positions, Shared
from gspnl.nn.parallel.split import split
from gspnl.nn.unit import Stage

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
        kernel, ``sub_sample``. When called, on every process, for parts that do not fit together.

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
        shared = {id(t): t for t in (*block.parameters(), *block.buffers())}
        self.positions = Positions(group)
        self.block = copy.deepcopy(block, shared)
        split(self.block.affinity, self.positions)
        for stage in self.block.stages:
            assert isinstance(stage, Stage)
            if stage.norm is not None:
                split(stage.norm, self.positions)

    def forward(self, x: Tensor) -> Tensor:
        """Return this process's part of Y, of its part (B, C, h, ...) of the feature map."""
        self.positions.measure(x)
        names, parameters = zip(*self.block.named_parameters(), strict=True)
        shared = Shared.apply(self.positions.group, *parameters)  # type: ignore[no-untyped-call]  # untyped in torch
        out: Tensor = functional_call(self.block, dict(zip(names, shared, strict=True)), (x,))
        return out
