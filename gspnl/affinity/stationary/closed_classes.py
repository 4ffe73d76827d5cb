"""Closed classes of a Markov chain: sets of nodes that flow reaches each other in and never leaves.

A chain has one stationary distribution on each of them; nodes outside are transient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from gspnl._base.products import Products
from gspnl.errors import ReducibleError

LISTED = 8  # classes, and nodes of a class, that a message names


def closed_classes(A: Any) -> list[np.ndarray]:
    """Return the nodes of each closed class of a dense or sparse A ≥ 0, by their first nodes."""
    if not scipy.sparse.issparse(A) and (A > 0).all():
        return [np.arange(len(A))]
    entries = scipy.sparse.coo_array(A)
    used = entries.data > 0
    rows, columns = entries.coords[0][used], entries.coords[1][used]
    pattern = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=A.shape)
    count, labels = connected_components(pattern, directed=True, connection="strong")
    leaving = labels[rows] != labels[columns]
    closed = np.ones(count, dtype=bool)
    closed[labels[rows[leaving]]] = False
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(labels, minlength=count))[:-1])
    return sorted((p for p, keep in zip(parts, closed, strict=True) if keep), key=lambda p: p[0])


def closed_classes_of(A: Products, weight: np.ndarray, at_most: int) -> list[np.ndarray]:
    """Return up to ``at_most`` closed classes of A, known by its products.

    Parameters
    ----------
    A : Products
        Of a matrix whose entries are ≥ 0, or of which no sum of random multiples vanishes.
    weight : array of shape (N,)
        ≥ 0, about a stationary distribution: nodes of large weight are most likely recurrent.
    at_most : int
    """
    rng = np.random.default_rng(0)
    left = np.ones(A.n, dtype=bool)
    found: list[np.ndarray] = []
    while left.any() and len(found) < at_most:
        node = int(np.argmax(np.where(left, weight, -1.0)))
        inside = reached(A.transpose, _only(node, A.n), rng)
        while (away := inside & ~reached(A.apply, _only(node, A.n), rng)).any():
            node = int(rng.choice(np.nonzero(away)[0]))  # it has left the first node for good
            inside = reached(A.transpose, _only(node, A.n), rng)
        found.append(np.nonzero(inside)[0])
        left &= ~inside
        if left.any():
            left &= ~reached(A.apply, inside, rng)
    return sorted(found, key=lambda p: p[0])


def _only(node: int, n: int) -> np.ndarray:
    out: np.ndarray = np.arange(n) == node
    return out


def reached(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the nodes that paths from ``start`` reach, (N,); one product for each length."""
    inside = start.copy()
    while True:
        flow = product((inside * (0.5 + rng.random(len(inside))))[:, None])[:, 0]
        grown = inside | (flow != 0)
        if (grown == inside).all():
            return inside
        inside = grown


def single_class(classes: list[np.ndarray], more: bool = False) -> np.ndarray:
    """Return the only closed class; raises ReducibleError for several (``more``: or even more)."""
    if len(classes) == 1:
        return classes[0]
    listed = "; ".join(named(nodes) for nodes in classes[:LISTED])
    dots = "; …" if more or len(classes) > LISTED else ""
    raise ReducibleError(
        f"this graph has {'at least ' * more}{len(classes)} closed classes, which flow enters and "
        f"does not leave, so it has no single stationary distribution: {listed}{dots}; take one "
        "as a graph of its own (its nodes are in .classes of this error), or add a small weight "
        "between all nodes",
        classes,
    )


def named(nodes: np.ndarray) -> str:
    """Return the number of some nodes, and the first of them."""
    listed = ", ".join(map(str, nodes[:LISTED].tolist()))
    dots = ", …" if len(nodes) > LISTED else ""
    return f"{'node' if len(nodes) == 1 else f'{len(nodes)} nodes'} {listed}{dots}"
