"""Print the log of gspnl on stderr; imported when a command runs, since logging is slow to load."""

from __future__ import annotations

import logging
import sys


class _Lines(logging.Handler):
    """Print each record as a plain line on stderr, where it does not mix with results."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


def log_to_stderr(*, quiet: bool) -> None:
    """Print the log of gspnl on stderr: progress and warnings, or warnings only.

    Parameters
    ----------
    quiet : bool
        Leave out progress.
    """
    logger = logging.getLogger("gspnl")
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())


def end_log() -> None:
    """Undo :func:`log_to_stderr`: a program may go on after :func:`gspnl.cli.main`."""
    logger = logging.getLogger("gspnl")
    for handler in [each for each in logger.handlers if isinstance(each, _Lines)]:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
