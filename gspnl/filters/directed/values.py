"""Eigenvalues and singular values of a directed A, by products or all of them."""

from __future__ import annotations

import numpy as np

from gspnl._base.effort import work
from gspnl._base.products import Products
from gspnl.errors import ConvergenceError
from gspnl.filters.directed.core import Part, StoredCore, matrix_of
from gspnl.filters.directed.krylov import Leading, by_modulus, leading

LARGEST = 8192  # nodes up to which they are computed where Arnoldi does not converge
EIGVALS = 12  # operations of all eigenvalues of an N × N matrix, by N³, in units of products
TOL = 1e-11  # residual of an eigenvector, by the size of A


def eigenvalues(
    products: Products, part: Part | None, k: int, dense: int, steps: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Return μ, first 1, a basis with their vectors, the residual, and whether μ are complete."""
    n = products.n
    none = np.zeros((n, 0))
    if n > dense:
        most = steps or (max(40, n // 16) if n <= LARGEST else 400)
        found = _arnoldi(products, part, k, most, seed)
        if found.converged or steps:
            mu = found.eigenvalues
            return _one_first(mu, part is not None), found.basis, found.residual, False
        if n > LARGEST:
            raise ConvergenceError(
                f"{k} eigenvalues of largest modulus did not settle in {found.products} products "
                f"(residual {found.residual:.1e}): their moduli lie too close together; pass "
                "another k=, or look at graph.directed_spectrum(power=) of a power"
            )
    instead = "pass another k=, whose eigenvalues are separated"
    with work(f"all eigenvalues of {n:,} nodes", EIGVALS * float(n) ** 3, instead=instead):
        mu = np.linalg.eigvals(matrix_of(products)).astype(complex)
    return _one_first(mu, False), none, 0.0, True


def _arnoldi(products: Products, part: Part | None, k: int, steps: int, seed: int) -> Leading:
    n = products.n
    if part is None:
        return leading(products.apply, n, k, tol=TOL, seed=seed, steps=steps)
    return leading(part.apply, n, k - 1, known=part.root, tol=TOL, seed=seed, steps=steps)


def _one_first(mu: np.ndarray, left_out: bool) -> np.ndarray:
    """Sort μ by descending modulus, with the eigenvalue 1 of the constant mode in front."""
    if not left_out:
        mu = np.delete(mu, int(np.argmin(np.abs(mu - 1))))
    return np.concatenate([[1.0 + 0.0j], mu[by_modulus(mu)]])


def singular_values(
    part: Part, count: int, whole: bool, steps: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the leading singular values of B, σ₁ = 1 first, vectors of the others, the error."""
    if isinstance(part, StoredCore) and whole:
        left, sigma, right = np.linalg.svd(part.matrix)
        some = min(24, part.n - 1)
        vectors = np.hstack([left[:, :some], right[:some].T])
        return np.append(1.0, sigma[:-1])[:count], vectors, 0.0
    found = leading(
        lambda Z: part.transpose(part.apply(Z)), part.n, count - 1, known=part.root, tol=TOL,
        seed=seed, steps=steps or 400,
    )  # fmt: skip
    left, sigma, right = np.linalg.svd(part.apply(found.basis), full_matrices=False)
    vectors = np.hstack([left[:, :24], (found.basis @ right[:24].T)])
    sigma = np.append(1.0, sigma)[:count]
    error = 0.0 if found.converged else found.residual / max(float(sigma[-1]), TOL)
    return sigma, vectors, error if error > 1e-10 else 0.0
