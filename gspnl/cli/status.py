"""Exit statuses of commands, and their output: results to stdout, the rest to the log."""

from __future__ import annotations

import io
import sys
from typing import Any

DONE, FAILED, BAD_INPUT, LEFT, INTERRUPTED = 0, 1, 2, 3, 130


def info(message: str, *values: object) -> None:
    """Log progress. Logging is imported here: it would slow down ``gspnl --help``."""
    import logging

    logging.getLogger("gspnl.cli").info(message, *values)


def warn(message: str, *values: object) -> None:
    """Log a line that is shown even with ``--quiet``."""
    import logging

    logging.getLogger("gspnl.cli").warning(message, *values)


def show(text: str) -> None:
    """Print a result."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without λ gets a ? for it
        sys.stdout.reconfigure(errors="replace")
    print(text, flush=True)


def show_json(value: Any) -> None:
    """Print a result as JSON; NaN and infinity raise ValueError."""
    import json

    print(json.dumps(value, allow_nan=False), flush=True)
