"""Eigenpairs at an end of a symmetric operator's spectrum: block Lanczos with thick restarts.

A product with sixteen columns costs little more than one with a single column where W is computed
tile by tile, so a block finds many pairs in few sweeps over all pairs of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOCK = 16
WIDEST = 1024  # columns of a basis: restarts cost more products, a wider basis more memory
BYTES = 1 << 30  # for a basis and its images, unless count needs more


@dataclass(frozen=True, eq=False)
class Pairs:
    """Eigenvalues, descending, with orthonormal vectors and residuals ‖S v − μ v‖.

    Attributes
    ----------
    products : int
        Blocks that the operator was applied to.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int


def largest(
    apply: Callable[[np.ndarray], np.ndarray],
    project: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, int],
    *,
    count: int,
    tolerance: float,
    steps: int,
    rng: np.random.Generator,
) -> Pairs:
    """The ``count`` largest eigenvalues of a symmetric operator.

    Parameters
    ----------
    apply : callable
        The operator on arrays of shape (n, b), in float64.
    project : callable
        Takes a block off the directions that are known already, which must be invariant.
    shape : (n, m)
        The rows of a vector, and the dimension of the space that is left.
    count : int
        1 ≤ count ≤ m.
    tolerance : float
        Of each residual.
    steps : int
        The most blocks to apply the operator to.
    rng : numpy.random.Generator
        Of the start.

    References
    ----------
    .. [1] K. Wu and H. Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems,
       SIAM J. Matrix Anal. Appl. 22, 2000.
    """
    n, room = shape
    width = min(BLOCK, room)
    limit = max(3 * count, count + 8 * width, min(WIDEST, BYTES // (16 * n)))
    limit, checked = min(room, limit), 0
    basis, images = np.empty((n, limit)), np.empty((n, limit))
    small = np.zeros((limit, limit))
    size, scale = 0, 1.0
    nothing, locked = np.empty((n, 0)), np.zeros(0)
    block = _fresh(nothing, project, nothing, width, rng)
    for step in range(1, steps + 1):
        width = min(block.shape[1], limit - size)
        new = slice(size, size + width)
        basis[:, new] = block[:, :width]
        images[:, new] = project(apply(basis[:, new]))
        size += width
        small[:size, new] = basis[:, :size].T @ images[:, new]
        small[new, :size] = small[:size, new].T
        # What the new images leave of the space is the next block, and tells the residuals.
        tail = images[:, new] - basis[:, :size] @ small[:size, new]
        last, full = size == room or step == steps, size + width > limit
        if last or full or (size >= count and size >= 1.2 * checked):
            checked = size
            values, turn = np.linalg.eigh((small[:size, :size] + small[:size, :size].T) / 2)
            values, turn = values[::-1], turn[:, ::-1]
            scale = max(scale, float(np.abs(values).max()))
            gaps = np.linalg.norm(tail @ turn[new, :count], axis=0)
            if last or gaps.max() <= tolerance / 2:
                few = turn[:, :count]
                vectors, found = basis[:, :size] @ few, values[:count]
                gaps = np.linalg.norm(images[:, :size] @ few - vectors * found, axis=0)
                if last:
                    return Pairs(found, vectors, gaps, step)
                if gaps.max() <= tolerance:
                    # A block finds as many copies of an eigenvalue as it is wide: look for more.
                    more = _repeated(found, 10 * tolerance) and (
                        not len(locked) or float((found - locked).max()) > tolerance
                    )
                    if not more and not len(locked):
                        return Pairs(found, vectors, gaps, step)
                    if not more and size > count:
                        beyond = float(np.linalg.norm(tail @ turn[new, count])) + values[count]
                        if beyond <= found[-1] + tolerance:
                            return Pairs(found, vectors, gaps, step)
                    if more:
                        basis[:, :count], images[:, :count] = vectors, images[:, :size] @ few
                        small[:] = 0.0
                        small[np.arange(count), np.arange(count)] = found
                        locked, size, checked = found, count, 0
                        width = min(BLOCK, limit - size)
                        block = _fresh(nothing, project, basis[:, :size], width, rng)
                        continue
            if full and limit < room:
                kept = count + max(width, count // 4)
                for held in (basis, images):
                    held[:, :kept] = held[:, :size] @ turn[:, :kept]
                small[:] = 0.0
                small[np.arange(kept), np.arange(kept)] = values[:kept]
                size, checked = kept, 0
        width = min(BLOCK, limit - size)
        block = _fresh(tail, project, basis[:, :size], width, rng, 64 * np.finfo(float).eps * scale)
    raise AssertionError("the last step returns")


def _repeated(values: np.ndarray, near: float) -> bool:
    """Whether a block of copies of one eigenvalue, or more, stands before a lower one."""
    if len(values) <= BLOCK:
        return False
    return bool((values[:-BLOCK] - values[BLOCK - 1 : -1] <= near).any()) and bool(
        values[0] - values[-1] > near
    )


def _fresh(
    block: np.ndarray,
    project: Callable[[np.ndarray], np.ndarray],
    basis: np.ndarray,
    width: int,
    rng: np.random.Generator,
    negligible: float = 0.0,
) -> np.ndarray:
    """Orthonormal columns off the basis, with random ones in place of those that are exhausted."""

    def off(columns: np.ndarray, tiny: float) -> np.ndarray:
        return _orthonormal(project(columns - basis @ (basis.T @ columns)), tiny)

    if block.shape[1]:
        # The second time a column is of unit length: what then shrinks was rounding.
        block = off(block, negligible)
        block = off(block, 0.5) if block.shape[1] else block
    if block.shape[1] < width:
        filled = np.concatenate(
            [block, project(rng.standard_normal((len(basis), width - block.shape[1])))], axis=1
        )
        block = off(off(off(filled, 0.0), 0.5), 0.5)
    return block


def _orthonormal(block: np.ndarray, negligible: float) -> np.ndarray:
    """An orthonormal basis of the columns, without those that are negligible.

    Through the Gram matrix, a tenth of the price of an SVD; callers do it twice.
    """
    sizes, turn = np.linalg.eigh(block.T @ block)
    kept = np.sqrt(np.maximum(sizes, 0.0)) > max(negligible, 1e-7 * math.sqrt(max(sizes[-1], 0.0)))
    out: np.ndarray = block @ (turn[:, kept] / np.sqrt(sizes[kept]))
    return out
