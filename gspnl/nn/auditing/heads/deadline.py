"""Limit on the time of measurements, after which the expensive ones are left out."""

from __future__ import annotations

import time

from gspnl._base.effort import clock
from gspnl._base.validate import number


class LateError(Exception):
    """The time is over in the middle of a measurement; caught where it started."""


class Deadline:
    """A number of seconds from now, which may be shared by several calls.

    Parameters
    ----------
    seconds : float or None
        None for no limit; 0 leaves out everything expensive.

    Raises
    ------
    InputError
        For a negative number.

    Examples
    --------
    >>> Deadline(0).over, Deadline(None).over
    (True, False)
    >>> Deadline(0).reason
    'left out after 0 s, the limit on time'
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = None if seconds is None else number("seconds", seconds, least=0)
        self.start = time.perf_counter()

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self.seconds is not None and time.perf_counter() - self.start >= self.seconds

    @property
    def reason(self) -> str:
        """The sentence for numbers that were left out."""
        return f"left out after {clock(self.seconds or 0.0)}, the limit on time"

    def check(self) -> None:
        """Raise LateError if the time is over."""
        if self.over:
            raise LateError(self.reason)
