"""What a run costs, and where it ran."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters())


def flops(model: nn.Module, image: torch.Tensor) -> int:
    r"""Floating-point operations of one image, a multiplication and an addition being two.

    Counted are convolutions and products of matrices, as torch's counter does.

    Parameters
    ----------
    model : Module
    image : tensor (C, \*spatial)
    """
    training = model.training
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(image[None])
    model.train(training)
    return int(counter.get_total_flops())


def forget_peak(device: torch.device) -> None:
    """Begin to measure the peak of memory anew, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        FORGET.write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak is that of the whole process


def peak_bytes(device: torch.device) -> int:
    """Largest memory of this process: on a GPU of its tensors, else its resident set."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = STATUS.read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)


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
