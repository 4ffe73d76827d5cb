"""Spectrum of a directed A: complex eigenvalues, singular values and numerical range."""

from __future__ import annotations

import math

import numpy as np

from gspnl._base.blas import on_one_thread
from gspnl._base.effort import work
from gspnl._base.products import Products
from gspnl._base.validate import whole_number
from gspnl.errors import ConvergenceError, InputError
from gspnl.filters.directed.core import (
    Core,
    MatrixProducts,
    Part,
    PowerProducts,
    StoredCore,
    matrix_of,
    positive_core,
)
from gspnl.filters.directed.krylov import Leading, by_modulus, leading, whole_pairs
from gspnl.filters.directed.numerical_range import NumericalRange, numerical_range
from gspnl.filters.directed.record import DirectedSpectrum

DENSE = 512  # nodes up to which all eigenvalues are computed
LARGEST = 8192  # nodes up to which they are computed where Arnoldi does not converge
EIGVALS = 12  # operations of all eigenvalues of an N × N matrix, by N³, in units of products
TOL = 1e-11  # residual of an eigenvector, by the size of A
ROWS = 1e-5  # largest distance of a sum of a row from 1


@on_one_thread
def directed_spectrum_of(
    products: Products,
    pi: np.ndarray | None,
    k: int = 16,
    *,
    power: int = 1,
    dense: int = DENSE,
    seed: int = 0,
    reason: str = "",
) -> DirectedSpectrum:
    """Compute the spectrum of a row-stochastic A that is known by its products.

    Parameters
    ----------
    products : Products
        A Z and Aᵀ Z in float64; :class:`~gspnl.filters.directed.MatrixProducts` for an array.
    pi : array of shape (N,), or None
        Stationary distribution, with exact zeros at transient nodes; None where it is not unique.
    k : int
        Number of eigenvalues and singular values; all of them where k ≥ N.
    power : int
        p ≥ 1: the spectrum of A^p. Where σ₂ = 1 though A mixes, σ₂(A^p) tells how fast.
    dense : int
        Nodes up to which A is stored and all eigenvalues are computed.
    seed : int
        Seed of the random starts.
    reason : str
        Why ``pi`` is None or has zeros, for ``reasons``.

    Raises
    ------
    InputError
        If rows of A do not sum to 1.
    ConvergenceError
        Where eigenvalues are not separated, and N is too large to compute all of them.
    EffortError
        Where all eigenvalues would take more than an hour.
    """
    k = min(whole_number("k", k, 1), products.n)
    power = whole_number("power", power, 1)
    seed = whole_number("seed", seed)
    n = products.n
    _check_rows(products)
    if pi is not None:
        pi = np.asarray(pi, dtype=np.float64)
    found = positive_core(products, pi)
    products = PowerProducts(products, power) if power > 1 else products
    products = MatrixProducts(matrix_of(products)) if n <= dense else products
    part: Part | None = None
    if isinstance(found, Core):
        part = Core(products, found.pi)
        part = part.stored() if n <= dense else part
    mu, basis, residual, complete = _eigenvalues(products, part, max(k, 2), dense, seed)
    count = whole_pairs(mu, k)
    reasons: dict[str, str] = {}
    if part is None:
        assert isinstance(found, str)
        why = reason or found
        names = ("sigma", "departure", "numerical_range", "numerical_radius", "chung_gap")
        reasons = dict.fromkeys((*names, *(["stationary"] if pi is None else [])), why)
        return DirectedSpectrum(
            mu[:count], None, None, None, None, pi, _gap(mu), None, power, complete, residual,
            reasons,
        )  # fmt: skip
    sigma, vectors = _singular_values(part, n if complete else count, seed)
    field_of = numerical_range(part, np.hstack([vectors, basis[:, :32]])[:, : n - 1], seed)
    if not field_of.converged:
        for name in ("numerical_range", "numerical_radius", "chung_gap"):
            reasons[name] = f"known to ±{field_of.residual:.1e}: its eigenvalues lie too close"
    m = min(len(sigma), len(mu)) if complete else count
    excess = float((sigma[:m] ** 2).sum() - (np.abs(mu[:m]) ** 2).sum())
    if not complete:
        reasons["departure"] = f"of the {count} leading eigenvalues and singular values"
    return DirectedSpectrum(
        mu[:count],
        sigma[:count],
        math.sqrt(max(0.0, excess)),
        field_of.boundary,
        field_of.radius,
        pi,
        _gap(mu),
        _chung_gap(field_of),
        power,
        complete,
        residual,
        reasons,
    )


def _gap(mu: np.ndarray) -> float:
    return min(1.0, max(0.0, 1 - float(np.abs(mu[1]))))


def _chung_gap(found: NumericalRange) -> float:
    return min(2.0, max(0.0, 1 - float(found.support[0])))


def _check_rows(products: Products) -> None:
    sums = np.asarray(products.apply(np.ones((products.n, 1))))[:, 0]
    off = np.abs(sums - 1)
    if not (off <= ROWS).all():
        row = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        raise InputError(
            f"rows of A sum to 1, and row {row} sums to {sums[row]:.6g}; divide each row by its "
            "sum, and leave out rows of zeros"
        )


def _eigenvalues(
    products: Products, part: Part | None, k: int, dense: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Return μ, first 1, a basis with their vectors, the residual, and whether μ are complete."""
    n = products.n
    none = np.zeros((n, 0))
    if n > dense:
        found = _arnoldi(products, part, k, seed)
        if found.converged:
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


def _arnoldi(products: Products, part: Part | None, k: int, seed: int) -> Leading:
    n = products.n
    steps = max(40, n // 16) if n <= LARGEST else 400
    if part is None:
        return leading(products.apply, n, k, tol=TOL, seed=seed, steps=steps)
    return leading(part.apply, n, k - 1, known=part.root, tol=TOL, seed=seed, steps=steps)


def _one_first(mu: np.ndarray, left_out: bool) -> np.ndarray:
    """Sort μ by descending modulus, with the eigenvalue 1 of the constant mode in front."""
    if not left_out:
        mu = np.delete(mu, int(np.argmin(np.abs(mu - 1))))
    return np.concatenate([[1.0 + 0.0j], mu[by_modulus(mu)]])


def _singular_values(part: Part, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading singular values of B, σ₁ = 1 first, and vectors of the others."""
    if isinstance(part, StoredCore):
        left, sigma, right = np.linalg.svd(part.matrix)
        some = min(24, part.n - 1)
        vectors = np.hstack([left[:, :some], right[:some].T])
        return np.append(1.0, sigma[:-1])[:count], vectors
    found = leading(
        lambda Z: part.transpose(part.apply(Z)), part.n, count - 1, known=part.root, tol=TOL,
        seed=seed,
    )  # fmt: skip
    left, sigma, right = np.linalg.svd(part.apply(found.basis), full_matrices=False)
    vectors = np.hstack([left[:, :24], (found.basis @ right[:24].T)])
    return np.append(1.0, sigma)[:count], vectors
