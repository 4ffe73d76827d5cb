"""SIGTERM and Ctrl-C as a wish that is asked for between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

END = "its end"


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and has written its state.

    It is a KeyboardInterrupt, so that a loop over many runs stops as well.

    Parameters
    ----------
    signum : int
        The signal.
    where : str
        The epoch and step that a resumed run goes on from; "its end", if nothing is left to do.

    Examples
    --------
    >>> import signal
    >>> stop = Stopped(signal.SIGTERM, "epoch 3, step 10")
    >>> str(stop), stop.finished
    ('stopped by SIGTERM at epoch 3, step 10', False)
    """

    def __init__(self, signum: int, where: str = END) -> None:
        self.signum, self.where = signum, where
        super().__init__(f"stopped by {signal.Signals(signum).name} at {where}")

    @property
    def finished(self) -> bool:
        """Whether all was done when the signal was answered."""
        return self.where == END


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
    """Hear SIGTERM and Ctrl-C; outside the main thread, where Python hears none, nothing.

    A signal is never lost: one that nobody has asked for by the end raises then, and one that
    comes before an error is passed on to whoever listens around this.

    Raises
    ------
    Stopped
        At the end, if a signal has come.
    """
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
            around = getattr(handler, "__self__", None)
            if isinstance(around, Wish) and wish.signum == number:
                around.signum = number
    if wish.signum:
        raise Stopped(wish.signum)
