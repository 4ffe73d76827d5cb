"""Sum of signals with one coefficient a head, in few passes over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gspnl.nn.attention.flash import exporting


def combine(shares: Sequence[Tensor], signals: Sequence[Tensor]) -> Tensor:
    r"""Return :math:`\sum_i a_{ih} S_{ih}` in each head h.

    Autograd of the plain formula stores and reads a product of the size of the signal for each
    coefficient; here these gradients are inner products.

    Parameters
    ----------
    shares : sequence of tensors of shape (H,)
        a_i.
    signals : sequence of tensors of shape (B, H, N, c) or (B, H, 1, c)
        S_i; the first is not broadcast.
    """
    stacked = torch.stack(tuple(shares)).to(signals[0].dtype)
    # Private: torch.func has no public function that returns whether a transform is active.
    transformed = torch._C._are_functorch_transforms_active()
    if transformed or torch.compiler.is_compiling() or exporting():
        return weighted(stacked, *signals)  # a compiler fuses the passes itself
    out: Tensor = _Combine.apply(stacked, *signals)  # type: ignore[no-untyped-call]
    return out


def weighted(shares: Tensor, *signals: Tensor) -> Tensor:
    """Return the sum by plain operations."""
    out = signals[0] * shares[0][:, None, None]
    for share, signal in zip(shares[1:], signals[1:], strict=True):
        out = torch.addcmul(out, share[:, None, None], signal)
    return out


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(shares: Tensor, *signals: Tensor) -> Tensor:
        out = signals[0] * shares[0][:, None, None]
        for share, signal in zip(shares[1:], signals[1:], strict=True):
            out = out.addcmul_(share[:, None, None], signal)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        shares, *signals = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        summed = [
            grad.sum(-2, keepdim=True) if each.shape[-2] != grad.shape[-2] else grad
            for each in signals
        ]
        of_shares = None
        if wanted[0]:
            pairs = zip(summed, signals, strict=True)
            of_shares = torch.stack([_inner(g, signal) for g, signal in pairs])
        of_signals = [
            g * share[:, None, None] if needed else None
            for g, share, needed in zip(summed, shares, wanted[1:], strict=True)
        ]
        return of_shares, *of_signals


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """Return the inner product of signals (B, H, N, c) in each head, summed over B."""
    b, h = x.shape[:2]
    x, y = (each.reshape(b * h, 1, -1) for each in (x, y))
    return torch.bmm(x, y.mT).reshape(b, h).sum(0)
