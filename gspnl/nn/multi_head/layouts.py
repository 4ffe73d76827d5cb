"""Check tokens of a multi-head attention, and lay them out as (B, N, C)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gspnl.errors import InputError

Signals = tuple[Tensor, Tensor, Tensor]


def check_tokens(
    name: str, x: Tensor, width: int, weight: Tensor, batched_only: bool = False
) -> None:
    """Raise InputError unless x holds tokens of ``width`` channels in the dtype of the weights."""
    if not isinstance(x, Tensor):
        raise InputError(f"{name} must be a torch tensor, not {type(x).__name__}")
    dims = (3,) if batched_only else (2, 3)
    if x.ndim not in dims or x.shape[-1] != width:
        shape = f"(B, N, {width})" if batched_only else f"(N, B, {width}) or (B, N, {width})"
        raise InputError(f"{name} has shape {tuple(x.shape)}; this attention takes {shape}")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(
            f"{name} has dtype {x.dtype} and the weights {weight.dtype}; convert one of them"
        )
    if x.device != weight.device:
        raise InputError(f"{name} is on {x.device} and the weights on {weight.device}; move one")


def map_once(signals: Signals, function: Callable[[Tensor], Tensor]) -> Signals:
    """Apply a function to each of three signals; equal objects stay equal."""
    query, key, value = signals
    q = function(query)
    k = q if key is query else function(key)
    return q, k, q if value is query else k if value is key else function(value)


def swapped(signals: Signals) -> Signals:
    """Exchange the axes of tokens and batch."""
    return map_once(signals, lambda x: x.transpose(0, 1))


def batched(signals: Signals, padding: Tensor | None) -> tuple[Signals, Tensor | None]:
    """Give signals (N, C), and their padding mask (N,), a batch of one."""
    dims = {x.ndim for x in signals}
    if len(dims) > 1 or signals[1].shape[:-1] != signals[2].shape[:-1]:
        raise InputError(
            f"query, key and value have shapes {', '.join(str(tuple(x.shape)) for x in signals)}; "
            "key and value need the same tokens, and all three the same batch, or none"
        )
    if dims == {3}:
        return signals, padding
    return map_once(signals, lambda x: x[None]), None if padding is None else padding[None]


def dense(signals: Signals, padding: Tensor | None) -> tuple[Signals, Tensor | None, Tensor | None]:
    """Pad nested tensors, which torch's encoders make of padded batches in evaluation.

    Returns
    -------
    signals : tensors (B, N, C)
    keep : bool Tensor of shape (B, N), or None where nothing was nested
    padding : Tensor of shape (B, N), or None
        ``padding``, or the complement of ``keep``.
    """
    query = signals[0]
    if not (isinstance(query, Tensor) and query.is_nested):
        return signals, None, padding
    if not all(x is query for x in signals) or padding is not None:
        raise InputError("nested tensors are taken for self-attention without a mask only")
    lengths = torch.tensor([len(each) for each in query.unbind()], device=query.device)
    padded = query.to_padded_tensor(0.0)
    keep = torch.arange(padded.shape[1], device=query.device) < lengths[:, None]
    return (padded, padded, padded), keep, ~keep
