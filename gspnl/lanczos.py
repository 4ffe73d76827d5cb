"""Lanczos on a symmetric operator: the ends of its spectrum, its density, its separated modes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl._array import Array, eps, like, namespace, transpose


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
    done: Callable[[np.ndarray, np.ndarray], bool],
    steps: int,
) -> Ritz:
    """Run Lanczos with full reorthogonalisation until ``done(values, residuals)``.

    Parameters
    ----------
    apply : callable
        A symmetric operator on arrays of shape (N, 1).
    start : array of shape (N, 1)
        A random vector.
    done : callable
        Told the Ritz values, ascending, and their residuals.
    steps : int
        The most steps to take.
    """
    xp = namespace(start)
    rounding = eps(start)
    norm = float(xp.sqrt(xp.sum(start * start)))
    if norm == 0.0:
        return Ritz(np.zeros(1), np.zeros(1), np.ones(1), start)
    basis = start / norm
    alphas: list[float] = []
    betas: list[float] = []
    while True:
        q = basis[:, -1:]
        w = apply(q)
        alphas.append(float(xp.sum(q * w)))
        for _ in range(2):  # twice is enough
            w = w - basis @ (transpose(basis) @ w)
        betas.append(float(xp.sqrt(xp.sum(w * w))))
        tridiagonal = np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1)
        values, vectors = np.linalg.eigh(tridiagonal)
        exhausted = betas[-1] <= 16 * rounding * max(1.0, float(np.abs(values).max()))
        residuals = np.abs(vectors[-1]) * betas[-1]
        if exhausted or len(alphas) >= steps or done(values, residuals):
            top = basis @ like(vectors[:, -1:], start)
            return Ritz(values, residuals + rounding, vectors[0] ** 2, top)
        basis = xp.concat([basis, w / betas[-1]], axis=-1)
