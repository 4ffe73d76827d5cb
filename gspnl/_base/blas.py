"""Limit BLAS to one thread while many small products are computed.

The threads of BLAS wait for each other at the end of every product. Where another process has the
core of one of them, each wait takes milliseconds, and an algorithm of many small products takes a
hundred times as long. Work that is large enough is shared out over threads of our own
(:mod:`gspnl._base.rows`), which sleep while they wait.

A limit holds for the whole process. It is set by the first thread that needs it and lifted by the
last, whichever that is, so that threads of the user can compute at the same time. threadpoolctl's
own limits cannot be used for that: for OpenBLAS only the thread that set one can lift it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")
Threads = tuple[Callable[[], int], Callable[[int], Any]]  # get and set the number of threads


class _Here(threading.local):
    """State of one thread: nested limits, and numbers of threads to restore in it alone."""

    depth = 0
    before: list[tuple[Threads, int]] | tuple[()] = ()


class OneThread:
    """A context that limits BLAS to one thread; nestable, and shared by several threads."""

    def __init__(self) -> None:
        self._here = _Here()
        self._lock = threading.Lock()
        self._holders = 0  # threads inside
        self._before: list[tuple[Threads, int]] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def __enter__(self) -> None:
        here = self._here
        here.depth += 1
        if here.depth > 1:
            return
        shared, own = _libraries("scipy.linalg" in sys.modules)
        with self._lock:
            if not self._holders:
                self._before = [(lib, lib[0]()) for lib in shared]
                for lib in shared:
                    lib[1](1)
            self._holders += 1
        if own:
            here.before = [(lib, lib[0]()) for lib in own]
            for lib in own:
                lib[1](1)

    def __exit__(self, *_: object) -> None:
        here = self._here
        here.depth -= 1
        if here.depth:
            return
        if here.before:
            _restore(here.before)
        with self._lock:
            self._holders -= 1
            if not self._holders:
                _restore(self._before)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Lift the limit for one large computation, unless another thread needs it."""
        depth = self._here.depth
        if not depth:
            yield
            return
        self._here.depth = 1
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()
            self._here.depth = depth

    def _after_fork(self) -> None:
        """Forget the threads that the child process does not have."""
        self._lock = threading.Lock()
        held, self._holders = self._holders, int(self._here.depth > 0)
        if held and not self._holders:
            _restore(self._before)


one_thread = OneThread()


def on_one_thread(fn: Callable[P, T]) -> Callable[P, T]:
    """Limit BLAS to one thread while ``fn`` runs."""

    @wraps(fn)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with one_thread:
            return fn(*args, **kwargs)

    return limited


def _restore(before: list[tuple[Threads, int]] | tuple[()]) -> None:
    """Restore numbers of threads, except those that somebody else has changed since."""
    for (get, set_), count in before:
        if count != 1 and get() == 1:
            set_(count)


@cache
def _libraries(scipy: bool) -> tuple[list[Threads], list[Threads]]:
    """Find the BLAS libraries that are loaded: limits of the process, and of a single thread.

    SciPy's linear algebra loads one of its own; ``scipy`` tells whether it has been imported.
    """
    shared: list[Threads] = []
    own: list[Threads] = []
    for lib in ThreadpoolController().select(user_api="blas").lib_controllers:
        by_thread = getattr(lib, "threading_layer", None) == "openmp"
        (own if by_thread else shared).append(_threads(lib))
    return shared, own


def _threads(lib: Any) -> Threads:
    """Return the functions of a library that get and set its number of threads."""
    if lib.internal_api == "openblas" and lib.threading_layer == "pthreads":
        for name in getattr(type(lib), "check_symbols", ()):
            setter = getattr(lib.dynlib, name.replace("_get_", "_set_"), None)
            if hasattr(lib.dynlib, name) and setter is not None:
                return getattr(lib.dynlib, name), setter
    return lib.get_num_threads, lib.set_num_threads
