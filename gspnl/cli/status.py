"""Exit statuses, and what a command says on the way."""

from __future__ import annotations

import sys

DONE, FAILED, BAD_INPUT, LEFT, INTERRUPTED = 0, 1, 2, 3, 130


def ignore(line: str) -> None:
    """Say nothing."""


def to_stderr(line: str) -> None:
    """Say a line where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)
