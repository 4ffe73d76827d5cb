"""Rescale features of homogeneous kernels by powers of 2, where products leave the range."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, times_power
from gspnl._base.rows import sum_rows
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.kernels.base import map_pair
from gspnl.affinity.weights import Weights
from gspnl.affinity.weights.stacked import Stacked
from gspnl.errors import DegreeError

NEAR = 16  # binary exponents up to which rescaling changes nothing of note

Pair = tuple[Array, Array] | None


def in_range(degrees: Array) -> bool:
    """Tell whether no degree is near an end of its dtype's range, where entries lose digits."""
    d = constant(degrees)
    limits = np.finfo(d.dtype)
    margin = d.shape[-1] / float(limits.eps)
    low, high = float(d.min()), float(d.max())
    least, most = margin * float(limits.smallest_normal), float(limits.max) / margin
    return bool(least <= low and high <= most)


def rescaled(kernel: Kernel, X: Array, embed: Pair) -> tuple[Array, Pair, Any] | None:
    r"""Scale features and embeddings to a largest entry in [½, 1), graph by graph.

    :math:`f(c x, c y) = c^p f(x, y)` for a kernel of degree p, and A does not depend on a common
    factor of W. Returns the features, the embeddings and the logarithm of the factor, one number or
    one for each graph; None where there is little to gain.
    """
    if not kernel.homogeneous:
        return None
    powers = _exponents(X, axes=(-2, -1))
    pair, shifts = embed, (0.0, 0.0)
    if embed is not None:
        first, second = (float(_exponents(w, axes=None)) for w in embed)
        if not kernel.bilinear:  # a sum keeps its value under a common factor only
            first = second = max(first, second)
        shifts = (first, second)
        scaled = times_power(embed[0], -first)
        pair = (scaled, scaled if embed[1] is embed[0] else times_power(embed[1], -second))
    # Half of the degree for each of φ and ψ.
    total = kernel.homogeneous * (powers[..., 0, 0] + sum(shifts) / 2)
    if np.abs(total).max() <= NEAR and max(map(abs, shifts)) <= NEAR:
        return None
    factor = math.log(2) * total
    return times_power(X, -powers), pair, factor if factor.ndim else float(factor)


def with_factor(weights: Weights, factor: Any) -> Weights:
    """Return the weights with the logarithm of their common factor."""
    if isinstance(weights, Stacked):
        parts = zip(weights.items, np.asarray(factor).flat, strict=True)
        return replace(weights, items=[with_factor(w, float(f)) for w, f in parts])
    full = getattr(weights, "full", None)
    if full is not None:
        return replace(weights, full=with_factor(full, factor))  # type: ignore[type-var]
    return replace(weights, log_factor=factor)  # type: ignore[type-var]


def check_underflow(
    kernel: Kernel, X: Array, embed: Pair, degrees: Array, *, symmetrize: bool, self_loops: bool
) -> None:
    """Raise where a degree of 0 is one that underflowed: some of its products are positive."""
    if not (kernel.bilinear and kernel.nonnegative):
        return
    for index in np.ndindex(*X.shape[:-2]):
        zero = constant(degrees[(*index, ...)]) == 0
        if not zero.any():
            continue
        x = constant(X[(*index, ...)])
        pair = map_pair(constant, embed)
        found = _positive_products(kernel, x, pair, zero, symmetrize, self_loops)
        if found.any():
            node = int(np.nonzero(zero)[0][np.argmax(found)])
            raise DegreeError(
                f"kernel={type(kernel).__name__.lower()!r}: degrees of {int(found.sum())} nodes "
                f"underflow {x.dtype} (node {node} first), since features differ by too many "
                "orders of magnitude; scale the small ones up, or use float64"
            )


def _positive_products(
    kernel: Kernel, X: np.ndarray, pair: Pair, nodes: np.ndarray, symmetrize: bool, self_loops: bool
) -> np.ndarray:
    """Tell which of some nodes have an edge by the signs of embedded points (N, r) alone."""
    own = kernel.embed(X[nodes], pair)
    out = np.zeros(len(own[0]), dtype=bool)
    if not any((part > 0).any() for part in own):
        return out

    def signs(x: np.ndarray) -> tuple[np.ndarray, ...]:
        points = kernel.embed(x, pair)
        return (*((p > 0).sum(-2) for p in points), *((p < 0).sum(-2) for p in points))

    *positive, first, second = sum_rows(signs, X)
    if first.any() or second.any():
        return out  # products may cancel
    for here, there in ((0, 1), (1, 0))[: 1 + symmetrize]:
        others = positive[there] - (not self_loops) * (own[there] > 0)
        out |= ((own[here] > 0) & (others > 0)).any(-1)
    return out


def _exponents(x: Array, axes: tuple[int, ...] | None) -> np.ndarray:
    """Return the binary exponents of the largest entries; 0 where all are 0."""
    values = constant(x)
    high = np.max(values, axis=axes, keepdims=axes is not None)
    low = np.min(values, axis=axes, keepdims=axes is not None)
    out: np.ndarray = np.frexp(np.maximum(high, -low))[1].astype(np.float64)
    return out
