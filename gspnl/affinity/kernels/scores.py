r"""Scores s of an exponential kernel exp s, by inner products or by differences, and their error.

Inner products cancel: a score of 0 between two nodes far from the mean is the difference of large
numbers. The rounding error of a score is the relative error of its weight: :func:`score_error`
bounds it, the cheapest formula accurate to :data:`DIGITS` is taken, and :func:`report` warns of or
refuses what none of them can compute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from gspnl._base.array import (
    Array,
    constant,
    eps,
    float64,
    is_numpy,
    like,
    namespace,
    ones,
    times_power,
)
from gspnl._base.warn import warn
from gspnl.errors import DegreeError, PrecisionWarning

# Rounding error of a score up to which the cheapest formula is taken, by the spacing of the dtype.
DIGITS = {float(np.finfo(np.float32).eps): 7e-6, float(np.finfo(np.float64).eps): 1e-9}
FEW_DIGITS = 3e-5  # error above which a warning is given
NO_DIGITS = 0.1  # error above which scores are refused: weights are then off by a tenth


@dataclass(frozen=True, eq=False)
class Products:
    """Scores s = q kᵀ.

    Parameters
    ----------
    q, k : arrays of shape (..., N, t)
    """

    q: Array
    k: Array

    @property
    def sample(self) -> Array:
        """Array of the library and dtype of the scores."""
        return self.q

    @property
    def shape(self) -> tuple[int, int]:
        return self.q.shape[-2], self.k.shape[-2]

    @cached_property
    def _right(self) -> np.ndarray:
        return np.ascontiguousarray(self.k.T)

    def tile(self, rows: slice, cols: slice, out: np.ndarray | None = None) -> np.ndarray:
        """Compute a tile of the scores of one graph, in NumPy."""
        return np.matmul(self.q[rows], self._right[:, cols], out=out)

    def strip(self, index: Array) -> Array:
        """Compute s_ij for the rows i in ``index`` and every j."""
        return namespace(self.q).take(self.q, index, axis=0) @ self.k.mT

    def columns(self, index: Array) -> Array:
        """Compute s_ji for the columns i in ``index`` and every j, (len(index), N)."""
        return namespace(self.q).take(self.k, index, axis=0) @ self.q.mT

    def shifted(self, left: Array, right: Array) -> Products:
        """Add left_i + right_j, each (N, 1), to the scores of one graph."""
        xp = namespace(self.q)
        one = ones((self.q.shape[0], 1), self.q)
        return Products(
            xp.concat([self.q, left, one], axis=-1), xp.concat([self.k, one, right], axis=-1)
        )

    @property
    def transposed(self) -> Products:
        """The scores s_ji."""
        return Products(self.k, self.q)

    def item(self, index: tuple[int, ...]) -> Products:
        """Return the scores of one graph of a batch."""
        return Products(self.q[(*index, ...)], self.k[(*index, ...)])


@dataclass(frozen=True, eq=False)
class Differences:
    r"""Scores :math:`s_{ij} = -r_i c_j \|x_i - x_j\|^2 / 2σ^2`, plus shifts of rows and columns.

    Parameters
    ----------
    points : array of shape (..., N, C)
        Features times a power of 2.
    factor : float
        −1/2σ² in the unit of the points.
    rates, column_rates : arrays of shape (..., N, 1), optional
        r and c, where the nodes, or the graphs of a batch, have their own σ.
    left, right : arrays of shape (N, 1), optional
        Shifts of the rows and of the columns.
    """

    points: Array
    factor: float
    rates: Array | None = None
    column_rates: Array | None = None
    left: Array | None = None
    right: Array | None = None

    @classmethod
    def of(cls, X: Array, sigma: Any, *, rows_only: bool = False) -> Differences:
        """Return the scores of features with themselves; NumPy's are compared in float64.

        σ is a number, or an array of shape (..., 1, 1) or (..., N, 1): the scores are relative to
        2σ_i σ_j, or with ``rows_only`` to 2σ_i².
        """
        # A power of 2 keeps all digits, and squares of huge or tiny features in the range.
        wide = float64(X) if is_numpy(X) else X
        if np.size(sigma) == 1:
            value = float(np.reshape(sigma, ()))
            exponent = round(math.log2(value))
            return cls(times_power(wide, -exponent), -0.5 * math.ldexp(value, -exponent) ** -2)
        power = np.round(np.log2(sigma.max(axis=-2, keepdims=True)))
        points = times_power(wide, -power)
        rates = like(np.broadcast_to(1 / times_power(sigma, -power), (*X.shape[:-1], 1)), points)
        return cls(points, -0.5, *((rates * rates, None) if rows_only else (rates, rates)))

    @property
    def sample(self) -> Array:
        return self.points

    @property
    def shape(self) -> tuple[int, int]:
        return self.points.shape[-2], self.points.shape[-2]

    def tile(self, rows: slice, cols: slice, out: np.ndarray | None = None) -> np.ndarray:
        scores: np.ndarray = cdist(self.points[rows], self.points[cols], "sqeuclidean")
        scores *= self.factor
        if self.rates is not None:
            scores *= self.rates[rows]
        if self.column_rates is not None:
            scores *= self.column_rates[cols].T
        if self.left is not None and self.right is not None:
            scores += self.left[rows]
            scores += self.right[cols].T
        if out is None:
            return scores
        out[...] = scores
        return out

    def strip(self, index: Array) -> Array:
        return self._strip(index, (self.rates, self.left), (self.column_rates, self.right))

    def columns(self, index: Array) -> Array:
        return self._strip(index, (self.column_rates, self.right), (self.rates, self.left))

    def _strip(self, index: Array, own: tuple[Any, Any], other: tuple[Any, Any]) -> Array:
        """Compute the scores of some nodes with all; own and other: (rates, shifts) of these."""
        xp = namespace(self.points)
        part = xp.take(self.points, index, axis=0)
        scores = self.factor * squared_distances(part, self.points)
        if own[0] is not None:
            scores = scores * xp.take(own[0], index, axis=0)
        if other[0] is not None:
            scores = scores * other[0].mT
        if own[1] is None or other[1] is None:
            return scores
        return scores + xp.take(own[1], index, axis=0) + other[1].mT

    def shifted(self, left: Array, right: Array) -> Differences:
        if self.left is not None and self.right is not None:
            left, right = self.left + left, self.right + right
        return replace(self, left=left, right=right)

    @property
    def transposed(self) -> Differences:
        """The scores s_ji."""
        return replace(
            self, rates=self.column_rates, column_rates=self.rates, left=self.right,
            right=self.left,
        )  # fmt: skip

    def item(self, index: tuple[int, ...]) -> Differences:
        rates, others = (
            None if part is None else part[(*index, ...)]
            for part in (self.rates, self.column_rates)
        )
        points = self.points[(*index, ...)]
        return replace(self, points=points, rates=rates, column_rates=others)


Scores = Products | Differences


def squared_distances(a: Array, b: Array) -> Array:
    """Compute ‖a_i − b_j‖² by differences: (..., n, C), (..., m, C) → (..., n, m)."""
    if is_numpy(a) and a.ndim == 2:
        out: np.ndarray = cdist(a, b, "sqeuclidean")
        return out
    total: Any = 0
    for column in range(
        a.shape[-1]
    ):  # the difference of all columns at once would be C times as large
        d = a[..., :, column, None] - b[..., None, :, column]
        total = total + d * d
    return total


def score_error(q: Array, k: Array, *, same: bool) -> float:
    """Bound the rounding error of s_ij = Σ_t q_it k_jt: eps times Σ_t |q_it k_jt|."""
    a, b = constant(q), constant(k)
    with np.errstate(over="ignore", invalid="ignore"):
        if same:  # by Cauchy-Schwarz, a node with itself gives the largest sum
            size = float(np.abs(a * b).sum(-1).max(initial=0.0))
        else:
            norms = [float(np.sqrt((p * p).sum(-1)).max(initial=0.0)) for p in (a, b)]
            axes = tuple(range(a.ndim - 1))
            columns = [np.abs(p).max(axis=axes, initial=0.0) for p in (a, b)]
            size = min(math.prod(norms), float((columns[0] * columns[1]).sum()))
    return size * eps(q)


def report(error: float, X: Array) -> None:
    """Warn of scores with few digits, and refuse those that have none."""
    if error <= FEW_DIGITS:
        return
    dtype = str(X.dtype).removeprefix("torch.")
    cause = f"scores of this kernel are differences of large numbers: with {dtype} features, "
    remedy = "scale the features down, centre them, raise temperature= or sigma=, or use float64"
    if error > NO_DIGITS:
        raise DegreeError(f"{cause}rounding, up to {error:.1e}, leaves them no digits; {remedy}")
    warn(f"{cause}weights have relative errors up to {error:.1e}; {remedy}", PrecisionWarning)


def finite_points(scores: Differences) -> Differences:
    """Return scores whose points did not overflow, or raise."""
    if not np.isfinite(constant(scores.points)).all():
        raise _overflow(scores.points)
    return scores


def finite_products(scores: Products, X: Array) -> Products:
    """Return scores that cannot overflow, or raise."""
    largest = [float(np.abs(constant(part)).max()) for part in (scores.q, scores.k)]
    top = float(namespace(scores.q).finfo(scores.q.dtype).max)
    if not math.prod(largest) * scores.q.shape[-1] < top:
        raise _overflow(X)
    if scores.q is X or scores.k is X:  # copied, as they are read at every product
        return Products(scores.q + 0, scores.k + 0)
    return scores


def _overflow(X: Array) -> DegreeError:
    return DegreeError(
        f"the scores of this kernel overflow {str(X.dtype).removeprefix('torch.')}; scale the "
        "features down, raise temperature= or sigma=, or use float64"
    )
