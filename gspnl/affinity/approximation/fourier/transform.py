"""Plans of nonuniform fast Fourier transforms for points on a box, by finufft."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from functools import cached_property
from typing import Any

import numpy as np

from gspnl._base.array import check_fits
from gspnl._base.extras import older, require
from gspnl._base.rows import cores, each_block
from gspnl.affinity.approximation.fourier.box import Box
from gspnl.affinity.approximation.fourier.plans import Plans
from gspnl.errors import GspnlError

OLDEST = "2.5"  # has execute_adjoint
COARSEST, FINEST = 1e-2, 2e-15  # tolerances that finufft meets
WIDEST = 4  # complex columns of one transform; two real columns travel as one complex
SHORT = 1e8  # operations of a transform that one thread does sooner than two
GRID = 60.0  # operations of a cell of the fine grid
FINER = 30  # factor by which tables of sums are more accurate than transforms
PACKED = 1 << 14  # rows that are packed at once
KEPT = 2  # plans of different widths that are kept


class Transform:
    r"""Sums :math:`\sum_j \sum_n c_n e^{2πi n (x_i - x_j)/L} z_j` over all pairs of points.

    The coefficients c are those of a real function, so two real columns of z pass as the real and
    the imaginary part of one.

    Parameters
    ----------
    points : array of shape (N, d)
        In units of σ, centred in the box.
    box : Box
    eps : float
        finufft's tolerance.
    """

    def __init__(self, points: np.ndarray, box: Box, eps: float) -> None:
        self.box, self.eps = box, eps
        check_grid(box)
        scale = 2 * np.pi / np.array(box.periods)
        self.angles = [np.ascontiguousarray(points[:, a] * s) for a, s in enumerate(scale)]
        self.on_devices: dict[Any, Any] = {}  # plans on GPUs
        self._plans: OrderedDict[int, Plans] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_plans", "_lock", "on_devices")
        return {k: v for k, v in self.__dict__.items() if k not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _plans=OrderedDict(), _lock=threading.Lock(), on_devices={})

    @property
    def modes(self) -> tuple[int, ...]:
        """Modes of each axis."""
        return self.box.modes

    @cached_property
    def coefficients(self) -> np.ndarray:
        """Coefficients ĝ of the Gaussian."""
        return self.box.coefficients()

    def derivatives(self, Z: np.ndarray) -> np.ndarray:
        """Compute the sums for the derivatives of the Gaussian along each axis, (N, c, d)."""
        slopes = [1j * self.box.frequencies(axis) for axis in range(len(self.angles))]
        return np.stack([self.sums(Z, slope * self.coefficients) for slope in slopes], axis=-1)

    def operations(self, columns: int) -> float:
        """Count the operations of a product, in units of matrix products."""
        return operations(len(self.angles[0]), self.box, self.eps, columns)

    def sums(self, Z: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """Compute the sums for columns Z (N, c) in float64."""
        out = np.empty(Z.shape)
        # Rounding of a column of a pair is added to the other: both get about the same size.
        sizes = np.sqrt(np.einsum("ij,ij->j", Z, Z)) if Z.shape[1] > 1 else np.ones(1)
        if not (np.isfinite(sizes) & (sizes > 0)).all():
            sizes = np.abs(Z).max(axis=0)
        powers = np.clip(np.frexp(np.where(np.isfinite(sizes), sizes, 0.0))[1], -1000, 1000)
        up = np.where(sizes == 0, 0.0, np.exp2(powers))
        for first in range(0, Z.shape[1], 2 * WIDEST):
            part = slice(first, min(first + 2 * WIDEST, Z.shape[1]))
            modes = self.modes_of(Z[:, part], np.exp2(-powers[part]))
            modes *= coefficients
            self._at_points(modes, up[part], out[:, part])
        return out

    def modes_of(self, Z: np.ndarray, scales: np.ndarray | float = 1.0) -> np.ndarray:
        r"""Compute :math:`\sum_j e^{-2πi n x_j/L} z_j`, (N, c) → (pairs of columns, modes).

        Columns of Z are multiplied by ``scales``.
        """
        n, count = Z.shape
        pairs = -(-count // 2)
        packed = np.empty((pairs, n), np.complex128)

        def pack(rows: slice) -> None:
            columns = np.zeros((len(Z[rows]), 2 * pairs))
            np.multiply(Z[rows], scales, out=columns[:, :count])
            packed[:, rows] = columns.view(np.complex128).T

        for _ in each_block(pack, row_blocks(n)):
            pass
        with self._lock:  # a plan runs once at a time
            return self._plan(pairs).modes_of(packed)

    def at_points(self, modes: np.ndarray) -> np.ndarray:
        r"""Compute :math:`\sum_n c_n e^{2πi n x_i/L}`, (pairs, modes) → (N, 2 pairs)."""
        out = np.empty((len(self.angles[0]), 2 * len(modes)))
        self._at_points(modes, 1.0, out)
        return out

    def _at_points(self, modes: np.ndarray, scales: np.ndarray | float, out: np.ndarray) -> None:
        """Fill ``out`` (N, c) with :meth:`at_points`, columns multiplied by ``scales``."""
        with self._lock:
            packed = self._plan(len(modes)).at_points(modes)

        def unpack(rows: slice) -> None:
            columns = np.ascontiguousarray(packed[:, rows].T).view(np.float64)
            np.multiply(columns[:, : out.shape[1]], scales, out=out[rows])

        for _ in each_block(unpack, row_blocks(len(out))):
            pass

    def _plan(self, pairs: int) -> Plans:
        if pairs in self._plans:
            self._plans.move_to_end(pairs)
            return self._plans[pairs]
        if len(self._plans) >= KEPT:
            self._plans.popitem(last=False)
        workers = 1 if self.operations(2 * pairs) < SHORT else threads(self, self.box.modes)
        plans = Plans(self.angles, self.box.modes, self.eps, pairs, workers)
        self._plans[pairs] = plans
        return plans


def row_blocks(n: int) -> list[slice]:
    """Cut N rows into blocks whose columns are packed in the cache."""
    return [slice(i, min(i + PACKED, n)) for i in range(0, n, PACKED)]


def threads(transform: Transform, modes: tuple[int, ...]) -> int:
    """Count the threads of a transform: each has a grid of its own, which must not outgrow N."""
    grid = math.prod(2 * m for m in modes)
    n = len(transform.angles[0])
    return min(cores(), n) if grid * cores() <= n else min(cores(), WIDEST, n)


def table(transform: Transform, weights: np.ndarray) -> np.ndarray:
    """Sum real weights (N,) times exp(−2πi l x_j/L), for all differences l of two modes."""
    wide = tuple(2 * size - 1 for size in transform.box.modes)
    accuracy = max(FINEST, transform.eps / FINER)
    short = transform.operations(2) < SHORT
    workers = 1 if short else threads(transform, wide)
    plans = Plans(transform.angles, wide, accuracy, 1, workers)
    sums: np.ndarray = plans.modes_of(weights.astype(np.complex128)[None])[0]
    return sums


def operations(n: int, box: Box, eps: float, columns: int) -> float:
    """Count the operations of a product with N nodes, in units of matrix products.

    Measured on two cores: a point of a transform and its adjoint costs as much as 8,000
    operations, and 70, 45 or 36 for each of the w^d cells that the kernel of finufft covers, w its
    width; a cell of the fine grid costs 60.
    """
    dims = len(box.modes)
    width = math.ceil(math.log10(1 / eps)) + 1
    point = 8000 * (dims / 2) + {1: 70, 2: 70}.get(dims, 36) * width**dims
    grid = GRID * math.prod(2 * m for m in box.modes)
    return float(-(-columns // 2) * (n * point + grid))


def check_installed() -> None:
    """Raise MissingExtraError where finufft is missing, GspnlError where it is too old."""
    require("approximation='fourier'", "fourier", "finufft")
    found = older("finufft", OLDEST)
    if found is not None:
        raise GspnlError(
            f"approximation='fourier' needs finufft {OLDEST} or later, and {found} is installed; "
            "pip install -U 'gspnl[fourier]'"
        )


def check_grid(box: Box) -> None:
    """Raise SizeError where the grid of modes, twice as fine along each axis, would not fit."""
    finer = tuple(2 * m for m in box.modes)
    check_fits(
        (WIDEST, *finer), np.zeros(0), "the grid of Fourier modes",
        "take a larger sigma=, storage='tiled', or gspnl.neighbor_graph", copies=2,
    )  # fmt: skip
