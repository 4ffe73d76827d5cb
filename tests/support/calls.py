"""Count the calls of the package's own Python functions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from support.imports import PACKAGE


def count_calls(work: Callable[[], Any]) -> Counter[str]:
    """Return how often each function of gspnl is called by ``work()``, on this thread."""
    counts: Counter[str] = Counter()
    root = f"{PACKAGE}/"

    def count(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(root):
            counts[f"{code.co_filename[len(root) :]}:{code.co_qualname}"] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counts
