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

BLOCK = 16  # columns of a block
SETTLED = 1e-2  # residual, relative to the largest |μ|, from which a Ritz value is trusted
WIDEST = 1024  # largest number of columns of a basis, unless ``count`` needs more
BYTES = 1 << 30  # largest memory of a basis and its images, unless ``count`` needs more
RESOLVED = 1e-7  # singular values, relative to the largest, that a Gram matrix resolves


class Krylov:
    """A growing orthonormal basis B of a symmetric operator S, with S B and Bᵀ S B.

    Parameters
    ----------
    apply : callable
        S on arrays of shape (n, b).
    known : array of shape (n, m)
        Orthonormal, spanning a space that is invariant under S: B is kept orthogonal to it.
    capacity : int
        Columns of B to reserve memory for; it doubles when more are needed.
    """

    def __init__(self, apply: Callable[[Array], Array], known: Array, capacity: int) -> None:
        self.apply = apply
        self.xp: Any = namespace(known)
        self.values: Callable[[Array], np.ndarray] = np.asarray if is_numpy(known) else constant
        self.fixed: int = known.shape[1]
        self.size = 0  # columns of B
        self.tail = known[:, :0]  # components of the newest images outside the span of B
        self.newest = slice(0, 0)
        self._columns, self._images, self._small = known, self.tail, np.zeros((0, 0))
        self._reserve(capacity)

    @property
    def basis(self) -> Array:
        """B, (n, size)."""
        return self._columns[:, self.fixed : self.fixed + self.size]

    @property
    def images(self) -> Array:
        """S B, (n, size)."""
        return self._images[:, : self.size]

    def extend(self, block: Array) -> None:
        """Append an orthonormal block to B, and apply S to it."""
        new = slice(self.size, self.size + block.shape[1])
        if new.stop > len(self._small):
            self._reserve(2 * new.stop)
        image = self.apply(block)
        if self.values is constant:
            image = detached(image)
        self._columns[:, self.fixed + new.start : self.fixed + new.stop] = block
        self._images[:, new] = image
        known_and_basis = self._columns[:, : self.fixed + new.stop]
        heads = known_and_basis.mT @ image
        small = self.values(heads)[self.fixed :]
        self._small[: new.stop, new] = small
        self._small[new, : new.stop] = small.T
        self.tail, self.newest, self.size = image - known_and_basis @ heads, new, new.stop

    def ritz(self, count: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return Ritz values, ascending, coefficients of their vectors in B, and residual norms.

        The residuals of the ``count`` largest values are computed, or of all for 0, from the newest
        images alone.
        """
        small = self._small[: self.size, : self.size]
        values, turn = np.linalg.eigh((small + small.T) / 2)
        tail = self.values(self.tail).astype(np.float64, copy=False)
        return values, turn, np.linalg.norm(tail @ turn[self.newest, -count:], axis=0)

    def off(self, block: Array, negligible: float) -> Array:
        """Return an orthonormal basis of the components of a block outside the span of B.

        Directions with singular values of at most ``negligible`` are dropped. Gram matrices take a
        tenth of the time of an SVD; directions that one Gram matrix does not resolve go into the
        next one.
        """
        xp, dtype, place = self.xp, block.dtype, block.device
        known_and_basis = self._columns[:, : self.fixed + self.size]
        # In the second pass columns have length 1; one that becomes shorter than ½ is rounding.
        for least in (negligible, 0.5):
            rest = block - known_and_basis @ (known_and_basis.mT @ block)
            rest = xp.astype(rest, xp.float64, copy=False)
            block = rest[:, :0]
            while rest.shape[1]:
                squares, turn = np.linalg.eigh(self.values(rest.mT @ rest))
                sizes = np.sqrt(np.maximum(squares, 0.0))
                kept = sizes > max(least, RESOLVED * sizes[-1])
                found = rest @ xp.asarray(turn[:, kept] / sizes[kept], device=place)
                block = xp.concat([block, found], axis=-1) if block.shape[1] else found
                if kept.all() or not kept.any():
                    break
                rest = rest @ xp.asarray(turn[:, ~kept], device=place)
                rest = rest - block @ (block.mT @ rest)
            block = xp.astype(block, dtype, copy=False)
        return block

    def filled(self, block: Array, width: int, random: Callable[[int], Array]) -> Array:
        """Return a block of ``width`` orthonormal columns, completed by random ones."""
        if block.shape[1] >= width:
            return block[:, :width]
        block = self.xp.concat([block, random(width - block.shape[1])], axis=-1)
        return self.off(self.off(block, RESOLVED), 0.5)

    def restart(self, values: np.ndarray, turn: np.ndarray) -> None:
        """Replace B by the Ritz vectors B turn, whose Ritz values are given."""
        kept = len(values)
        self._columns[:, self.fixed : self.fixed + kept] = self.basis @ turn
        self._images[:, :kept] = self.images @ turn
        self._small[:] = 0.0
        self._small[np.arange(kept), np.arange(kept)] = values
        self.size = kept

    def _reserve(self, capacity: int) -> None:
        wider = []
        for old, width in ((self._columns, self.fixed + capacity), (self._images, capacity)):
            new = self.xp.empty((old.shape[0], width), dtype=old.dtype, device=old.device)
            new[:, : old.shape[1]] = old
            wider.append(new)
        self._columns, self._images = wider
        self._small = np.pad(self._small, (0, capacity - len(self._small)))


@dataclass(frozen=True, eq=False)
class Ritz:
    """Ritz values of one run, ascending, with residual norms, and the vector of the largest.

    ``weights`` are Gauss quadrature weights of the spectral density, averaged over the starts.
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
    known: Array,
    *,
    done: Callable[[np.ndarray, np.ndarray], bool],
    steps: int,
) -> Ritz:
    """Grow a block Krylov basis, without restarts, until ``done(values, residuals)``.

    A block misses an extreme eigenvector only if all its random columns do; a single column may
    converge to the second one. ``start`` (n, b) holds random columns; ``apply`` and
    ``known`` are those of :class:`Krylov`; ``steps`` is the largest number of applications.
    """
    start = detached(start)
    space = Krylov(apply, detached(known), 8 * start.shape[1])
    block = space.off(start, 1e-6 * float(np.abs(space.values(start)).max(initial=0.0)))
    width, rounding = block.shape[1], eps(start)
    if width == 0:
        zero = np.zeros(1)
        return Ritz(zero, zero, np.ones(1), space.xp.sum(start, axis=-1, keepdims=True))
    for step in range(1, steps + 1):
        space.extend(block)
        values, turn, residuals = space.ritz()
        floor = rounding * max(1.0, float(np.abs(values).max()))
        if step == steps or done(values, residuals):
            break
        block = space.off(space.tail, 64 * floor)
        if block.shape[1] == 0:
            break
    vectors = space.basis @ like(turn, start)
    gaps = space.values(space.images @ like(turn, start) - vectors * like(values, start))
    residuals = np.linalg.norm(gaps.astype(np.float64), axis=0) + floor
    return Ritz(values, residuals, (turn[:width] ** 2).mean(0), vectors[:, -1:])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Eigenvalues, descending, with orthonormal vectors and residuals ‖S v − μ v‖.

    ``products`` is the number of blocks to which the operator was applied.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int


def largest(
    apply: Callable[[np.ndarray], np.ndarray],
    random: Callable[[int], np.ndarray],
    known: np.ndarray,
    *,
    room: int,
    count: int,
    tolerance: float,
    steps: int,
) -> Pairs:
    """Find the ``count`` largest eigenvalues of a symmetric operator, with thick restarts [1]_.

    Parameters
    ----------
    apply, known
        Those of :class:`Krylov`, in NumPy and float64.
    random : callable
        ``random(b)`` returns random columns (n, b) of the space in which eigenvectors are sought.
    room : int
        Dimension of that space less the known directions; 1 ≤ count ≤ room.
    tolerance : float
        Largest norm of each residual.
    steps : int
        Largest number of blocks to which the operator is applied.

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
    block = space.filled(space.tail, width, random)
    for step in range(1, steps + 1):
        space.extend(block)
        size, width = space.size, block.shape[1]
        last, full = size == room or step == steps, size + width > limit
        if last or full or (size >= count and size >= 1.2 * checked):
            checked = size
            values, turn, residuals = (x[..., ::-1] for x in space.ritz(count + 1))
            scale = max(scale, float(np.abs(values).max()))
            few, found = turn[:, :count], values[:count]
            if last or residuals[:count].max() <= tolerance / 2:
                vectors = space.basis @ few
                gaps = np.linalg.norm(space.images @ few - vectors * found, axis=0)
                pairs = Pairs(found, vectors, gaps, step)
                if last:
                    return pairs
                if gaps.max() <= tolerance:
                    # A block finds at most BLOCK copies of an eigenvalue: restart to find others.
                    new = not len(locked) or float((found - locked).max()) > tolerance
                    if new and _repeated(found, 10 * tolerance):
                        space.restart(found, few)
                        locked, checked = found, 0
                        width = min(BLOCK, limit - count)
                        block = space.filled(space.tail[:, :0], width, random)
                        continue
                    beyond = values[count] + residuals[count] if size > count else np.inf
                    # A Ritz value of a fresh random block bounds nothing until it settles.
                    settled = size == count or residuals[count] <= SETTLED * scale
                    if not len(locked) or (settled and beyond <= found[-1] + tolerance):
                        return pairs
            if full and limit < room:
                kept = count + max(width, count // 4)
                space.restart(values[:kept], turn[:, :kept])
                checked = 0
        block = space.off(space.tail, 64 * np.finfo(float).eps * scale)
        block = space.filled(block, min(BLOCK, limit - space.size), random)
    raise AssertionError("the last step returns")


def _repeated(values: np.ndarray, near: float) -> bool:
    """Tell whether BLOCK or more values are equal up to ``near``, and another one is lower."""
    if len(values) <= BLOCK:
        return False
    return bool((values[:-BLOCK] - values[BLOCK - 1 : -1] <= near).any()) and bool(
        values[0] - values[-1] > near
    )
