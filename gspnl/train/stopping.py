"""SIGTERM and Ctrl-C as a wish that is asked for between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and has written its state.

    It is a KeyboardInterrupt, so that a loop over many runs stops as well.

    Parameters
    ----------
    signum : int
        The signal.
    where : str
        The epoch and step that a resumed run goes on from.
    """

    def __init__(self, signum: int, where: str) -> None:
        self.signum = signum
        super().__init__(f"stopped by {signal.Signals(signum).name} at {where}")


class Wish:
    """Which signal has come, 0 for none."""

    def __init__(self) -> None:
        self.signum = 0

    def hear(self, signum: int, frame: FrameType | None) -> None:
        """Note a signal; a second one does what it does elsewhere."""
        self.signum = signum
        if signum == signal.SIGINT:
            signal.signal(signum, signal.default_int_handler)
        else:
            signal.signal(signum, signal.SIG_DFL)


HEARD = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def listening() -> Iterator[Wish]:
    """Hear SIGTERM and Ctrl-C; outside the main thread, where Python hears none, nothing."""
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.signal(number, wish.hear) for number in HEARD}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
