"""Memory that training takes, beyond what the process held before it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

import torch

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Memory:
    """The peak of memory from now on, less what is held now.

    On a GPU that is memory of tensors. Else it is memory of the process, without pages of files
    such as libraries that are loaded meanwhile. Garbage is collected and free pages are returned
    first, so that what ran before in the process hardly changes the number.

    Parameters
    ----------
    device : torch.device

    Notes
    -----
    Free space between tensors, which an allocator has by chance, is memory of the process: the
    number repeats to about a tenth. Where an earlier peak cannot be forgotten (containers that
    forbid it; not Linux), it is known once there is a higher one. Where what is held now is not
    told either (not Linux), it is by how much that peak grew, which is at most what was taken.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.held = torch.cuda.memory_allocated(device)
            return
        return_free_pages()
        with contextlib.suppress(OSError):
            FORGET.write_text("5")
        self.peak, self.held, self.files = resident()

    def taken(self) -> int:
        """Bytes; 0 where they are not known."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device)) - self.held
        peak, _, files = resident()
        if peak <= self.peak:  # one from before hides it
            return 0
        return max(0, peak - self.held - max(0, files - self.files))


def return_free_pages() -> None:
    """Return free pages to the system, where the C library keeps them and can do so (glibc)."""
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def resident() -> tuple[int, int, int]:
    """Bytes of the resident set: its peak; all of it now; pages of files in it now.

    Outside Linux the peak stands for what is held, and no file is told; on Windows all are 0.
    """
    try:
        lines = [line.split() for line in STATUS.read_text().splitlines()]
        found = {words[0]: 1024 * int(words[1]) for words in lines if words[-1:] == ["kB"]}
        return found["VmHWM:"], found["VmRSS:"], found.get("RssFile:", 0)
    except (OSError, KeyError):
        pass
    try:
        import resource
    except ImportError:
        return 0, 0, 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = int(peak if sys.platform == "darwin" else 1024 * peak)
    return peak, peak, 0
