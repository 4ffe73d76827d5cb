"""Block Lanczos for a symmetric operator, fully reorthogonalised, with and without restarts.

A product with sixteen columns costs little more than one with a single column where W is computed
tile by tile, so a block finds many pairs in few sweeps over all pairs of nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, detached, eps, is_numpy, like, namespace

BLOCK = 16  # columns of a block
SETTLED = 1e-2  # residual, relative to the largest |μ|, from which a Ritz value is trusted
WIDEST = 1024  # largest number of columns of a basis, unless ``count`` needs more
BYTES = 1 << 30  # largest memory of a basis and its images, unless ``count`` needs more
FIRST, GROWTH = 8, 1.35  # size of a basis at the first check of its Ritz values, and their ratio
RESOLVED = 1e-7  # singular values, relative to the largest, that a Gram matrix resolves
TRIED = 0.1  # share of another way's operations after which a run may give way to it
EIGH = 7  # operations of all eigenpairs of an n × n matrix, by n³, in units of matrix products


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
        self.scale = 0.0  # largest entry of Bᵀ S B in magnitude, at most ‖S‖
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
        self.scale = max(self.scale, float(np.abs(small).max()))
        self.tail, self.newest, self.size = image - known_and_basis @ heads, new, new.stop

    def ritz(self, count: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return Ritz values, ascending, coefficients of their vectors in B, and residual norms.

        The residuals of the ``count`` largest values are computed, or of all for 0, from the newest
        images alone.
        """
        small = self._small[: self.size, : self.size]
        values, turn = np.linalg.eigh((small + small.T) / 2)
        tail = self.values(self.tail).astype(np.float64, copy=False)
        heads = turn[self.newest, -count:]
        if len(heads) == 1:
            return values, turn, _length(tail) * np.abs(heads[0])
        return values, turn, np.linalg.norm(tail @ heads, axis=0)

    def off(self, block: Array, negligible: float) -> Array:
        """Return an orthonormal basis of the components of a block outside the span of B.

        Directions with singular values of at most ``negligible`` are dropped. Gram matrices take a
        tenth of the time of an SVD; directions that one Gram matrix does not resolve go into the
        next one.
        """
        xp, dtype, place = self.xp, block.dtype, block.device
        known_and_basis = self._columns[:, : self.fixed + self.size]
        single = block.shape[1] == 1
        before = _length(block) if single else 0.0
        # In the second pass columns have length 1; one that becomes shorter than ½ is rounding.
        for least in (negligible, 0.5):
            rest = block - known_and_basis @ (known_and_basis.mT @ block)
            rest = xp.astype(rest, xp.float64, copy=False)
            block = rest[:, :0]
            if single:
                size = _length(rest)
                block = xp.astype(rest / size if size > least else block, dtype, copy=False)
                if size > 0.5 * before or size <= least:
                    break  # little was cancelled: no second pass is needed
                continue
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


def _length(column: Array) -> float:
    """Compute the norm of an array of shape (n, 1)."""
    return math.sqrt(float((column.mT @ column)[0, 0]))


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
    space = Krylov(apply, detached(known), max(32, 8 * start.shape[1]))
    block = space.off(start, 1e-6 * float(np.abs(space.values(start)).max(initial=0.0)))
    width, rounding, checked = block.shape[1], eps(start), FIRST / GROWTH
    if width == 0:
        zero = np.zeros(1)
        return Ritz(zero, zero, np.ones(1), space.xp.sum(start, axis=-1, keepdims=True))
    for step in range(1, steps + 1):
        space.extend(block)
        if space.size >= GROWTH * checked or step == steps:
            checked = space.size
            values, turn, residuals = space.ritz()
            if step == steps or done(values, residuals):
                break
        block = space.off(space.tail, 64 * rounding * max(1.0, space.scale))
        if block.shape[1] == 0:
            values, turn, residuals = space.ritz()
            break
    floor = rounding * max(1.0, float(np.abs(values).max()))
    vectors = space.basis @ like(turn, start)
    gaps = space.values(space.images @ like(turn, start) - vectors * like(values, start))
    residuals = np.linalg.norm(gaps.astype(np.float64), axis=0) + floor
    return Ritz(values, residuals, (turn[:width] ** 2).mean(0), vectors[:, -1:])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Eigenvalues, descending, with orthonormal vectors and residuals ‖S v − μ v‖.

    ``products`` is the number of blocks to which the operator was applied; ``found`` tells whether
    all pairs asked for meet the tolerance, ``spent`` is the number of operations.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int
    found: bool
    spent: float


def largest(
    apply: Callable[[np.ndarray], np.ndarray],
    random: Callable[[int], np.ndarray],
    known: np.ndarray,
    *,
    room: int,
    count: int,
    tolerance: float,
    steps: int,
    relative: bool = False,
    product: float = 0.0,
    budget: float = math.inf,
    alternative: float = math.inf,
    progress: Any = None,
) -> Pairs:
    """Find the ``count`` largest eigenvalues of a symmetric operator, with thick restarts [1]_.

    The run ends early, with what it has, once its operations exceed ``budget``, or once they are a
    share of those of the ``alternative`` and the decay of the residuals forecasts more than those.

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
    relative : bool
        Whether the tolerance is relative to each eigenvalue; the operator is positive definite.
    product : float
        Operations of a product with a block, in units of matrix products.
    budget, alternative : float
        Largest number of operations, and that of another way to the same pairs.
    progress : object, optional
        Its attribute ``done`` is set to the number of each step.

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
    spent = 0.0
    block = space.filled(space.tail, width, random)
    for step in range(1, steps + 1):
        space.extend(block)
        if progress is not None:
            progress.done = step
        size, width = space.size, block.shape[1]
        spent += product + 12 * len(known) * size * width
        last, full = size == room or step == steps, size + width > limit
        last |= spent > budget
        if last or full or (size >= count and size >= 1.2 * checked):
            checked = size
            values, turn, residuals = (x[..., ::-1] for x in space.ritz(count + 1))
            spent += EIGH * size**3
            scale = max(scale, float(np.abs(values).max()))
            few, found = turn[:, :count], values[:count]
            allowed = tolerance * found if relative else np.full(len(found), tolerance)
            worst = float((residuals[:count] / allowed).max()) * tolerance
            if spent > TRIED * alternative and worst > tolerance:
                # Residuals fall by a factor a step or faster; steps cost more as columns are added.
                ratio = math.log(tolerance) / math.log(min(worst, 0.5))
                last |= spent * ratio**1.5 > alternative
            if last or worst <= tolerance / 2:
                vectors = space.basis @ few
                gaps = np.linalg.norm(space.images @ few - vectors * found, axis=0)
                pairs = Pairs(found, vectors, gaps, step, len(found) == count, spent)
                if last:
                    good = pairs.found and bool((gaps <= allowed).all())
                    marks = np.log(found) if relative and good else found
                    sure = size == room or not _repeated(marks, 10 * tolerance)
                    return replace(pairs, found=good and sure)
                if (gaps <= allowed).all():
                    # A block finds at most BLOCK copies of an eigenvalue: restart to find others.
                    marks = np.log(found) if relative else found
                    new = not len(locked) or float((marks - locked).max()) > tolerance
                    if new and _repeated(marks, 10 * tolerance):
                        space.restart(found, few)
                        locked, checked = marks, 0
                        width = min(BLOCK, limit - count)
                        block = space.filled(space.tail[:, :0], width, random)
                        continue
                    beyond = values[count] + residuals[count] if size > count else np.inf
                    # A Ritz value of a fresh random block bounds nothing until it settles.
                    settled = size == count or residuals[count] <= SETTLED * scale
                    if not len(locked) or (settled and beyond <= found[-1] + allowed[-1]):
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
