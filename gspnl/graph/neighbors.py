"""Find the k nearest neighbours of every node, by the searches of SciPy and scikit-learn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from gspnl._base import extras
from gspnl._base.effort import QUICK, rate, work
from gspnl._base.rows import each_block, map_rows
from gspnl._base.validate import one_of
from gspnl.errors import MissingExtraError

SEARCHES = ("auto", "tree", "brute", "approximate")
TREE_COLUMNS = 8  # up to which a tree is faster than brute force on normal features: measured
FEW = 2e8  # N² C below which brute force is not worth the import of scikit-learn
LARGE = 200_000  # nodes above which brute force takes minutes
BLOCK = 2048  # nodes of a query
SORTED = 4096  # nodes from which sorting them pays
PAIR = 60.0  # operations in the time that a pair takes brute force beside its product: measured
DIGITS = 1.5e-4  # distance, relative to the norm of a node, below which products have few digits

Found = tuple[np.ndarray, np.ndarray, np.ndarray | None, str]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The k nearest neighbours of every node, from the nearest to the farthest.

    Attributes
    ----------
    indices : int32 array of shape (N, k)
    distances : float64 array of shape (N, k)
    order : array of shape (N,), or None
        The node of each row, where rows and ``indices`` follow an order in which neighbours have
        near numbers; None for that of the features.
    reason : str
        The method, and whether it is approximate.
    """

    indices: np.ndarray
    distances: np.ndarray
    order: np.ndarray | None
    reason: str


def nearest(X: np.ndarray, k: int, search: str = "auto", seed: int = 0) -> Nearest:
    """Find the k nearest other nodes of each node of X (N, C), finite, by Euclidean distance.

    "auto" takes a tree up to :data:`TREE_COLUMNS` columns; for more, brute force by scikit-learn
    where it is installed, and pynndescent above :data:`LARGE` nodes where that is installed.
    """
    one_of("search", search, SEARCHES)
    points = np.ascontiguousarray(X, dtype=np.float64)
    peak = max(float(points.max()), -float(points.min()))
    power = 0 if 1e-100 < peak < 1e100 or not peak else int(np.frexp(peak)[1])
    if power:  # squares would leave the range
        points = np.ldexp(points, -power)
    method, why = (search, "asked for") if search != "auto" else _choice(*points.shape)
    found = {"tree": _by_tree, "brute": _by_brute_force, "approximate": _by_descent}[method]
    indices, distances, order, how = found(points, k, seed)
    if power:
        distances = np.ldexp(distances, power)
    return Nearest(indices, distances, order, f"{k} nearest neighbours {how} ({why})")


def _choice(n: int, columns: int) -> tuple[str, str]:
    """Return the method for N nodes, and its reason."""
    if columns <= TREE_COLUMNS:
        return "tree", f"{columns} column{'s' if columns > 1 else ''}"
    if n * n * columns <= FEW:
        return "tree", f"{n:,} nodes"
    if n > LARGE and extras.spec("pynndescent") is not None:
        return "approximate", f"{n:,} nodes of {columns} columns"
    if extras.spec("sklearn") is None:
        return "tree", "scikit-learn, which is faster for many columns, is not installed"
    return "brute", f"{columns} columns"


def _by_tree(X: np.ndarray, k: int, seed: int) -> Found:
    leaf, order = (16 if X.shape[1] <= 4 else 64), None
    if len(X) >= SORTED:
        # Sorted by the leaves of a tree, near nodes are near in memory: queries take half the time.
        order = cKDTree(X, leaf, balanced_tree=False).indices
        X = X[order]
    indices, distances = _query(X, np.arange(len(X), dtype=np.int32), k, leaf)
    return indices, distances, order, "by scipy.spatial.cKDTree, exact"


def _query(X: np.ndarray, nodes: np.ndarray, k: int, leaf: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the neighbours of some nodes by a tree, on all cores."""
    tree = cKDTree(X, leaf, balanced_tree=False)
    indices = np.empty((len(nodes), k), dtype=np.int32)
    distances = np.empty((len(nodes), k))

    def fill(rows: slice) -> None:
        own = nodes[rows]
        near, j = tree.query(X[own], k + 1)
        indices[rows], distances[rows] = without_self(np.asarray(j), np.asarray(near), own)

    first, *rest = [slice(i, i + BLOCK) for i in range(0, len(nodes), BLOCK)]
    start = time.perf_counter()
    fill(first)
    cost = (time.perf_counter() - start) * rate() * len(rest) if rest else 0.0
    with _work(k, len(nodes), cost, len(rest)) as shown:
        for _ in each_block(fill, rest):
            shown.done += 1
    return indices, distances


def _work(k: int, n: int, cost: float, total: int = 0) -> Any:
    instead = (
        "pip install 'gspnl[sklearn]' and pass search='brute', pass search='approximate' "
        "(pynndescent), or reduce the columns by PCA"
    )
    return work(f"the {k} nearest neighbours of {n:,} nodes", cost, total, instead)


def without_self(
    indices: np.ndarray, distances: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drop each node from its k + 1 nearest points (n, k + 1), or the last one if it is not there.

    A node with more than k copies may be missing among its own nearest points.
    """
    if (indices[:, 0] == own).all():
        return indices[:, 1:], distances[:, 1:]
    keep = indices != own[:, None]
    keep[keep.all(1), -1] = False
    shape = (len(own), indices.shape[1] - 1)
    return indices[keep].reshape(shape), distances[keep].reshape(shape)


def _by_brute_force(X: np.ndarray, k: int, seed: int) -> Found:
    extras.require("search='brute'", "sklearn", "sklearn")
    from sklearn.neighbors import NearestNeighbors

    centred = X - X.mean(0)
    cost = len(X) ** 2 * (2.0 * X.shape[1] + PAIR)
    with _work(k, len(X), cost if cost > 5 * QUICK else 0.0):
        search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(centred)
        distances, j = search.kneighbors(centred)
    indices, distances = without_self(j, distances, np.arange(len(X)))
    indices, distances = _ranked(X, indices.astype(np.int32))
    # Products of near nodes far from the mean cancel: these are found by differences.
    norms = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    doubtful = np.nonzero(distances[:, -1] < DIGITS * norms)[0]
    if len(doubtful):
        indices[doubtful], distances[doubtful] = _query(X, doubtful, k, 64)
    return indices, distances, None, "by scikit-learn's brute force, exact"


def _ranked(X: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort neighbours by distances that are computed by differences."""
    j = indices.astype(np.intp)

    def distance(x: np.ndarray, near: np.ndarray) -> np.ndarray:
        difference = X[near] - x[:, None, :]
        out: np.ndarray = np.sqrt(np.einsum("nkc,nkc->nk", difference, difference))
        return out

    distances = map_rows(distance, X, j, columns=j.shape[1] * X.shape[1])
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(indices, order, 1), np.take_along_axis(distances, order, 1)


def _by_descent(X: np.ndarray, k: int, seed: int) -> Found:
    if extras.spec("pynndescent") is None:
        raise MissingExtraError(
            "search='approximate' needs pynndescent; pip install pynndescent, or leave search= out"
        )
    from pynndescent import NNDescent

    X32 = (X - X.mean(0)).astype(np.float32)
    with _work(k, len(X), 0.0):
        found = NNDescent(X32, n_neighbors=min(k + 1, len(X)), random_state=seed)
        j, distances = found.neighbor_graph
    indices, _ = without_self(j, distances, np.arange(len(X)))
    indices, distances = _ranked(X, np.maximum(indices, 0).astype(np.int32))
    missing = np.nonzero((j < 0).any(1))[0]
    if len(missing):
        indices[missing], distances[missing] = _query(X, missing, k, 64)
    return indices, distances, None, "by pynndescent, approximate"
