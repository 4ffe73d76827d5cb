"""Run finufft's plans side by side on threads of our own.

The threads of OpenMP wait for each other several times a transform, for milliseconds where another
process has a core, and they hang in a forked process. So every plan has one thread; plans have
columns of their own, or points of their own, and then their modes are added.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np


class Plans:
    r"""Sums over points x of :math:`e^{-i n x} z`, and over modes n of :math:`e^{i n x} c`.

    Parameters
    ----------
    angles : list of arrays of shape (N,)
        The coordinates x, in [−π, π].
    modes : tuple of int
    eps : float
        finufft's tolerance.
    columns : int
        Complex columns of a transform.
    workers : int
        Number of threads.
    """

    def __init__(
        self,
        angles: Sequence[np.ndarray],
        modes: tuple[int, ...],
        eps: float,
        columns: int,
        workers: int,
    ) -> None:
        import finufft

        self.columns, self.modes, self.nodes = columns, modes, len(angles[0])
        by_columns = columns >= workers
        every = slice(None)
        parts = _cut(columns if by_columns else self.nodes, workers)
        self.parts = [(part, every) if by_columns else (every, part) for part in parts]
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self.plans = []
        for column, point in self.parts:
            count = len(range(columns)[column])
            plan = finufft.Plan(1, modes, n_trans=count, eps=eps, isign=-1, nthreads=1, showwarn=0)
            plan.setpts(*[x[point] for x in angles])
            self.plans.append(plan)

    def modes_of(self, columns: np.ndarray) -> np.ndarray:
        """Sum over points: (columns, N) → (columns, modes), complex."""
        out: np.ndarray = np.zeros((self.columns, *self.modes), np.complex128)
        parts = [columns[part] for part in self.parts]
        for (column, _), sums in zip(self.parts, self._run("execute", parts), strict=True):
            out[column] += sums
        return out

    def at_points(self, modes: np.ndarray) -> np.ndarray:
        """Sum over modes: (columns, modes) → (columns, N), complex."""
        out: np.ndarray = np.empty((self.columns, self.nodes), np.complex128)
        parts = [modes[column] for column, _ in self.parts]
        for part, sums in zip(self.parts, self._run("execute_adjoint", parts), strict=True):
            out[part] = sums
        return out

    def _run(self, method: str, parts: list[np.ndarray]) -> list[np.ndarray]:
        def one(plan: Any, part: np.ndarray) -> np.ndarray:
            transform: Callable[[np.ndarray], np.ndarray] = getattr(plan, method)
            return transform(np.ascontiguousarray(part if len(part) > 1 else part[0]))

        others = zip(self.plans[1:], parts[1:], strict=True)
        running = [self._threads().submit(one, plan, part) for plan, part in others]
        return [one(self.plans[0], parts[0]), *[each.result() for each in running]]

    def _threads(self) -> ThreadPoolExecutor:
        """Return threads that stay for all transforms of this process; a fork has none of them."""
        if self._pool is None or self._process != os.getpid():
            self._pool, self._process = ThreadPoolExecutor(len(self.plans) - 1), os.getpid()
        return self._pool


def _cut(size: int, count: int) -> list[slice]:
    edges = np.linspace(0, size, count + 1).astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]
