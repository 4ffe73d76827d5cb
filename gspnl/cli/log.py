"""Print the log of gspnl on stderr; imported when a command runs, since logging is slow to load."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gspnl._base.effort import Work

FIRST = 4.5  # seconds before the first line


class _Lines(logging.Handler):
    """Print each record as a plain line on stderr, where it does not mix with results."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


class Lined:
    """Log a line on work that goes on, every 4.5 s, and less often after minutes."""

    def __init__(self) -> None:
        self.work: object = None
        self.next = FIRST

    def __call__(self, work: Work) -> None:
        if work is not self.work:
            self.work, self.next = work, FIRST
        if work.seconds >= self.next:
            self.next = work.seconds + max(FIRST, work.seconds / 60)
            logging.getLogger("gspnl").info("%s", work)


def log_to_stderr(*, quiet: bool) -> None:
    """Print the log of gspnl on stderr: progress and warnings, or warnings only.

    Parameters
    ----------
    quiet : bool
        Leave out progress.
    """
    from gspnl._base.effort import show_work

    logger = logging.getLogger("gspnl")
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    # On a terminal work shows its progress by itself; elsewhere, by a plain line now and then.
    show_work(False if quiet else None if sys.stderr.isatty() else Lined())
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())


def end_log() -> None:
    """Undo :func:`log_to_stderr`: a program may go on after :func:`gspnl.cli.main`."""
    from gspnl._base.effort import show_work

    show_work(None)
    logger = logging.getLogger("gspnl")
    for handler in [each for each in logger.handlers if isinstance(each, _Lines)]:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
