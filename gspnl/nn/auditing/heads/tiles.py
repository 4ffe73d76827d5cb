"""Products with an attention matrix in O(N) memory, from tiles of its entries."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gspnl._base.blas import one_thread
from gspnl._base.rows import each_block
from gspnl.nn.auditing.heads.case import HeadCase, as_float64, check_scores, check_weights
from gspnl.nn.auditing.heads.deadline import Deadline
from gspnl.nn.auditing.heads.masks import mask_of

TILE = 512  # measured: 29 ms for a product of 4,096 nodes on two cores, as for 256 × 1,024
SIDE = 8  # tiles a side, at least, so that threads share them
ENTRIES = 1 << 19  # of whole rows that are computed together
DIAGONAL = 64  # rows of tiles that the diagonal is read from
SHORT = 64.0  # log-sums of scores up to which float32 has digits for them
TOGETHER = 16  # blocks of rows whose sums over rows are held at once

Block = tuple[slice, slice]


class Tiles:
    r"""A of a head, (n, m), by products that compute its entries again.

    Parameters
    ----------
    case : HeadCase
    deadline : Deadline
        After which products raise :class:`~gspnl.nn.auditing.heads.deadline.LateError`.
    threads : bool
        Whether tiles are shared out over threads; False where heads are.

    Raises
    ------
    InputError
        As :func:`gspnl.nn.auditing.heads.case.log_weights`.
    """

    def __init__(self, case: HeadCase, deadline: Deadline, threads: bool = True) -> None:
        call, nodes = case.call, case.nodes
        self.case, self.deadline, self.threads = case, deadline, threads
        self.dtype: Any = np.float64
        self.n, self.m = len(nodes.rows), len(nodes.columns)
        self.triangular = nodes.kind == "causal"
        self.weights = None if call.weights is None else call.weights[case.item, case.head]
        self.mask = mask_of(call, case.item, case.head)
        if self.mask is not None and self.mask.dtype == torch.bool and nodes.full:
            self.mask = None  # it excludes none of the nodes that are left
        if self.weights is None:
            self.q, self.k = case.query(), case.key()
        self.scale = np.zeros((self.n, 1))  # log-sums of scores, or sums of weights

    def single(self) -> Tiles:
        """Return A in float32, where its scores have the digits for it; set ``scale`` before.

        Entries are then off by a relative 1e-5 at most, and products take half the time.
        """
        if self.weights is not None or float(np.abs(self.scale).max()) > SHORT:
            return self
        other = copy.copy(self)
        other.dtype = np.float32
        other.q, other.k = self.q.astype(np.float32), self.k.astype(np.float32)
        other.scale = self.scale.astype(np.float32)
        return other

    def entries(self, rows: slice, columns: slice) -> np.ndarray:
        """Return entries of A."""
        if self.weights is not None:
            return np.asarray(self._part(self.weights, rows, columns) / self.scale[rows])
        s = self.log_entries(rows, columns)
        return np.asarray(np.exp(s, out=s))

    def log_entries(self, rows: slice, columns: slice) -> np.ndarray:
        """Return entries of log A, −∞ where a mask excludes a key."""
        if self.weights is not None:
            with np.errstate(divide="ignore"):
                return np.asarray(np.log(self.entries(rows, columns)))
        return np.asarray(self._scores(rows, columns) - self.scale[rows])

    def _scores(self, rows: slice, columns: slice) -> np.ndarray:
        s: np.ndarray = self.q[rows] @ self.k[columns].T
        if self.mask is not None:
            part = self._part(self.mask, rows, columns)
            if self.mask.dtype == torch.bool:
                s[part == 0] = -np.inf
            else:
                s += part
        if self.case.call.causal:
            nodes = self.case.nodes
            s[nodes.columns[columns] > nodes.rows[rows, None]] = -np.inf
        return s

    def _part(self, of: Tensor, rows: slice, columns: slice) -> np.ndarray:
        """Return entries of a tensor (N, M) at nodes that take part, in float64."""
        nodes = self.case.nodes
        if len(nodes.rows) == of.shape[0] and len(nodes.columns) == of.shape[1]:
            return as_float64(of[rows, columns])
        block = of[torch.from_numpy(nodes.rows[rows]).to(of.device)]
        return as_float64(block[:, torch.from_numpy(nodes.columns[columns]).to(of.device)])

    def scaled_rows(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return whole rows of A and of log A; sets their scale, and checks them."""
        everything = slice(0, self.m)
        if self.weights is not None:
            A = self._part(self.weights, rows, everything)
            check_weights(A, self.case)
            self.scale[rows] = A.sum(1, keepdims=True)
            A = A / self.scale[rows]
            with np.errstate(divide="ignore"):
                return A, np.log(A)
        s = self._scores(rows, everything)
        top = s.max(1, keepdims=True)
        check_scores(s, top, self.case)
        s -= top
        sums = np.log(np.exp(s).sum(1, keepdims=True))
        self.scale[rows] = top + sums
        s -= sums
        return np.exp(s), s

    def diagonal(self) -> np.ndarray:
        """Return a_ii of all nodes, (n,)."""
        blocks = [slice(i, min(i + DIAGONAL, self.n)) for i in range(0, self.n, DIAGONAL)]
        parts = [np.diag(self.entries(rows, rows)) for rows in blocks]
        found: np.ndarray = np.concatenate(parts)
        return found

    def row_blocks(self) -> list[slice]:
        """Return slices of rows that fit the cache as whole rows."""
        step = max(16, ENTRIES // self.m)
        return [slice(i, min(i + step, self.n)) for i in range(0, self.n, step)]

    def sides(self) -> tuple[list[slice], list[slice]]:
        """Return slices of rows and of columns of tiles."""
        return _slices(self.n), _slices(self.m)

    def visible(self, rows: slice, columns: slice) -> bool:
        """Return whether a tile may have entries other than 0."""
        return not (self.triangular and columns.start >= rows.stop)

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute A Z, (m, c) → (n, c)."""
        rows, columns = self.sides()
        Z = Z.astype(self.dtype, copy=False)

        def product(part: slice) -> np.ndarray:
            out = np.zeros((part.stop - part.start, Z.shape[1]))
            for other in columns:
                if self.visible(part, other):
                    out += self.entries(part, other) @ Z[other]
            return out

        return np.concatenate(list(self.each(product, rows)))

    def transpose(self, Y: np.ndarray) -> np.ndarray:
        """Compute Aᵀ Y, (n, c) → (m, c)."""
        rows, columns = self.sides()
        Y = Y.astype(self.dtype, copy=False)

        def product(part: slice) -> np.ndarray:
            out = np.zeros((part.stop - part.start, Y.shape[1]))
            for other in rows:
                if self.visible(other, part):
                    out += self.entries(other, part).T @ Y[other]
            return out

        return np.concatenate(list(self.each(product, columns)))

    def both(self, Z: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute A Z and Aᵀ Y from the same entries."""
        rows, columns = self.sides()
        Z, Y = Z.astype(self.dtype, copy=False), Y.astype(self.dtype, copy=False)

        def product(part: slice) -> tuple[np.ndarray, np.ndarray]:
            out, sums = (
                np.zeros((part.stop - part.start, Z.shape[1])),
                np.zeros((self.m, Y.shape[1])),
            )
            for other in columns:
                if self.visible(part, other):
                    A = self.entries(part, other)
                    out += A @ Z[other]
                    sums[other] += A.T @ Y[part]
            return out, sums

        outs, total = [], np.zeros((self.m, Y.shape[1]))
        for start in range(0, len(rows), TOGETHER):
            for out, sums in self.each(product, rows[start : start + TOGETHER]):
                outs.append(out)
                total += sums
        return np.concatenate(outs), total

    def each(self, fn: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
        """Yield the results of a function of parts, which are shared out over threads."""
        self.deadline.check()
        with one_thread:
            yield from each_block(fn, parts) if self.threads else map(fn, parts)


def _slices(n: int) -> list[slice]:
    step = max(64, min(TILE, -(-n // SIDE)))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]
