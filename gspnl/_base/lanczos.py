"""Block Lanczos on a symmetric operator: the ends of its spectrum, its density, its top mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, constant, detached, device, eps, namespace


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
    """Grow a block Krylov basis, fully reorthogonalised, until ``done(values, residuals)``.

    A block misses an extreme eigenvector only if every one of its random columns does; a single
    start may settle on the second one.

    Parameters
    ----------
    apply : callable
        A symmetric operator on arrays of shape (N, b).
    start : array of shape (N, b)
        Random columns.
    known : array of shape (N, m), optional
        Orthonormal eigenvectors of the operator, to which the basis is kept orthogonal.
    done : callable
        Called with the Ritz values, ascending, and their residuals.
    steps : int
        The most applications to make.
    """
    xp, options = namespace(start), {"dtype": start.dtype, "device": device(start)}
    # NumPy arrays are on the host and carry no gradient.
    host, free = (np.asarray,) * 2 if type(start) is np.ndarray else (constant, detached)
    rounding = eps(start)
    # The known vectors stand first in the basis; the Krylov space is all that follows them.
    basis = start[:, :0] if known is None else free(known)
    skip = basis.shape[-1]
    block = free(start)
    peak = float(np.abs(constant(start)).max(initial=0.0))
    # Twice is enough, if the second time is of unit length: what then shrinks was rounding.
    for negligible in (1e-6 * peak, 0.5):
        block = block - basis @ (basis.mT @ block)
        left, sizes, _ = xp.linalg.svd(block, full_matrices=False)
        block = left[:, : int(xp.count_nonzero(sizes > negligible))]
    width = block.shape[-1]
    if width == 0:
        return Ritz(np.zeros(1), np.zeros(1), np.ones(1), xp.sum(start, axis=-1, keepdims=True))
    basis, images = xp.concat([basis, block], axis=-1), free(apply(block))
    for step in range(1, steps + 1):
        own = basis[:, skip:]
        middle = host(own.mT @ images).astype(np.float64)
        values, vectors = np.linalg.eigh((middle + middle.T) / 2)
        turned = xp.asarray(vectors, **options)
        gaps = host(images @ turned - own @ xp.asarray(vectors * values, **options))
        residuals = np.sqrt((gaps.astype(np.float64) ** 2).sum(0))
        size = max(1.0, float(np.abs(values).max()))
        block = images[:, -width:]
        for negligible in (64 * rounding * size, 0.5):
            block = block - basis @ (basis.mT @ block)
            left, sizes, _ = xp.linalg.svd(block, full_matrices=False)
            block = left[:, : int(xp.count_nonzero(sizes > negligible))]
        if step == steps or block.shape[-1] == 0 or done(values, residuals):
            break
        width = block.shape[-1]
        basis = xp.concat([basis, block], axis=-1)
        images = xp.concat([images, free(apply(block))], axis=-1)
    first = vectors[: start.shape[-1]]
    top = own @ turned[:, -1:]
    return Ritz(values, residuals + rounding * size, (first**2).mean(0), top)
