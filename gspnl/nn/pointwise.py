"""Map the channels of each position: a 1×1 convolution in any number of dimensions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv1d_weight

from gspnl.errors import InputError

NARROW = 128  # channels; measured


class Pointwise(nn.Module):
    r"""X W (+ b), position by position.

    Parameters
    ----------
    channels, width : int
        Of the input and of the output.
    bias : bool
    groups : int
        Number of groups of channels, each with a map of its own.

    Attributes
    ----------
    width : int
        Channels of the output.

    Notes
    -----
    Features are (..., N, C) views of channels-first or channels-last memory; the result has the
    layout of the features, so that none is copied from or to a feature map.
    """

    def __init__(self, channels: int, width: int, bias: bool = False, groups: int = 1) -> None:
        super().__init__()
        if channels % groups or width % groups:
            raise InputError(
                f"groups={groups} does not divide both {channels} and {width} channels; use a "
                "common divisor"
            )
        self.groups, self.width = groups, width  # reading a parametrised weight computes it
        self.weight = nn.Parameter(torch.empty(width, channels // groups))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the weights like those of torch's convolutions."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # untyped in torch
        vars(self).setdefault("width", self.weight.shape[0])  # of networks pickled before

    def forward(self, X: Tensor) -> Tensor:
        return pointwise(X, self.weight, self.bias, self.groups)

    def extra_repr(self) -> str:
        width, channels = self.weight.shape
        shown = f"{channels * self.groups}, {width}, bias={self.bias is not None}"
        return shown if self.groups == 1 else f"{shown}, groups={self.groups}"


def pointwise(X: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """Return X Wᵀ (+ b) of features (B, N, C) and a weight (width, C), in their layout."""
    if groups == 1 and channels_last(X):
        return F.linear(X, weight, bias)
    return channel_first(X, weight, bias, groups)


def channel_first(X: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """Return X Wᵀ (+ b) as a view of (B, width, N) in memory.

    A convolution is up to six times as fast on CPUs as the same batched product. The product is
    faster for narrow maps, and for channels last in memory, which a convolution would copy.
    """
    rows = X.mT
    narrow = max(weight.shape) <= NARROW
    copied = not rows.is_contiguous() and rows.shape[-1] > weight.shape[0]
    if groups == 1 and (narrow or copied):
        out = weight @ rows
        return (out if bias is None else out + bias[:, None]).mT
    return F.conv1d(rows, weight[..., None], bias, groups=groups).mT


def channels_last(X: Tensor) -> bool:
    """Return whether features (B, N, C) have channels last in memory."""
    return X.is_contiguous() and not X.mT.is_contiguous()


def pointwise_weight(rows: Tensor, grad: Tensor) -> Tensor:
    """Return Σ_b G_b X_bᵀ, the gradient of a weight, from that of a result (B, width, N)."""
    width, channels = grad.shape[1], rows.shape[1]
    if len(rows) == 1 or max(width, channels) <= NARROW:
        return torch.bmm(grad, rows.mT).sum(0)
    shape = (width, channels, 1)
    out: Tensor = conv1d_weight(rows, shape, grad.contiguous())  # type: ignore[no-untyped-call]  # untyped in torch
    return out[..., 0]
