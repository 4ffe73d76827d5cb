"""Points of the kernel matrix K_ij = exp(⟨a_i, a_j⟩ − h_i − h_j) that is approximated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, constant64, eps, namespace
from gspnl._base.rows import map_rows
from gspnl.affinity.kernels import Exponential, Kernel
from gspnl.affinity.kernels.scores import (
    DIGITS,
    finite_points,
    report,
    squared_distances,
)
from gspnl.errors import DegreeError, InputError

SAMPLE = 256  # nodes from which degrees are estimated


@dataclass(frozen=True, eq=False)
class Points:
    """Points in NumPy and float64, whose entries of K are computed on demand.

    Parameters
    ----------
    a : array of shape (n, t)
    h : array of shape (n,)
    bounded : bool
        Whether K ≤ 1.
    factor : float, optional
        Where inner products would cancel: K_ij = exp(factor ‖a_i − a_j‖² − h_i − h_j).
    error : float
        Bound of the rounding error of log K.
    """

    a: np.ndarray
    h: np.ndarray
    bounded: bool
    factor: float | None = None
    error: float = 0.0

    def block(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Compute K of some rows and columns."""
        return self.cross(self.a[rows], self.h[rows], self.a[cols], self.h[cols])

    def cross(self, a: np.ndarray, h: np.ndarray, b: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Compute K of points (a, h) and (b, g)."""
        s = a @ b.T if self.factor is None else self.factor * squared_distances(a, b)
        s -= h[:, None]
        s -= g
        if self.bounded:
            np.minimum(s, 0.0, out=s)
        out: np.ndarray = np.exp(s, out=s)
        return out

    def columns(self, cols: np.ndarray) -> np.ndarray:
        """Compute K of all rows and some columns, (n, k)."""
        right, shift = self.a[cols], self.h[cols]
        out: np.ndarray = map_rows(
            lambda a, h: self.cross(a, h[:, 0], right, shift),
            self.a,
            self.h[:, None],
            columns=len(cols),
        )
        return out

    def means(self, rows: slice, cols: np.ndarray) -> np.ndarray:
        """Compute the mean over some columns of K, for some rows."""
        right, shift = self.a[cols], self.h[cols]
        out: np.ndarray = map_rows(
            lambda a, h: self.cross(a, h[:, 0], right, shift).mean(1, keepdims=True),
            self.a[rows],
            self.h[rows, None],
            columns=len(cols),
        )
        return out[:, 0]

    def diagonal(self) -> np.ndarray:
        """Compute K_ii, (n,)."""
        return self.pairs(slice(None), slice(None))

    def pairs(self, rows: Any, cols: Any) -> np.ndarray:
        """Compute K_ij for pairs (i, j) of nodes, one after another."""
        a, b = self.a[rows], self.a[cols]
        inner = a * b if self.factor is None else self.factor * (a - b) ** 2
        out: np.ndarray = np.exp(inner.sum(-1) - self.h[rows] - self.h[cols])
        return out


def roots(kernel: Kernel, X: Array, pair: tuple[Array, Array] | None) -> list[tuple[Array, Array]]:
    """Return (a, h) of the points of one graph: one pair, or those of Φ and of Ψ."""
    if not isinstance(kernel, Exponential):
        raise InputError(unsupported(kernel))
    phi, psi = kernel.embed(X, pair)
    first = kernel.root(phi)
    if first is None:
        raise InputError(unsupported(kernel))
    if psi is phi:
        return [first]
    second = kernel.root(psi)
    assert second is not None
    return _centred(first, second)


def check_supported(kernel: Kernel) -> None:
    """Raise InputError unless a kernel can be approximated, but for what its points may show."""
    if not isinstance(kernel, Exponential) or kernel.nodewise:
        raise InputError(unsupported(kernel))


def unsupported(kernel: Kernel) -> str:
    """Explain why a kernel cannot be approximated."""
    if kernel.bilinear:
        why = "has low rank by itself: leave rank= and tol= out"
    elif kernel.nodewise:
        why = "has one sigma for each node and is not positive semi-definite: use "
        why += "sigma='median', or leave rank= and tol= out"
    else:
        why = "is not known to be positive semi-definite: use 'rbf', 'gaussian' or "
        why += "'embedded_gaussian', or leave rank= and tol= out"
    return f"the {type(kernel).__name__} kernel cannot be approximated; it {why}"


def _centred(first: tuple[Array, Array], second: tuple[Array, Array]) -> list[tuple[Array, Array]]:
    """Centre Φ and Ψ and scale them to equal size, which keeps K_φψ and shrinks K_φφ and K_ψψ.

    ⟨a, b⟩ = ⟨a − ā, b − b̄⟩ + ⟨ā, b⟩ + ⟨a, b̄⟩ − ⟨ā, b̄⟩.
    """
    (a, h), (b, g) = first, second
    xp = namespace(a)
    a0, b0 = (xp.mean(part, axis=-2, keepdims=True) for part in (a, b))
    half = xp.sum(a0 * b0, axis=-1, keepdims=True) / 2
    h = h - xp.sum(a * b0, axis=-1, keepdims=True) + half
    g = g - xp.sum(b * a0, axis=-1, keepdims=True) + half
    a, b = a - a0, b - b0
    sizes = [float(np.sqrt((constant(part) ** 2).mean())) for part in (a, b)]
    ratio = math.sqrt(sizes[1] / sizes[0]) if min(sizes) > 0 else 1.0
    return [(a * ratio, h), (b / ratio, g)]


def check_range(parts: list[tuple[Array, Array]], sample: Array) -> None:
    """Raise where entries of K, or their sums, leave the range of the dtype of ``sample``."""
    largest = 0.4 * math.log(float(namespace(sample).finfo(sample.dtype).max))
    for a, h in parts:
        top = float(((constant(a) ** 2).sum(-1) - 2 * constant(h)[..., 0]).max())
        if not top <= largest:
            raise DegreeError(
                f"scores up to {top:.3g} leave the range in which {sample.dtype} can carry an "
                f"approximation (exp({largest:.0f})); scale the features down, raise temperature=, "
                "or take storage='tiled' without rank= and tol="
            )


def rounding_error(parts: list[tuple[Array, Array]]) -> float:
    """Bound the rounding error of ⟨a_i, a_j⟩ − h_i − h_j."""
    with np.errstate(over="ignore"):
        sizes = [(constant(a) ** 2).sum(-1) + 2 * abs(constant(h)[..., 0]) for a, h in parts]
    return eps(parts[0][0]) * max(float(size.max()) for size in sizes)


def points_of(kernel: Exponential, parts: list[tuple[Array, Array]], X: Array) -> Points:
    """Stack the points of one graph; where Φ ≠ Ψ, both halves of K get the same trace."""
    pairs = [tuple(constant64(part) for part in both) for both in parts]
    tops, shifts = [a for a, _ in pairs], [h[..., 0] for _, h in pairs]
    error = rounding_error(parts)
    if not error <= DIGITS[eps(tops[0])]:
        found = kernel.differences(constant64(X))
        if found is not None:
            a = finite_points(found).points
            return Points(a, np.zeros(len(a)), kernel.bounded, found.factor)
        report(error, tops[0])
    if len(pairs) == 2:
        first, second = (
            np.logaddexp.reduce((a**2).sum(-1) - 2 * h) for a, h in zip(tops, shifts, strict=True)
        )
        shifts = [shifts[0] + (first - second) / 4, shifts[1] - (first - second) / 4]
    return Points(np.concatenate(tops), np.concatenate(shifts), kernel.bounded, error=error)


def rough_degrees(points: Points, n: int, seed: int) -> np.ndarray:
    """Estimate W 1, (n,), from the columns of some nodes: positive, and at least W_ii."""
    nodes = np.random.default_rng([seed, 2]).choice(n, min(n, SAMPLE), replace=False)
    first, last = slice(n), slice(len(points.a) - n, len(points.a))
    means = [points.means(last, nodes)]
    if len(points.a) > n:
        means.append(points.means(first, nodes + n))
    out: np.ndarray = sum(means) / len(means) * n + points.pairs(first, last)
    return out
