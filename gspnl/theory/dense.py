"""Dense NumPy formulas from the definitions, as references for the checks."""

from __future__ import annotations

import numpy as np

Matrix = np.ndarray


def dot_weights(X: Matrix, w_phi: Matrix, w_psi: Matrix) -> Matrix:
    """W = ½(M + Mᵀ) with M = softplus(X W_φ) softplus(X W_ψ)ᵀ."""
    M = np.logaddexp(0, X @ w_phi) @ np.logaddexp(0, X @ w_psi).T
    return np.asarray((M + M.T) / 2)


def normalized(W: Matrix, normalization: str) -> tuple[Matrix, np.ndarray]:
    """A = diag(l) W diag(r), and the diagonal of T = √(l/r)."""
    d = W.sum(1)
    if normalization == "random_walk":
        return W / d[:, None], 1 / np.sqrt(d)
    s = 1 / np.sqrt(d)
    if normalization == "bistochastic":  # the fixed point of s∘(W s) = 1
        for _ in range(2000):
            if np.abs(s * (W @ s) - 1).max() < 1e-14:
                break
            s = np.sqrt(s / (W @ s))
    return s[:, None] * W * s, np.ones(len(d))


def modes(A: Matrix, change: np.ndarray) -> tuple[np.ndarray, Matrix, Matrix]:
    """λ ascending, U = T V and U⁻¹ = Vᵀ T⁻¹ of L = I − A."""
    S = A / change[:, None] * change
    mu, V = np.linalg.eigh((S + S.T) / 2)
    V = V[:, ::-1]
    return 1 - mu[::-1], change[:, None] * V, V.T / change[None, :]


def distance(value: Matrix, truth: Matrix, change: np.ndarray | float = 1.0) -> float:
    """‖T⁻¹(value − truth)‖ / ‖T⁻¹ truth‖ (Frobenius)."""
    weigh = np.reshape(change, (-1, 1))
    gap, whole = np.linalg.norm((value - truth) / weigh), np.linalg.norm(truth / weigh)
    return float(gap / whole) if whole else float(gap)


def chebyshev(A: Matrix, order: int) -> list[Matrix]:
    """T_0(A) … T_K(A) by the three-term recurrence."""
    terms = [np.eye(len(A)), A]
    while len(terms) <= order:
        terms.append(2 * A @ terms[-1] - terms[-2])
    return terms[: order + 1]


def partition(n: int, parts: int) -> Matrix:
    """A with A² = A: the mean over each of ``parts`` groups of nodes."""
    group = np.arange(n) * parts // n
    same = (group[:, None] == group).astype(np.float64)
    return np.asarray(same / same.sum(1, keepdims=True))
