"""Positions of one feature map on several processes, and sums over all of them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from gspnl.errors import InputError

MOST_DIMENSIONS = 8  # that a shape is exchanged with


class Total(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        out = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return Total.apply(gradient, ctx.group), None  # type: ignore[no-untyped-call]


class Shared(torch.autograd.Function):
    """Parameters as they are; their gradient is the sum over all processes.

    All of them pass through one node, the last of a backward pass: every process sums in the same
    order, whichever parameters it reached.
    """

    @staticmethod
    def forward(ctx: Any, group: Any, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.group = group
        return tuple(p.view_as(p) for p in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[1:]
        sums = (
            Total.apply(g, ctx.group) if w else None  # type: ignore[no-untyped-call]
            for g, w in zip(gradients, wanted, strict=True)
        )
        return None, *sums


class Positions:
    """The positions of a feature map, each process of a group holding a part of them.

    Parameters
    ----------
    group : ProcessGroup or None
        None is the default group.
    """

    def __init__(self, group: Any) -> None:
        self.group = group
        self.sizes: tuple[int, ...] = ()  # of the parts of the feature map of this pass, by rank

    def measure(self, x: Tensor) -> None:
        """Tell all processes the part that this one holds; all raise where the parts do not fit."""
        mine = torch.zeros(MOST_DIMENSIONS + 1, dtype=torch.int64, device=x.device)
        told = x.shape[:MOST_DIMENSIONS]
        mine[0] = len(told)
        mine[1 : 1 + len(told)] = torch.tensor(told)
        every = [torch.empty_like(mine) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(every, mine, group=self.group)
        shapes = [tuple(s[1 : 1 + s[0]]) for s in (row.tolist() for row in every)]
        if len({(s[:2], s[3:]) for s in shapes}) > 1 or any(
            len(s) < 3 or 0 in s[2:] for s in shapes
        ):
            raise InputError(
                f"parts of shapes {', '.join(map(str, shapes))}, by rank, are no feature map "
                "(B, C, *spatial) split along its first spatial dimension; give every process one "
                "position or more, and the same sizes but for dimension 2"
            )
        self.sizes = tuple(math.prod(s[2:]) for s in shapes)

    @property
    def count(self) -> int:
        """N, of all processes."""
        return sum(self.sizes)

    @property
    def _before(self) -> int:
        return sum(self.sizes[: dist.get_rank(self.group)])

    def total(self, x: Tensor) -> Tensor:
        """The sum over all processes."""
        out: Tensor = Total.apply(x, self.group)  # type: ignore[no-untyped-call]
        return out

    def largest(self, x: Tensor) -> Tensor:
        """The maximum over all processes, without a gradient."""
        out = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, op=dist.ReduceOp.MAX, group=self.group)
        return out

    def gathered(self, X: Tensor) -> Tensor:
        """The features (B, N, c) of all processes, of those (B, n, c) of this one."""
        n, before = X.shape[-2], self._before
        # A sum of parts that do not overlap: the gradient is that of the sum.
        return self.total(F.pad(X, (0, 0, before, self.count - before - n)))

    def own(self, X: Tensor) -> Tensor:
        """The part (B, n, c) of this process of features (B, N, c)."""
        return X.narrow(-2, self._before, self.sizes[dist.get_rank(self.group)])

    def moments(self, x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, int]:
        """Mean and variance over ``dims``, the last of them positions, and of how many values."""
        count = math.prod(x.shape[d] for d in dims[:-1]) * self.count
        mean = self.total(x.sum(dims, keepdim=True)) / count
        centred = x - mean
        return mean, self.total((centred * centred).sum(dims, keepdim=True)) / count, count
