"""Wall time of the steps, said as they end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Times steps; ``say`` is called with a line at the end of each."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say
        self._start = time.perf_counter()

    @contextmanager
    def step(self, name: str, note: str = "") -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.say(f"{name:<10} {self.seconds[name]:7.2f} s  {note}".rstrip())

    def say(self, line: str) -> None:
        """Pass a line on."""
        if self._say is not None:
            self._say(line)

    @property
    def total(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._start


def peak_bytes() -> int | None:
    """The most memory this process has held, or None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere
