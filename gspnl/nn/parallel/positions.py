"""Sum and gather over the positions of a feature map that is split over processes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from gspnl.errors import InputError, ProcessError

MOST_DIMENSIONS = 8  # of shapes that processes exchange


def together(act: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Call a collective of torch.distributed; raise ProcessError if another process is gone."""
    try:
        act(*args, **options)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):  # of this process
            raise
        raise ProcessError(
            "a process that shares the positions failed or does not answer; see its own message, "
            "and start all again (timeout= of init_process_group says how long to wait: "
            f"{' '.join(str(error).split())[:300]})"
        ) from error


class Total(torch.autograd.Function):
    """All-reduce: the sum over all processes, with the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        out = x.detach().clone(memory_format=torch.contiguous_format)
        together(dist.all_reduce, out, group=group)
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

    def measure(self, x: Tensor, about: Mapping[str, str]) -> None:
        """All-gather shapes and settings; raise on all processes where they do not fit.

        ``about`` describes what must be equal everywhere. Messages of other sizes than expected
        would end the process, so its checksum is compared first.
        """
        own = torch.zeros(MOST_DIMENSIONS + 2, dtype=torch.int64, device=x.device)
        shape = x.shape[:MOST_DIMENSIONS]
        own[0] = len(shape)
        own[1 : 1 + len(shape)] = torch.tensor(shape)
        own[-1] = zlib.crc32(repr(about).encode())
        every = [torch.empty_like(own) for _ in range(dist.get_world_size(self.group))]
        together(dist.all_gather, every, own, group=self.group)
        rows = [row.tolist() for row in every]
        if len({row[-1] for row in rows}) > 1:
            self._name_difference(about)
        shapes = [tuple(row[1 : 1 + row[0]]) for row in rows]
        if len({(s[:2], s[3:]) for s in shapes}) > 1 or any(
            len(s) < 3 or 0 in s[2:] for s in shapes
        ):
            raise InputError(
                f"parts of shapes {', '.join(map(str, shapes))}, by rank, are no feature map "
                "(B, C, *spatial) split along its first spatial dimension; give every process one "
                "position or more, and the same sizes but for dimension 2"
            )
        self.sizes = tuple(math.prod(s[2:]) for s in shapes)

    def _name_difference(self, about: Mapping[str, str]) -> None:
        """Raise InputError for the first setting in which the processes differ."""
        every: list[Any] = [None] * dist.get_world_size(self.group)
        together(dist.all_gather_object, every, dict(about), group=self.group)
        for name in dict.fromkeys(key for each in every for key in each):
            values = [str(each.get(name)) for each in every]
            if len(set(values)) > 1:
                raise InputError(
                    f"{name} differs between the processes: {', '.join(values)}, by rank; make the "
                    "same block everywhere, with the same weights, dtype and mode"
                )

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
        together(dist.all_reduce, out, op=dist.ReduceOp.MAX, group=self.group)
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
