"""Record SIGTERM and SIGINT; the loop stops at the next step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

END = "its end"


class Stopped(KeyboardInterrupt):
    """A signal stopped a run, and its state is written.

    It is a KeyboardInterrupt, so that a loop over many runs stops as well. A resumed run continues
    from ``where``, an epoch and step; "its end" if nothing is left to do.

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
        """Whether the run was complete when it stopped."""
        return self.where == END


class Recorder:
    """Holds the signal that has come, 0 for none."""

    def __init__(self) -> None:
        self.signum = 0

    def receive(self, signum: int, frame: FrameType | None) -> None:
        """Record a signal; a second one has its default effect."""
        self.signum = signum
        default = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
        signal.signal(signum, default)


@contextmanager
def record_signals() -> Iterator[Recorder]:
    """Record SIGTERM and Ctrl-C; nothing outside the main thread, where Python receives none.

    One that came raises Stopped at the end; where an error comes first, the enclosing recorder has
    it.
    """
    recorder = Recorder()
    if threading.current_thread() is not threading.main_thread():
        yield recorder
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, recorder.receive) for number in numbers}
    try:
        yield recorder
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, Recorder) and recorder.signum == number:
                outer.signum = number
    if recorder.signum:
        raise Stopped(recorder.signum)
