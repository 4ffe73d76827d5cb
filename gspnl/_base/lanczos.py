"""Block Lanczos on a symmetric operator: the ends of its spectrum, its density, its top mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, constant, detached, eps, like, namespace, transpose


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
    project: Callable[[Array], Array] = lambda block: block,
    done: Callable[[np.ndarray, np.ndarray], bool],
    steps: int,
) -> Ritz:
    """Grow a block Krylov basis, fully reorthogonalised, until ``done(values, residuals)``.

    A block misses an extreme eigenvector only if every one of its random columns does; a single
    start may settle on the second one.

    Parameters
    ----------
    apply : callable
        A symmetric operator on arrays of shape (N, b).
    start : array of shape (N, b)
        Random columns.
    project : callable
        Takes a block off the directions that the run must not see.
    done : callable
        Told the Ritz values, ascending, and their residuals.
    steps : int
        The most applications to make.
    """
    xp = namespace(start)
    rounding = eps(start)
    size = float(np.abs(constant(start)).max(initial=0.0))
    block = _orthonormal(project(detached(start)), 1e-6 * size)
    width = block.shape[-1]
    if width == 0:
        return Ritz(np.zeros(1), np.zeros(1), np.ones(1), xp.sum(start, axis=-1, keepdims=True))
    basis, images = block, detached(apply(block))
    for step in range(1, steps + 1):
        middle = constant(transpose(basis) @ images).astype(np.float64)
        values, vectors = np.linalg.eigh((middle + middle.T) / 2)
        gaps = constant(images @ like(vectors, start) - basis @ like(vectors * values, start))
        residuals = np.sqrt((gaps.astype(np.float64) ** 2).sum(0))
        size = max(1.0, float(np.abs(values).max()))
        block = images[:, -width:]
        # Twice is enough, if the second time is of unit length: what then shrinks was rounding.
        for negligible in (64 * rounding * size, 0.5):
            block = project(block - basis @ (transpose(basis) @ block))
            block = _orthonormal(block, negligible)
        if step == steps or block.shape[-1] == 0 or done(values, residuals):
            break
        width = block.shape[-1]
        basis = xp.concat([basis, block], axis=-1)
        images = xp.concat([images, detached(apply(block))], axis=-1)
    first = vectors[: start.shape[-1]]
    top = basis @ like(vectors[:, -1:], start)
    return Ritz(values, residuals + rounding * size, (first**2).mean(0), top)


def _orthonormal(block: Array, negligible: float = 0.0) -> Array:
    """An orthonormal basis of the columns, without those that are negligible."""
    xp = namespace(block)
    if block.shape[-1] == 0:
        return block
    left, sizes, _ = xp.linalg.svd(block, full_matrices=False)
    kept = np.nonzero(constant(sizes) > max(negligible, 0.0))[0]
    return xp.take(left, xp.asarray(kept), axis=-1)
