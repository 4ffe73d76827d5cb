"""Exit statuses, and what a command says."""

from __future__ import annotations

import io
import sys

DONE, FAILED, BAD_INPUT, LEFT, INTERRUPTED = 0, 1, 2, 3, 130


def ignore(line: str) -> None:
    """Say nothing."""


def to_stderr(line: str) -> None:
    """Say a line where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print a result."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without λ gets a ? for it
        sys.stdout.reconfigure(errors="replace")
    print(text, flush=True)
