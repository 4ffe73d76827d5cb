"""Spectrum of a directed A: complex eigenvalues, singular values and numerical range."""

from __future__ import annotations

import math

import numpy as np

from gspnl._base.blas import on_one_thread
from gspnl._base.products import Products
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.filters.directed.core import (
    Core,
    MatrixProducts,
    Part,
    PowerProducts,
    StoredCore,
    matrix_of,
    positive_core,
)
from gspnl.filters.directed.krylov import whole_pairs
from gspnl.filters.directed.numerical_range import ANGLES, NumericalRange, numerical_range
from gspnl.filters.directed.record import DirectedSpectrum
from gspnl.filters.directed.values import eigenvalues, singular_values

DENSE = 512  # nodes up to which all eigenvalues are computed
NORMED = ("sigma", "departure", "numerical_range", "numerical_radius", "chung_gap")
ROUNDING = 1e-13  # of Σσ² − Σ|μ|²
ROWS = 1e-5  # largest distance of a sum of a row from 1


@on_one_thread
def directed_spectrum_of(
    products: Products,
    pi: np.ndarray | None,
    k: int = 16,
    *,
    power: int = 1,
    dense: int = DENSE,
    steps: int | None = None,
    angles: int = ANGLES,
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
    steps : int, optional
        Most block products for eigenvalues, and as many for singular values: numbers that have not
        settled by then are returned with their residual in ``reasons``. None: until they settle, or
        else all of them are computed.
    angles : int
        Directions of the numerical range; 1 leaves it out, but for ``chung_gap``.
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
    angles = whole_number("angles", angles, 1)
    steps = None if steps is None else whole_number("steps", steps, 1)
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
    mu, basis, residual, complete = eigenvalues(products, part, max(k, 2), dense, steps, seed)
    count = whole_pairs(mu, k)
    reasons: dict[str, str] = {}
    if residual > _tolerance(steps):
        reasons["eigenvalues"] = f"residuals of up to {residual:.1e} after {steps} products"
    if part is None:
        assert isinstance(found, str)
        reasons |= dict.fromkeys(
            (*NORMED, *(["stationary"] if pi is None else [])), reason or found
        )
        return DirectedSpectrum(
            mu[:count], None, None, None, None, pi, _gap(mu), None, power, complete, residual,
            reasons,
        )  # fmt: skip
    if complete and isinstance(part, Core):
        part = part.stored()
    sigma, vectors, error = singular_values(part, count, n <= dense, steps, seed)
    if error:
        reasons["sigma"] = f"known to ±{error:.1e}: their squares lie too close"
    ranged = numerical_range(part, np.hstack([vectors, basis[:, :32]])[:, : n - 1], seed, angles)
    if not ranged.converged:
        why = f"known to ±{ranged.residual:.1e}: its eigenvalues lie too close"
        reasons |= dict.fromkeys(("numerical_range", "numerical_radius", "chung_gap"), why)
    if angles == 1:
        reasons |= dict.fromkeys(("numerical_range", "numerical_radius"), "left out: angles=1")
    if isinstance(part, StoredCore) and complete:
        squares = 1 + float(np.linalg.norm(part.matrix)) ** 2
        excess = squares - float((np.abs(mu) ** 2).sum())
    else:
        reasons["departure"] = f"of the {count} leading eigenvalues and singular values"
        squares = float((sigma**2).sum())
        excess = squares - float((np.abs(mu[:count]) ** 2).sum())
    return DirectedSpectrum(
        mu[:count],
        sigma,
        math.sqrt(excess) if excess > ROUNDING * squares else 0.0,
        None if angles == 1 else ranged.boundary,
        None if angles == 1 else ranged.radius,
        pi,
        _gap(mu),
        _chung_gap(ranged),
        power,
        complete,
        residual,
        reasons,
    )


def _tolerance(steps: int | None) -> float:
    """Return the residual above which eigenvalues count as unsettled, which ``steps`` allow."""
    return math.inf if steps is None else 1e-8


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
