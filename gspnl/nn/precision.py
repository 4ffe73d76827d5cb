"""Keep sums over positions in float32 or wider, under autocast and in half precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

JIT: Any = torch.jit  # untyped
FUNCTORCH: Any = torch._C._functorch  # private: torch.func has no public test of its wrappers
HALVES = (torch.float16, torch.bfloat16)


def lift(x: Tensor) -> Tensor:
    """Convert half precision to float32; leave float32 and float64 as they are."""
    return x.float() if x.dtype in HALVES else x


def lifted(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a conversion of device and dtype, but keep the dtype of ``x`` if it becomes half."""
    converted = fn(x)
    return x.to(converted.device) if converted.dtype in HALVES else converted


def common_dtype(*tensors: Tensor) -> torch.dtype:
    """Return the widest dtype of tensors; autocast may have narrowed some of them."""
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return dtype


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return a context without autocast, whose rounding of points changes large scores by units."""
    kind = device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()


def readable(x: Tensor) -> bool:
    """Return whether values decide: on a CPU, and outside of traced programs and torch.vmap."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or JIT.is_tracing():
        return False
    while FUNCTORCH.is_functorch_wrapped_tensor(x):
        if FUNCTORCH.is_batchedtensor(x):
            return False
        x = FUNCTORCH.get_unwrapped(x)
    return True


def all_finite(x: Tensor) -> bool:
    """Test that all values are finite by their extrema, in a tenth of the time of ``isfinite``."""
    if x.numel() == 0:
        return True
    rows = x.detach().movedim(1, -1)  # extrema are faster in memory order: maybe channels last
    ends = torch.aminmax(rows if rows.is_contiguous() else x.detach())  # NaN, if there is one
    return bool(torch.isfinite(ends.min)) and bool(torch.isfinite(ends.max))
