"""Products written into features of either layout: channels first in memory, or last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gspnl.nn.pointwise import NARROW, pointwise


def pieces(x: Tensor, size: int) -> tuple[Tensor, ...]:
    """Parts of a batch, of so many items each."""
    return (x,) if size >= x.shape[0] else torch.split(x, size)


def put(out: Tensor, weight: Tensor, X: Tensor) -> Tensor:
    """W X, into a tensor (B, c, N) of either layout."""
    weight = weight.expand(len(X), *weight.shape[-2:])
    if out.is_contiguous():
        return torch.bmm(weight, X, out=out)
    torch.bmm(X.mT, weight.mT, out=out.mT)
    return out


def add(total: Tensor, weight: Tensor, X: Tensor) -> None:
    """Add W X to a tensor of either layout that is nobody else's yet."""
    weight = weight.expand(len(X), *weight.shape[-2:])
    if total.is_contiguous():
        total.baddbmm_(weight, X)
    else:
        total.mT.baddbmm_(X.mT, weight.mT)


def features(
    grads: Sequence[Tensor], weights: Sequence[Tensor], start: Tensor | None, out: Tensor | None
) -> Tensor:
    """Σ Wᵀ dU, the gradient of features; in ``out``, where all maps are narrow."""
    if out is not None and start is not None:
        start = out.copy_(start)
    for grad, weight in zip(grads, weights, strict=True):
        if out is not None and start is None:
            start = put(out, weight.mT, grad)
        elif start is not None and max(weight.shape) <= NARROW:
            add(start, weight.mT, grad)
        else:
            share = pointwise(grad.mT, weight.mT).mT
            start = share if start is None else start.add_(share)
    assert start is not None
    return start
