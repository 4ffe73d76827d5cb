"""Estimate long work before it starts, refuse it where it is hopeless, and show its progress.

Work is counted in operations of the machine's matrix product, whose rate is measured once. Work
that is estimated below :data:`QUICK` operations costs one call here and nothing else.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from gspnl._base.validate import number
from gspnl.errors import EffortError, InputError

QUICK = 2e10  # operations that take less than about a second
WAIT, EVERY = 1.5, 0.25  # seconds before work is shown, and between two displays of it
HOURS = 1.0  # estimate above which work is refused

P = ParamSpec("P")
R = TypeVar("R")
Show = Callable[["Work"], None]
Progress = Show | bool | None  # an argument ``progress`` of a function
_show: ContextVar[Any] = ContextVar("gspnl_progress", default=None)
_patience: ContextVar[float | None] = ContextVar("gspnl_patience", default=None)
_running: ContextVar[Work | None] = ContextVar("gspnl_working", default=None)


@contextmanager
def progress(show: Progress) -> Iterator[None]:
    """Choose how long work within the block is shown.

    Parameters
    ----------
    show : bool, callable or None
        None: on stderr where it is a terminal, after 1.5 s; True: on stderr; False: not at all; a
        callable gets the :class:`Work` four times a second, with its ``what``, ``done``, ``total``,
        ``seconds`` and ``left``.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((300, 3))
    >>> with gspnl.progress(False):
    ...     lam = gspnl.feature_graph(X, "rbf").spectrum().eigenvalues
    """
    if not (show is None or isinstance(show, bool) or callable(show)):
        raise InputError(f"progress={show!r} must be None, True, False or a callable")
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)


@contextmanager
def patience(hours: float) -> Iterator[None]:
    """Permit work within the block that is estimated to take up to so many hours; default 1.

    Examples
    --------
    >>> import gspnl
    >>> with gspnl.patience(hours=8):
    ...     pass  # a filter of a tiled graph of a million nodes
    """
    token = _patience.set(number("hours", hours, above=0))
    try:
        yield
    finally:
        _patience.reset(token)


def seconds_allowed(default: float = 3600 * HOURS) -> float:
    """Return the seconds that work may take: the caller's patience, or the default."""
    hours = _patience.get()
    return default if hours is None else 3600 * hours


class Work:
    """One piece of long work; the outermost of nested pieces is shown.

    Parameters
    ----------
    what : str
        A noun phrase: "all eigenpairs of 5,000 nodes".
    operations : float
        Estimate; 0 where it is not known.
    total : int
        Steps, or 0 where their number is not known; the work counts them in :attr:`done`.
    instead : str
        Remedy, for the refusal.

    Raises
    ------
    EffortError
        On entry, if the estimate is above :func:`seconds_allowed`.
    """

    def __init__(
        self, what: str, operations: float = 0.0, total: int = 0, instead: str = ""
    ) -> None:
        self.what, self.total, self.done = what, total, 0
        self.estimate = operations / rate() if operations > QUICK else 0.0
        self.instead = instead
        self.inner: Work | None = None  # a nested piece, shown with this one
        self.start = time.perf_counter()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Work:
        if self.estimate > seconds_allowed():
            raise EffortError(
                f"{self.what} would take about {clock(self.estimate)} on this machine"
                + (f"; {self.instead}" if self.instead else "")
                + f"; to insist: with gspnl.patience(hours={1.5 * self.estimate / 3600:.2g})"
            )
        self._outer = _running.get()
        self._token = _running.set(self)
        show = _display() if self._outer is None else None
        if self._outer is not None:
            self._outer.inner = self
        if show is not None:
            self._thread = threading.Thread(target=self._report, args=(show,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        _running.reset(self._token)
        if self._outer is not None:
            self._outer.inner = None
        if self._thread is not None:
            self._end.set()
            self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    @property
    def left(self) -> float:
        """Estimate of the seconds that are left: from the steps done, else from the operations."""
        if self.total and self.done:
            return self.seconds * (self.total - self.done) / self.done
        return max(self.estimate - self.seconds, 0.0)

    def __str__(self) -> str:
        share = f" {self.done:,}/{self.total:,}" if self.total else ""
        share = share or (f" step {self.done:,}" if self.done else "")
        inner = self.inner
        if inner is not None:
            return f"{self.what}{share}, {inner}"
        left = f", about {clock(self.left)} left" if self.left > 0 else ""
        return f"{self.what}:{share} {clock(self.seconds)}{left}"

    def _report(self, show: Show) -> None:
        wait, shown = WAIT, False
        while not self._end.wait(wait):
            show(self)
            wait, shown = EVERY, True
        if shown and show is _line:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def takes_progress(fn: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that its argument ``progress`` chooses the display of its work."""

    @wraps(fn)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("progress") is None:
            return fn(*args, **kwargs)
        show: Any = kwargs["progress"]
        with progress(show):
            return fn(*args, **kwargs)

    return shown


class _Quick:
    """Work too short to be shown."""

    done = 0

    def __enter__(self) -> _Quick:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def work(what: str, operations: float, total: int = 0, instead: str = "") -> Any:
    """Return :class:`Work` as a context, or one that does nothing where the estimate is short."""
    if operations <= QUICK:
        return _Quick()
    return Work(what, operations, total, instead)


def counted(fn: Callable[[Any], Any], shown: Any) -> Callable[[Any], Any]:
    """Return ``fn``, which counts its calls as steps of the work where that is shown."""
    if isinstance(shown, _Quick):
        return fn

    def step(x: Any) -> Any:
        out = fn(x)
        shown.done += 1
        return out

    return step


def clock(seconds: float) -> str:
    """Format a duration: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_work(show: Progress) -> None:
    """Choose the display of all work from now on, as a command does."""
    _show.set(show)


@cache
def rate() -> float:
    """Measure the operations of a matrix product in a second, in float64."""
    n = 384
    a = np.ones((n, n))
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2.0 * n**3 / best


def _display() -> Show | None:
    show = _show.get()
    if show is None:
        return _line if sys.stderr is not None and sys.stderr.isatty() else None
    if show is False:
        return None
    return _line if show is True else show


def _line(work: Work) -> None:
    print(f"\r\x1b[K{work}", end="", file=sys.stderr, flush=True)
