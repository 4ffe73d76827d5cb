"""Time the steps of a report, and log each as it ends."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gspnl._base.effort import Work

log = logging.getLogger(__name__)


class Clock:
    """Wall time of named steps.

    Attributes
    ----------
    seconds : dict
        Name of each finished step → seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    @contextmanager
    def step(self, name: str, note: str = "") -> Iterator[None]:
        """Time a block, and log its name, its seconds and ``note``."""
        start = time.perf_counter()
        with Work(name):
            yield
        self.seconds[name] = time.perf_counter() - start
        log.info("%s", f"{name:<10} {self.seconds[name]:7.2f} s  {note}".rstrip())

    @property
    def total(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._start


def peak_bytes() -> int | None:
    """Peak resident memory of this process, or None on a system that does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere
