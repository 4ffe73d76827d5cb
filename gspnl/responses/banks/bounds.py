"""Outer bounds of a function on an interval, by branch and bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.polynomial import chebyshev as npcheb

NODES = 16
PANELS = 128
SAMPLES = 8 * NODES
TAIL = 4  # last coefficients, which must reach rounding for a piece to be resolved
BEYOND = 8  # ratio of truncation error to the sum of these, at a kink, where they fall like 1/k²
RESOLVED = 1e-13  # rounding of the coefficients, relative to the largest value
BLURRED = 1e-11  # the same for a function so steep that the rounding of λ dominates
TIGHT = 1e-12  # largest distance of the bounds from the extremes, relative to the largest value
BUDGET = 20_000  # most pieces at a time; a function that needs more is noise
HALVINGS = 44  # of a panel: down to 1e-15 of the interval, the resolution of float64

X = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
TO_SERIES = np.linalg.inv(npcheb.chebvander(X, NODES - 1)).T
TO_SAMPLES = npcheb.chebvander(
    np.cos(np.pi * (np.arange(SAMPLES) + 0.5) / SAMPLES), NODES - 1
).T  # fmt: skip
GROWTH = 1 / math.cos(math.pi * (NODES - 1) / (2 * SAMPLES))  # Ehlich and Zeller 1964: 1.02


def extremes(
    fn: Callable[[np.ndarray], np.ndarray],
    interval: tuple[float, float],
    jumps: Sequence[float] = (),
) -> tuple[float, float]:
    """Bound a non-negative function from below and above, near its least and largest values.

    Pieces of the interval are halved until a polynomial of degree 15 resolves the function on
    each, and further while one may contain an extreme. A piece that stays unresolved at a cusp or a
    jump is bounded by its samples. A noisy function needs too many pieces; then all pieces are
    bounded as they are.
    """
    lo, hi = interval
    inside = [jump for jump in jumps if lo <= jump <= hi]
    edges = np.unique([*np.linspace(lo, hi, PANELS + 1), *inside])
    points = np.concatenate(
        [edges, np.clip(np.nextafter(inside, -np.inf), lo, hi),
         np.clip(np.nextafter(inside, np.inf), lo, hi)]
    )  # fmt: skip
    seen = fn(points)
    least, most = float(seen.min()), float(seen.max())
    below, above = least, most
    left, right = edges[:-1], edges[1:]
    for _ in range(HALVINGS):
        middle, half = (left + right) / 2, (right - left) / 2
        values = fn((middle[:, None] + half[:, None] * X).ravel()).reshape(-1, NODES)
        least, most = min(least, float(values.min())), max(most, float(values.max()))
        scale = most
        series = values @ TO_SERIES
        tail = np.abs(series[:, -TAIL:]).sum(axis=1)
        sampled = series @ TO_SAMPLES
        low, high = sampled.min(axis=1), sampled.max(axis=1)
        growth = (GROWTH - 1) * (high - low) / 2
        slack = growth + BEYOND * tail + 1e-15 * scale
        # Change of the function over the rounding error of λ, which halving does not reduce.
        blur = 4 * np.spacing(np.abs(middle) + half) * (high - low) / half
        resolved = tail <= np.clip(blur, RESOLVED * scale, BLURRED * scale)
        wide = (low - growth < least - TIGHT * scale) | (high + growth > most + TIGHT * scale)
        # Halve unresolved pieces, and resolved ones whose bounds exceed the values sampled.
        open_ = np.where(resolved, wide, tail > blur)
        spent = np.count_nonzero(open_) > BUDGET
        final = np.ones_like(open_) if spent else resolved & ~open_
        if final.any():
            below = min(below, float((low - slack)[final].min()))
            above = max(above, float((high + slack)[final].max()))
        if spent or not open_.any():
            break
        left, middle, right = left[open_], middle[open_], right[open_]
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
    return max(min(below, least), 0.0), max(above, most)
