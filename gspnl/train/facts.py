"""What a network costs, and where a run was."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters())


def _plus_products(start: Any, a: Sequence[int], b: Sequence[int], **_: Any) -> int:
    """(B, n, k) by (B, k, m)."""
    return 2 * math.prod(a) * b[-1]


def _times_vector(a: Sequence[int], v: Any, **_: Any) -> int:
    """(n, k) by (k)."""
    return 2 * math.prod(a)


def _attention(q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: Any, **__: Any) -> int:
    """Scores of q (B, H, N, d) and k (B, H, M, d), and their sums of v (B, H, M, c)."""
    return 2 * math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _attention_backward(
    grad: Any, q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: Any, **__: Any
) -> int:
    """Scores again, and gradients of scores, v, q and k."""
    return 2 * math.prod(q[:-1]) * k[-2] * (3 * q[-1] + 2 * v[-1])


ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"
# Products that torch's counter does not know.
MISSED = {
    getattr(torch.ops.aten, name): formula
    for name, formula in (
        ("baddbmm_", _plus_products),
        ("mv", _times_vector),
        (ATTENTION, _attention),
        (f"{ATTENTION}_backward", _attention_backward),
    )
    if hasattr(torch.ops.aten, name)
}


def flops(model: nn.Module, image: torch.Tensor) -> int:
    r"""Floating-point operations of one image, a multiplication and an addition being two.

    Counted are convolutions, products of matrices and of a matrix and a vector, and the two
    products of an attention, at the width that its points are padded to. They are those that run: a
    low-rank graph counts its factors, an iteration each of its steps. What goes entry by entry is
    left out: norms, exponentials, sums, sorting.

    Parameters
    ----------
    model : Module
    image : tensor (C, \*spatial)

    Examples
    --------
    >>> flops(nn.Conv2d(3, 8, 1), torch.zeros(3, 5, 5))  # 25 positions: 3 numbers to 8
    1200
    """
    training = model.training
    counter = FlopCounterMode(display=False, custom_mapping=MISSED)
    with torch.no_grad(), counter:
        model.eval()(image[None])
    model.train(training)
    return int(counter.get_total_flops())


def machine(device: torch.device) -> str:
    """The processor, or the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def commit() -> str | None:
    """The commit of gspnl, if it runs from a git repository; "-dirty" where files differ."""
    here = Path(__file__).parent
    try:
        tracked = ["git", "-C", str(here), "ls-files", "--error-unmatch", "__init__.py"]
        subprocess.run(tracked, check=True, capture_output=True, timeout=10)
        words = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"]
        done = subprocess.run(
            [*words, "--exclude=*"], check=True, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
