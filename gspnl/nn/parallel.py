"""One feature map on several processes."""

from __future__ import annotations

import copy
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.positions import Positions, Shared
from gspnl.nn.splitting import split
from gspnl.nn.stage import Stage

__all__ = ["Sharded", "shard"]


def shard(block: Block, group: Any = None) -> Sharded:
    r"""Split the positions of a feature map over the processes of a group.

    Each process gives the part (B, C, h, ...) that it holds of a feature map (B, C, H, ...), split
    along the first spatial dimension in the order of the ranks, in parts of any sizes ≥ 1, and
    gets the same part of what the block makes of the whole.

    Parameters
    ----------
    block : Block
        Left as it is; parameters and buffers are shared with it, so move and cast it before.
        The same on all processes.
    group : ProcessGroup, optional
        Default: all processes.

    Returns
    -------
    Sharded
        A module. Its name for a parameter is that of the block after "block.".

    Raises
    ------
    InputError
        Without a process group, and for what cannot be sharded: block "cc",
        normalization="bistochastic", "symmetric" with an exponential kernel, the concatenation
        kernel, ``sub_sample``. When called, on every process, where the parts do not fit together.

    Notes
    -----
    What is computed is :math:`L = \sum_r L_r` of the losses :math:`L_r` that the processes compute
    of their parts, and all of them must call ``backward``. Then, on every process, the gradient of
    its part is :math:`\partial L/\partial x_r`, and the gradient of each parameter of the block is
    :math:`\partial L/\partial θ`: summed, and the same everywhere. So a loss that is a mean over
    positions is divided by the number of all of them, and training equals that of one process.
    DistributedDataParallel on the same processes averages gradients: these are equal, so it leaves
    them as they are, but it makes a mean of the sums that other layers see; multiply the loss by
    the number of processes and do not let it touch the block's own parameters, or sum the gradients
    of the other layers yourself.

    Of low rank (kernels "dot" and "cosine", blocks "a2" and "cgnl"), Qᵀ Z, the degrees and QᵀP are
    summed: messages do not grow with N. Exponential kernels gather keys and values: every process
    holds those of all positions, but its own rows of A alone. ``storage=`` does not matter. Batch
    and group norm take their statistics of all positions.

    An error on one process alone, such as infinities in half precision, leaves the others waiting.
    Nothing here can be traced by torch.compile or torch.export.

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
    """A block whose positions lie on several processes; made by :func:`shard`.

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
        """The part of Y of the part (B, C, h, ...) that this process holds."""
        self.positions.measure(x)
        names, parameters = zip(*self.block.named_parameters(), strict=True)
        shared = Shared.apply(self.positions.group, *parameters)  # type: ignore[no-untyped-call]
        out: Tensor = functional_call(self.block, dict(zip(names, shared, strict=True)), (x,))
        return out
