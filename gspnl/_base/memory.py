"""Memory that this process may still take: of the machine, its control group and its limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from gspnl.errors import SizeError

P = ParamSpec("P")
T = TypeVar("T")
GROUPS = (  # (limit, use) of control groups, version 2 and 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def available_memory() -> int | None:
    """Return the bytes of memory available, or None where the system does not report them."""
    known = [size for size in (_of_machine(), _of_group(), _of_process()) if size is not None]
    return max(0, min(known)) if known else None


def _of_machine() -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _of_group() -> int | None:
    """Return what the control group leaves, with its cache of files, which can be dropped."""
    for limit, use in GROUPS:
        try:
            most, now = int(Path(limit).read_text()), int(Path(use).read_text())
            stat = Path(use).with_name("memory.stat").read_text()
        except (OSError, ValueError):  # none, or "max"
            continue
        names = ("inactive_file", "total_inactive_file")
        cache = [int(line.split()[1]) for line in stat.splitlines() if line.startswith(names)]
        return most - now + max(cache, default=0)
    return None


def _of_process() -> int | None:
    """Return what the limit of the address space, ``ulimit -v``, leaves."""
    try:
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return most - pages * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return None


def size_error(error: BaseException) -> SizeError | None:
    """Return the SizeError of a failed allocation of NumPy or torch; None for another error."""
    if isinstance(error, SizeError):
        return error
    text = " ".join(str(error).split())[:200]
    allocation = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not (allocation or "can't allocate memory" in text or "not enough memory" in text):
        return None
    free = available_memory()
    left = "" if free is None else f", {free / 2**30:.1f} GiB being free"
    return SizeError(
        f"out of memory{left} ({text or 'no size given'}); use fewer nodes or signals, "
        "storage='lowrank' or 'tiled', fewer anchors or a lower rank, or float32"
    )


def within_memory(fn: Callable[P, T]) -> Callable[P, T]:
    """Raise SizeError, with a remedy, where an allocation inside ``fn`` fails."""

    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return fn(*args, **kwargs)
        except (MemoryError, RuntimeError) as error:
            if (sized := size_error(error)) is None or sized is error:
                raise
            raise sized from error

    return run
