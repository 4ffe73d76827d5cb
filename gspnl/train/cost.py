"""Measure what a run costs: operations and memory, and on which machine."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

aten: Any = torch.ops.aten
# Products that torch's counter does not know, by their shapes: a batch of matrices (B, n, k) by
# (B, k, m); a matrix (n, k) by a vector; and attention, of queries (B, H, N, d), keys (B, H, M, d)
# and values (B, H, M, c): scores and sums, then scores again and gradients of scores, v, q and k.
MISSED: dict[Any, Callable[..., int]] = {
    aten.baddbmm_: lambda start, a, b, **_: 2 * math.prod(a) * b[-1],
    aten.mv: lambda a, v, **_: 2 * math.prod(a),
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: (
        2 * math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])
    ),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: (
        2 * math.prod(q[:-1]) * k[-2] * (3 * q[-1] + 2 * v[-1])
    ),
}


def flops(model: nn.Module, image: torch.Tensor) -> int:
    """Count floating-point operations of one image; a multiplication and an addition are two.

    Convolutions count, products of matrices and of a matrix and a vector, and the two products of
    an attention, at the width that its points are padded to, as they run: a low-rank graph counts
    its factors, an iteration each of its steps. Operations on single entries do not count: norms,
    exponentials, sums, sorting.

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
    """The name of the processor or the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    return f"{name}, {os.cpu_count()} cores"


def commit() -> str | None:
    """The commit of gspnl, if it runs from a git repository; "-dirty" where files differ."""
    git = ["git", "-C", str(Path(__file__).parent)]
    tracked = [*git, "ls-files", "--error-unmatch", "__init__.py"]
    name = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        subprocess.run(tracked, check=True, capture_output=True, timeout=10)
        found = subprocess.run(name, check=True, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Memory:
    """The peak of memory from now on, less the memory in use now.

    On a GPU that is memory of tensors. Else it is memory of the process, without pages of files
    such as libraries that are loaded meanwhile, and repeats to about a tenth: an allocator leaves
    free space between tensors by chance. Where an earlier peak cannot be reset (containers that
    forbid it; not Linux), only a higher one is seen; outside Linux its growth counts.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)
            return
        return_free_pages()
        with contextlib.suppress(OSError):
            RESET.write_text("5")
        self.peak, self.before, self.files = _resident()

    def taken(self) -> int:
        """Bytes; 0 where they are not known."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device)) - self.before
        peak, _, files = _resident()
        if peak <= self.peak:  # an earlier one hides it
            return 0
        return max(0, peak - self.before - max(0, files - self.files))


def return_free_pages() -> None:
    """Return free pages to the system, where the C library can (glibc)."""
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def _resident() -> tuple[int, int, int]:
    """Bytes of the resident set: its peak, all of it now, pages of files now; 0 if unknown."""
    with contextlib.suppress(OSError, KeyError):
        lines = [line.split() for line in STATUS.read_text().splitlines()]
        sizes = {words[0]: 1024 * int(words[1]) for words in lines if words[-1:] == ["kB"]}
        return sizes["VmHWM:"], sizes["VmRSS:"], sizes.get("RssFile:", 0)
    try:
        import resource
    except ImportError:  # Windows
        return 0, 0, 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = int(peak if sys.platform == "darwin" else 1024 * peak)
    return peak, peak, 0
