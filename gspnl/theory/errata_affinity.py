"""Errata on the affinity: E5 and E6, and K1 of the authors' code."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.subject import Subject


def modes_and_inverse(U: np.ndarray) -> np.ndarray:
    """U⁻¹."""
    return np.asarray(np.linalg.inv(U))


@claim(
    "e5-transpose",
    "D⁻¹W is not symmetric, so its modes are not orthogonal: Theorem 1 needs U⁻¹",
    source="sec. 3.1, 'A should be a symmetric, non-negative, row-normalized matrix', D⁻¹Ā; eq. 4",
    equation=r"F(A, Z) = U\, \Omega\, U^{-1} Z \ne U\, \Omega\, U^\top Z",
    tolerance=1e-9,
    because="rounding times the condition number of U, which is that of √d",
    erratum="E5",
    printed="F = U Ω Uᵀ Z with unit columns of U; relative error",
    corrected="F = U Ω U⁻¹ Z; relative error",
)
def transpose(subject: Subject, *, inverse: Any = modes_and_inverse) -> Measured:
    """Compare NL, Ω = 1 − Λ, through U⁻¹ and through Uᵀ with A Z."""
    A, change = subject.affinity("random_walk")
    lam, U, _ = subject.modes("random_walk")
    U = U / np.linalg.norm(U, axis=0)
    Z = subject.signals()

    def miss(other: np.ndarray) -> float:
        return dense.distance(U @ ((1 - lam)[:, None] * (other @ Z)), A @ Z, change)

    return Measured(miss(inverse(U)), len(A), printed=miss(U.T))


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + eˣ)."""
    return np.asarray(np.logaddexp(0, x))


@claim(
    "e6-negative",
    "raw dot products are often negative; a feature map makes the affinity non-negative",
    source="sec. 3.1, the steps that make A; sec. 3.3: 'non-negative, symmetric and normalized'",
    equation=r"\bar A_{ij} = \tfrac12 (\langle \varphi_i, \psi_j \rangle + "
    r"\langle \varphi_j, \psi_i \rangle) \ge 0",
    tolerance=0.0,
    because="a share of entries, exactly 0",
    erratum="E6",
    printed="½(M + Mᵀ) of raw dot products is non-negative; share of negative entries",
    corrected="½(M + Mᵀ) of softplus(φ) and softplus(ψ) is; share of negative entries",
)
def negative(subject: Subject, *, feature_map: Any = softplus) -> Measured:
    """Measure the share of negative entries of W on the sample."""
    w_phi, w_psi = subject.embedding
    phi, psi = subject.sample @ w_phi, subject.sample @ w_psi

    def share(left: np.ndarray, right: np.ndarray) -> float:
        M = left @ right.T
        return float((M + M.T < 0).mean())

    mapped = share(feature_map(phi), feature_map(psi))
    return Measured(mapped, len(phi), printed=share(phi, psi))


def symmetrised(M: np.ndarray) -> np.ndarray:
    """½(M + Mᵀ)."""
    return np.asarray((M + M.T) / 2)


@claim(
    "k1-softmax",
    "a row softmax that is not symmetrised has no symmetric core: it violates detailed balance, "
    "which D⁻¹½(M + Mᵀ) satisfies",
    source="sec. 3.1, 'we make the matrix A symmetric' (the authors' first code does not)",
    equation=r"d_i A_{ij} = d_j A_{ji}",
    tolerance=1e-12,
    because="one rounding per entry",
    erratum="K1",
    printed="detailed balance of the row softmax; relative error",
    corrected="detailed balance of the symmetrised weights; relative error",
)
def softmax(subject: Subject, *, symmetrise: Any = symmetrised) -> Measured:
    """Measure ‖D A − (D A)ᵀ‖ / ‖D A‖ of both affinities."""
    w_phi, w_psi = subject.embedding
    scores = (subject.sample @ w_phi) @ (subject.sample @ w_psi).T
    M = np.exp(scores - scores.max())

    def miss(W: np.ndarray) -> float:
        d = W.sum(1)
        flow = d[:, None] * (W / d[:, None])
        return float(np.linalg.norm(flow - flow.T) / np.linalg.norm(flow))

    return Measured(miss(symmetrise(M)), len(M), printed=miss(M))
