"""Bandwidths σ of the rbf kernel from distances: the median of all pairs, or near neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist, pdist

from gspnl._base.effort import work
from gspnl._base.registry import Registry
from gspnl._base.rows import cores, map_rows
from gspnl.errors import InputError

SAMPLE = 2048  # nodes whose distances have the median
LOCAL = 7, 1 / 2  # neighbour that scales a node, as Zelnik-Manor and Perona take it, and a factor
# Measured on ten data sets: docs/results/ten_data_sets.md.
ADAPTIVE = 15, 0.3  # the same for "adaptive", the factor at most,
FEW = 0.1, 30.0  # and at least, and the effective neighbours at most, of a median node
ROWS = 128  # nodes whose effective neighbours are counted
TREE = 6  # columns up to which a tree is faster than all products
SPARE = 8  # candidates beside the neighbours, for distances that rounding reorders
GROUP = 16  # points whose distances are searched by their least
DIGITS = 1e-10  # relative error of squared distances that is tolerated
PARTITION = 8  # operations of one distance besides its product
TINY = 1e-130  # of the largest entry
RANGE = 60  # binary exponents between the largest and the least σ of a graph

BANDWIDTHS: Registry[Callable[[np.ndarray], np.ndarray]] = Registry("sigma")


def bandwidths(name: str, X: np.ndarray, equal: float | None = None) -> np.ndarray:
    """Compute σ of features X (..., N, C): (..., 1, 1), or (..., N, 1) for one a node.

    Raises
    ------
    InputError
        Where all nodes of a graph are equal, unless ``equal`` is a σ for these.
    """
    rule = BANDWIDTHS[name]
    batch = X.shape[:-2]
    found = [_of_graph(rule, name, X[(*i, ...)], i, equal) for i in np.ndindex(*batch)]
    if equal is not None:
        most = max(map(len, found))
        found = [np.broadcast_to(part, most) for part in found]
    return np.stack(found).reshape(*batch, -1, 1)


def _of_graph(
    rule: Callable[[np.ndarray], np.ndarray],
    name: str,
    X: np.ndarray,
    index: tuple[int, ...],
    equal: float | None,
) -> np.ndarray:
    """Compute σ of one graph, of features near 1: squares of huge or tiny ones leave the range."""
    low, high = X.min(0), X.max(0)
    differ = low != high
    if not differ.any():
        if equal is not None:
            return np.full(len(X), equal)
        where = f" of graph {', '.join(map(str, index))}" if index else ""
        raise InputError(
            f"sigma={name!r} is a distance between nodes, and all {len(X)} nodes{where} are equal; "
            "pass sigma= as a number, or features that differ"
        )
    power = math.frexp(float(np.maximum(high, -low)[differ].max()))[1]
    scaled = np.ldexp(X[:, differ].astype(np.float64), -power)
    scaled[np.abs(scaled) < TINY] = 0.0  # squares of differences stay in the range
    sigmas = rule(scaled)
    sigmas = np.maximum(sigmas, math.ldexp(float(sigmas.max()), -RANGE))
    out: np.ndarray = np.ldexp(sigmas, power)
    return out


@BANDWIDTHS.register("median")
def _median(X: np.ndarray) -> np.ndarray:
    if len(X) > SAMPLE:
        sample = np.random.default_rng(0).choice(len(X), SAMPLE, replace=False)
        distances = pdist(X[sample])
        if not distances.any():  # the nodes that differ are few, and none is in the sample
            distances = np.linalg.norm(X - X[sample[:1]], axis=1)
    else:
        distances = pdist(X)
    middle = float(np.median(distances))
    return np.array([middle if middle > 0 else float(np.median(distances[distances > 0]))])


@BANDWIDTHS.register("local")
def _local(X: np.ndarray) -> np.ndarray:
    neighbour, factor = LOCAL
    return factor * neighbour_distances(X, neighbour)


@BANDWIDTHS.register("adaptive")
def _adaptive(X: np.ndarray) -> np.ndarray:
    neighbour, factor = ADAPTIVE
    distances = neighbour_distances(X, neighbour)
    reach = np.maximum(distances, np.median(distances))
    out: np.ndarray = _share(X, reach, factor) * reach
    return out


def _share(X: np.ndarray, reach: np.ndarray, most: float) -> float:
    """Return the largest c ≤ ``most`` with few effective neighbours where σ = c times the reach.

    In many dimensions all distances are nearly equal, and the many far nodes outweigh the near.
    """
    nodes = np.arange(len(X))
    if len(X) > ROWS:
        nodes = np.random.default_rng(1).choice(len(X), ROWS, replace=False)
    centred = X - X.mean(0)
    squares = (centred * centred).sum(1)
    if _rounding(squares) <= DIGITS * float(reach.min()) ** 2:
        scores = squares - 2 * (centred[nodes] @ centred.T)
    else:
        scores = cdist(X[nodes], X, "sqeuclidean")
    scores[np.arange(len(nodes)), nodes] = np.inf
    scores -= scores.min(1, keepdims=True)
    scores /= -2 * reach[nodes, None] ** 2

    def effective(share: float) -> float:
        s = scores / share**2
        p = np.exp(s)
        sums = p.sum(1)
        s[s == -np.inf] = 0.0
        return float(np.median(sums * np.exp(-np.einsum("ij,ij->i", p, s) / sums)))

    least, few = FEW
    # Where copies alone are more than few, a smaller σ would only cut them off.
    if effective(most) <= few or effective(least) >= few:
        return most
    return float(brentq(lambda c: effective(c) - few, least, most, xtol=1e-14))


def neighbour_distances(X: np.ndarray, k: int) -> np.ndarray:
    """Compute the distance of each node of X (N, C) to its k-th nearest other node, (N,).

    The farthest other node where there are fewer; the nearest one that differs where the first k
    are equal to the node. Distances are taken between points that differ, with their counts.
    """
    rows = np.ascontiguousarray(X + 0.0)  # −0 is 0
    _, first, inverse, counts = np.unique(
        rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0],
        return_index=True, return_inverse=True, return_counts=True,
    )  # fmt: skip
    points = rows[first]
    near = min(k, len(points) - 1)
    distances, neighbours = nearest(points, near)
    # Nodes up to a neighbour: the copies of the point itself, and those of the points before.
    reached = counts[:, None] - 1 + np.cumsum(counts[neighbours], axis=1)
    at = np.minimum((reached < k).sum(1), near - 1)
    found: np.ndarray = distances[np.arange(len(points)), at][inverse]
    return found


def nearest(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and numbers, (n, k), of the k nearest other points of n that differ."""
    n, columns = points.shape
    if columns <= TREE:
        found: tuple[Any, Any] = cKDTree(points).query(points, k + 1, workers=cores())
        return found[0][:, 1:], found[1][:, 1:]
    kept = min(k + SPARE, n - 1)
    cost = 2.0 * n * n * (columns + PARTITION)
    with work(f"the neighbours of {n:,} nodes", cost, 1, "use sigma='median', or fewer nodes"):
        centred = points - points.mean(0)
        candidates = _candidates(centred, kept)

    rounding = _rounding((centred * centred).sum(1)) if kept < n - 1 else 0.0

    def block(rows: np.ndarray, near: np.ndarray) -> np.ndarray:
        numbers, farthest = near[:, :kept].astype(int), near[:, kept]
        exact = ((points[numbers] - rows[:, None, :]) ** 2).sum(-1)
        order = np.argsort(exact, axis=1)[:, :k]
        exact, numbers = (np.take_along_axis(part, order, axis=1) for part in (exact, numbers))
        # Another point may be nearer where rounding of the products is as large as distances.
        last = exact[:, -1]
        for i in np.nonzero((last > farthest - rounding) & (rounding > DIGITS * last))[0]:
            every = cdist(rows[i : i + 1], points, "sqeuclidean")[0]
            numbers[i] = np.argsort(every)[1 : k + 1]  # the first is the point itself
            exact[i] = every[numbers[i]]
        return np.concatenate([np.sqrt(exact), numbers], axis=1)

    both: np.ndarray = map_rows(block, points, candidates, columns=kept * columns)
    return both[:, :k], both[:, k:].astype(int)


def _rounding(squares: np.ndarray) -> float:
    """Bound the rounding error of a squared distance by products, of points of these squares."""
    return 16 * float(np.finfo(np.float64).eps) * float(squares.max())


def _candidates(points: np.ndarray, kept: int) -> np.ndarray:
    """Return the numbers, as floats, of the other points that are nearest by products.

    (n, kept + 1): the last column is the largest of their squared distances. Each group of points
    has its least distance first; the nearest lie in the best groups.
    """
    n = len(points)
    width = -(-n // GROUP)
    squares = (points * points).sum(1)

    def block(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        d = np.full((len(rows), GROUP * width), np.inf)
        np.matmul(rows, points.T, out=d[:, :n])
        d[:, :n] *= -2
        d[:, :n] += squares
        d[np.arange(len(rows)), numbers[:, 0].astype(int)] = np.inf
        groups = np.broadcast_to(np.arange(width), (len(rows), width))
        if width > kept:
            least = d.reshape(len(rows), GROUP, width).min(1)
            groups = np.argpartition(least, kept - 1, axis=1)[:, :kept]
        inside = (groups[:, None, :] + width * np.arange(GROUP)[:, None]).reshape(len(rows), -1)
        values = np.take_along_axis(d, inside, axis=1)
        best = np.argpartition(values, kept - 1, axis=1)[:, :kept]
        own = squares[numbers[:, 0].astype(int), None]
        farthest = np.take_along_axis(values, best[:, -1:], axis=1) + own
        return np.concatenate([np.take_along_axis(inside, best, axis=1), farthest], axis=1)

    numbers = np.arange(n, dtype=np.float64)[:, None]
    found: np.ndarray = map_rows(block, points, numbers, columns=n // 8)  # blocks of 16 MiB
    return found
