"""Block Lanczos for a symmetric operator, fully reorthogonalised, with and without restarts.

A product with sixteen columns costs little more than one with a single column where W is computed
tile by tile, so a block finds many pairs in few sweeps over all pairs of nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, detached, eps, is_numpy, like, namespace

BLOCK = 16
WIDEST = 1024  # columns of a basis: restarts cost more products, a wider basis more memory
BYTES = 1 << 30  # of a basis and its images, unless count needs more
RESOLVED = 1e-7  # of the largest singular value: what a Gram matrix in float64 still resolves


class Krylov:
    """A growing orthonormal basis B of a symmetric operator S, with S B and Bᵀ S B.

    Parameters
    ----------
    apply : callable
        S on arrays of shape (n, b).
    known : array of shape (n, m)
        Orthonormal, spanning a space that is invariant under S: B is kept orthogonal to it.
    capacity : int
        Columns of B to reserve memory for; more are made room for when they come.
    """

    def __init__(self, apply: Callable[[Array], Array], known: Array, capacity: int) -> None:
        self.apply = apply
        self.xp: Any = namespace(known)
        self.values: Callable[[Array], np.ndarray] = np.asarray if is_numpy(known) else constant
        self.fixed: int = known.shape[1]
        self.size: int = self.fixed  # columns in use, known ones included
        self.columns = self._wider(known, self.fixed + capacity)
        self.images = self._wider(known[:, :0], capacity)
        self.projected = np.zeros((capacity, capacity))
        self.tail = known[:, :0]  # what the span of B lacks of the newest images
        self.newest = slice(0, 0)

    @property
    def dimension(self) -> int:
        """Columns of B."""
        return self.size - self.fixed

    @property
    def basis(self) -> Array:
        """B, (n, dimension)."""
        return self.columns[:, self.fixed : self.size]

    def extend(self, block: Array) -> None:
        """Append an orthonormal block to B, and apply S to it."""
        first = self.size - self.fixed
        new = slice(first, first + block.shape[1])
        if new.stop > len(self.projected):
            self._reserve(2 * new.stop)
        image = self.apply(block)
        if self.values is constant:
            image = detached(image)
        self.columns[:, self.size : self.size + block.shape[1]] = block
        self.images[:, new] = image
        self.size += block.shape[1]
        every = self.columns[:, : self.size]
        heads = every.mT @ image
        small = self.values(heads)[self.fixed :]
        self.projected[: new.stop, new] = small
        self.projected[new, : new.stop] = small.T
        self.tail, self.newest = image - every @ heads, new

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values, ascending, the coefficients of their vectors in B, and residual norms.

        The residuals come from the newest images alone.
        """
        small = self.projected[: self.newest.stop, : self.newest.stop]
        values, turn = np.linalg.eigh((small + small.T) / 2)
        gaps = self.values(self.tail).astype(np.float64, copy=False) @ turn[self.newest]
        return values, turn, np.linalg.norm(gaps, axis=0)

    def off(self, block: Array, negligible: float) -> Array:
        """Orthonormal basis of what a block has outside B, less what is negligible of it.

        Through the Gram matrix, a tenth of the price of an SVD; singular values that it does not
        resolve are left to another one.
        """
        xp, every = self.xp, self.columns[:, : self.size]
        # The second time a column has unit length: what then shrinks was rounding.
        for least in (negligible, 0.5):
            rest = xp.astype(block - every @ (every.mT @ block), xp.float64, copy=False)
            parts = [rest[:, :0]]
            while rest.shape[1]:
                squares, turn = np.linalg.eigh(self.values(rest.mT @ rest))
                sizes = np.sqrt(np.maximum(squares, 0.0))
                kept = sizes > max(least, RESOLVED * sizes[-1])
                parts.append(rest @ xp.asarray(turn[:, kept] / sizes[kept], device=block.device))
                if kept.all() or sizes[-1] <= least:
                    break
                rest = rest @ xp.asarray(turn[:, ~kept], device=block.device)
                rest = rest - parts[-1] @ (parts[-1].mT @ rest)
            block = xp.astype(xp.concat(parts, axis=-1), block.dtype, copy=False)
        return block

    def random_block(self, random: Callable[[int], Array], width: int, block: Array) -> Array:
        """Fill a block up to ``width`` orthonormal columns by random ones."""
        block = self.xp.concat([block, random(width - block.shape[1])], axis=-1)
        return self.off(self.off(block, RESOLVED), 0.5)

    def restart(self, values: np.ndarray, turn: np.ndarray) -> None:
        """Replace B by the Ritz vectors B turn, whose Ritz values are given."""
        kept, size = len(values), self.size - self.fixed
        self.columns[:, self.fixed : self.fixed + kept] = self.basis @ turn
        self.images[:, :kept] = self.images[:, :size] @ turn
        self.projected[:] = 0.0
        self.projected[np.arange(kept), np.arange(kept)] = values
        self.size = self.fixed + kept

    def _reserve(self, capacity: int) -> None:
        self.columns = self._wider(self.columns, self.fixed + capacity)
        self.images = self._wider(self.images, capacity)
        projected = np.zeros((capacity, capacity))
        projected[: len(self.projected), : len(self.projected)] = self.projected
        self.projected = projected

    def _wider(self, x: Array, width: int) -> Array:
        out = self.xp.empty((x.shape[0], width), dtype=x.dtype, device=x.device)
        out[:, : x.shape[1]] = x
        return out


@dataclass(frozen=True, eq=False)
class Ritz:
    """Ritz values of one run, ascending, with their residuals and quadrature weights.

    The weights are those of the Gauss quadrature of the spectral density, seen from the start.
    """

    values: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray
    top: Array

    @property
    def ends(self) -> tuple[float, float]:
        """Outer bounds: the extreme Ritz values plus their residuals."""
        low = float((self.values - self.residuals).min())
        return low, float((self.values + self.residuals).max())


def lanczos(
    apply: Callable[[Array], Array],
    start: Array,
    *,
    known: Array | None = None,
    done: Callable[[np.ndarray, np.ndarray], bool],
    steps: int,
) -> Ritz:
    """Grow a block Krylov basis, without restarts, until ``done(values, residuals)``.

    A block misses an extreme eigenvector only if every one of its random columns does; a single
    start may settle on the second one.

    Parameters
    ----------
    apply : callable
        A symmetric operator on arrays of shape (n, b).
    start : array of shape (n, b)
        Random columns.
    known : array of shape (n, m), optional
        Orthonormal, invariant directions to keep out of the run.
    done : callable
        Takes the Ritz values, ascending, and their residuals.
    steps : int
        The most applications of the operator.
    """
    start = detached(start)
    rounding = eps(start)
    known = start[:, :0] if known is None else detached(known)
    space = Krylov(apply, known, 8 * start.shape[1])
    size = float(np.abs(space.values(start)).max(initial=0.0))
    block = space.off(start, 1e-6 * size)
    width = block.shape[1]
    if width == 0:
        return Ritz(
            np.zeros(1), np.zeros(1), np.ones(1), space.xp.sum(start, axis=-1, keepdims=True)
        )
    for step in range(1, steps + 1):
        space.extend(block)
        values, turn, residuals = space.ritz()
        floor = rounding * max(1.0, float(np.abs(values).max()))
        if step == steps or done(values, residuals):
            break
        block = space.off(space.tail, 64 * floor)
        if block.shape[1] == 0:
            break
    wide = like(turn, start)
    vectors = space.basis @ wide
    gaps = space.images[:, : len(turn)] @ wide - vectors * like(values, start)
    residuals = np.linalg.norm(space.values(gaps).astype(np.float64), axis=0)
    return Ritz(values, residuals + floor, (turn[:width] ** 2).mean(0), vectors[:, -1:])


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
    random: Callable[[int], np.ndarray],
    known: np.ndarray,
    room: int,
    *,
    count: int,
    tolerance: float,
    steps: int,
) -> Pairs:
    """Find the ``count`` largest eigenvalues of a symmetric operator, with thick restarts.

    Parameters
    ----------
    apply : callable
        The operator on arrays of shape (n, b), in float64.
    random : callable
        Random columns (n, b), in the space in which eigenvectors are sought.
    known : array of shape (n, m)
        Orthonormal, invariant directions to keep out of the run.
    room : int
        Dimension of the space that is left.
    count : int
        1 ≤ count ≤ room.
    tolerance : float
        Of each residual.
    steps : int
        The most blocks to apply the operator to.

    References
    ----------
    .. [1] K. Wu and H. Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems,
       SIAM J. Matrix Anal. Appl. 22, 2000.
    """
    width = min(BLOCK, room)
    limit = max(3 * count, count + 8 * width, min(WIDEST, BYTES // (16 * len(known))))
    limit = min(room, limit)
    space = Krylov(apply, known, limit)
    checked, scale, locked = 0, 1.0, np.zeros(0)
    block = space.random_block(random, width, space.tail)
    for step in range(1, steps + 1):
        space.extend(block)
        size = space.dimension
        last, full = size == room or step == steps, size + block.shape[1] > limit
        if last or full or (size >= count and size >= 1.2 * checked):
            checked = size
            values, turn, residuals = (part[..., ::-1] for part in space.ritz())
            scale = max(scale, float(np.abs(values).max()))
            few, found = turn[:, :count], values[:count]
            if last or residuals[:count].max() <= tolerance / 2:
                vectors = space.basis @ few
                gaps = np.linalg.norm(space.images[:, :size] @ few - vectors * found, axis=0)
                result = Pairs(found, vectors, gaps, step)
                if last:
                    return result
                if gaps.max() <= tolerance:
                    # A block finds as many copies of an eigenvalue as it is wide: look for more.
                    grown = not len(locked) or float((found - locked).max()) > tolerance
                    if _repeated(found, 10 * tolerance) and grown:
                        space.restart(found, few)
                        locked, checked = found, 0
                        block = space.random_block(
                            random, min(BLOCK, limit - count), space.tail[:, :0]
                        )
                        continue
                    if not len(locked):
                        return result
                    if size > count and values[count] + residuals[count] <= found[-1] + tolerance:
                        return result
            if full and limit < room:
                kept = count + max(block.shape[1], count // 4)
                space.restart(values[:kept], turn[:, :kept])
                checked = 0
        width = min(BLOCK, limit - space.dimension)
        block = space.off(space.tail, 64 * np.finfo(float).eps * scale)[:, :width]
        if block.shape[1] < width:
            block = space.random_block(random, width, block)
    raise AssertionError("the last step returns")


def _repeated(values: np.ndarray, near: float) -> bool:
    """Tell whether a block of copies of one eigenvalue, or more, stands before a lower one."""
    if len(values) <= BLOCK:
        return False
    return bool((values[:-BLOCK] - values[BLOCK - 1 : -1] <= near).any()) and bool(
        values[0] - values[-1] > near
    )
