"""Sum and gather over the positions of a feature map that is split over processes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from gspnl.errors import InputError

MOST_DIMENSIONS = 8  # of shapes that processes exchange


class Total(torch.autograd.Function):
    """All-reduce: the sum over all processes, with the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        out = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return Total.apply(gradient, ctx.group), None  # type: ignore[no-untyped-call]  # untyped in torch


class Shared(torch.autograd.Function):
    """Pass parameters on, and all-reduce their gradients.

    All parameters share one node, the last of a backward pass, so that every process sums in the
    same order, even if it has no gradient of some.
    """

    @staticmethod
    def forward(ctx: Any, group: Any, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.group = group
        return tuple(p.view_as(p) for p in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[1:]
        sums = (
            Total.apply(g, ctx.group) if w else None  # type: ignore[no-untyped-call]  # untyped in torch
            for g, w in zip(gradients, wanted, strict=True)
        )
        return None, *sums


class Positions:
    """Positions of a feature map that is split over a process group.

    Parameters
    ----------
    group : ProcessGroup or None
        None is the default group.
    """

    def __init__(self, group: Any) -> None:
        self.group = group
        self.sizes: tuple[int, ...] = ()  # positions of each rank in the current pass

    def measure(self, x: Tensor) -> None:
        """All-gather the shapes of the parts; raise on all processes where they do not fit."""
        own = torch.zeros(MOST_DIMENSIONS + 1, dtype=torch.int64, device=x.device)
        shape = x.shape[:MOST_DIMENSIONS]
        own[0] = len(shape)
        own[1 : 1 + len(shape)] = torch.tensor(shape)
        every = [torch.empty_like(own) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(every, own, group=self.group)
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
        """N: positions of all processes."""
        return sum(self.sizes)

    @property
    def _before(self) -> int:
        return sum(self.sizes[: dist.get_rank(self.group)])

    def total(self, x: Tensor) -> Tensor:
        """Return the sum over all processes."""
        out: Tensor = Total.apply(x, self.group)  # type: ignore[no-untyped-call]  # untyped in torch
        return out

    def largest(self, x: Tensor) -> Tensor:
        """Return the maximum over all processes, without a gradient."""
        out = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, op=dist.ReduceOp.MAX, group=self.group)
        return out

    def gathered(self, X: Tensor) -> Tensor:
        """All-gather features (B, n, c) of each process to (B, N, c)."""
        n, before = X.shape[-2], self._before
        # A sum of disjoint parts, which has the gradient of a sum.
        return self.total(F.pad(X, (0, 0, before, self.count - before - n)))

    def own(self, X: Tensor) -> Tensor:
        """Return this process's part (B, n, c) of features (B, N, c)."""
        return X.narrow(-2, self._before, self.sizes[dist.get_rank(self.group)])

    def moments(self, x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, int]:
        """Return mean, variance and number of values over ``dims``, the last of them positions."""
        count = math.prod(x.shape[d] for d in dims[:-1]) * self.count
        mean = self.total(x.sum(dims, keepdim=True)) / count
        centred = x - mean
        return mean, self.total((centred * centred).sum(dims, keepdim=True)) / count, count
