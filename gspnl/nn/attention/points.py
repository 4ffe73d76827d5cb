"""Check points of attention, and lay them out for the fused kernels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gspnl.errors import InputError


def fused_width(q: Tensor, v: Tensor) -> int:
    """Return one width for q, k and v; accelerators take multiples of 8 only."""
    width = max(q.shape[-1], v.shape[-1])
    return width if q.device.type == "cpu" else -(-width // 8) * 8


def fused_layout(x: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Reshape points (..., N, c) to (B, 1, N, width), padded with zeros, each row contiguous."""
    lead = x.shape[:-2]
    x = x.to(dtype).reshape(math.prod(lead), 1, *x.shape[-2:])
    if x.shape[-1] < width:
        return F.pad(x, (0, width - x.shape[-1]))
    if x.stride(-1) == 1:
        return x
    # contiguous() would leave the stride of a single column as it is
    return x.clone(memory_format=torch.contiguous_format)


def original_layout(out: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """Reshape rows (B, 1, N, width) to the leading dimensions of q and the width of v."""
    return out[..., : v.shape[-1]].reshape(*q.shape[:-1], v.shape[-1])


def check_points(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raise unless q (..., N, r), k (..., M, r) and v (..., M, c) fit each other."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor):
            raise InputError(f"{name} must be a torch tensor, not {type(x).__name__}")
        if not x.dtype.is_floating_point:
            raise InputError(f"{name} has dtype {x.dtype}; give a floating one")
        if x.ndim < 2:
            raise InputError(f"{name} has shape {tuple(x.shape)}; give (..., nodes, channels)")
        if x.device != q.device:
            raise InputError(f"{name} is on {x.device} and q on {q.device}; move one of them")
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if q.shape[:-2] != k.shape[:-2] or q.shape[:-2] != v.shape[:-2]:
        raise InputError(f"leading dimensions differ in {shapes}; expand them first")
    if q.shape[-1] != k.shape[-1]:
        raise InputError(f"q and k need the same width; given {shapes}")
    if k.shape[-2] != v.shape[-2]:
        raise InputError(f"k and v need the same number of nodes; given {shapes}")
    if 0 in (q.shape[-2], q.shape[-1], k.shape[-2], v.shape[-1]):
        raise InputError(f"no node, no width or no channel is left in {shapes}")
