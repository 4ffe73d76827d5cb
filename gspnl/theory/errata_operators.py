"""Errata on operators and their coefficients: E1 to E3, E7 and E10."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import integrate

from gspnl.chebyshev.series import interpolation_coefficients, nodes
from gspnl.responses import RESPONSES
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.eigenvalues import all_eigenvalues
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING


def folded(
    first: np.ndarray, second: np.ndarray, third: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """W₁ − W₃ and W₂ + 2 W₃."""
    return first - third, second + 2 * third


@claim(
    "e1-gsnl-is-snl",
    "gSNL is exactly SNL with other weights, for every A, symmetric or not",
    source="sec. 3.2, eqs. 10 and 11: 'generalized SNL'",
    equation=r"\mathrm{gSNL}(W_1, W_2, W_3) = \mathrm{SNL}(W_1 - W_3,\; W_2 + 2 W_3)",
    tolerance=1e-12,
    because="the same products in another order",
    erratum="E1",
    printed="the third term adds filters: {1, 1 − λ, 1 − 2λ} spans 3 dimensions; missing ones",
    corrected="gSNL(W₁, W₂, W₃) = SNL(W₁ − W₃, W₂ + 2W₃); relative error",
)
def gsnl_is_snl(subject: Subject, *, fold: Any = folded) -> Measured:
    """Compare with channel matrices, on the row-normalised graph and on a row softmax."""
    Z = subject.signals()
    weights = subject.rng("fold").standard_normal((3, Z.shape[1], Z.shape[1]))
    first, second = fold(*weights)
    miss = 0.0
    for A in (subject.affinity("random_walk")[0], attention(subject)):
        full = Z @ weights[0] + A @ Z @ weights[1] + (2 * A @ Z - Z) @ weights[2]
        miss = max(miss, dense.distance(Z @ first + A @ Z @ second, full))
    lam = np.linspace(0, 2, 9)
    dimensions = np.linalg.matrix_rank(np.stack([np.ones(9), 1 - lam, 1 - 2 * lam]))
    return Measured(miss, len(Z), printed=float(3 - dimensions))


def attention(subject: Subject) -> np.ndarray:
    """Row softmax of φψᵀ of the sample, not symmetrised."""
    w_phi, w_psi = subject.embedding
    scores = (subject.sample @ w_phi) @ (subject.sample @ w_psi).T
    A = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(A / A.sum(1, keepdims=True))


def printed_classes(k: np.ndarray) -> np.ndarray:
    """Index of the term (I, A, 2A − I) with coefficient θ_k, as printed: k%4 = 0; 1 or 2; 3."""
    return np.asarray(np.array([0, 1, 1, 2])[k % 4])


def corrected_classes(k: np.ndarray) -> np.ndarray:
    """Index of the term with coefficient θ_k, corrected: k%4 = 0; k odd; k%4 = 2."""
    return np.asarray(np.array([0, 1, 2, 1])[k % 4])


@claim(
    "e2-period-four",
    "in the full-order operator A takes the odd coefficients, and 2A − I those with k%4 = 2",
    source="sec. 3.2, eq. 10",
    equation=r"\sum_k \theta_k T_k(A) = \hat\theta_1 I + \hat\theta_2 A + \hat\theta_3 (2A - I)",
    tolerance=1e-10,
    because="the recurrence accumulates rounding linearly over 12 steps",
    erratum="E2",
    printed="θ̂₂ sums k%4 ∈ {1, 2} and θ̂₃ k%4 = 3; relative error",
    corrected="θ̂₂ sums odd k and θ̂₃ k%4 = 2; relative error",
)
def classes(subject: Subject, *, rule: Any = corrected_classes) -> Measured:
    """Compare with random coefficients of order 11 on a graph of groups, A² = A."""
    n = len(subject.sample)
    A, Z = dense.partition(n, max(1, min(3, n - 1))), subject.signals()
    theta = subject.rng("classes").standard_normal(12)
    truth = sum(t * (T @ Z) for t, T in zip(theta, dense.chebyshev(A, 11), strict=True))
    terms = (Z, A @ Z, 2 * A @ Z - Z)

    def miss(which: Any) -> float:
        sums = np.bincount(which(np.arange(12)), theta, 3)
        value = sum(s * term for s, term in zip(sums, terms, strict=True))
        return dense.distance(np.asarray(value), np.asarray(truth))

    return Measured(miss(rule), n, printed=miss(printed_classes))


@claim(
    "e3-sign",
    "with λmax = 2 the scaled Laplacian is −A",
    source="sec. 3.1, below eq. 5: 'which makes L̃ = A'",
    equation=r"\tilde L = 2L/\lambda_{\max} - I = -A",
    tolerance=1e-10,
    because=ROUNDING,
    erratum="E3",
    printed="L̃ = A; relative error",
    corrected="L̃ = −A (learned θ absorb the sign, prescribed θ do not); relative error",
)
def sign(subject: Subject, *, scaled: Any = lambda A: -A) -> Measured:
    """Compare with L̃ by its definition, and with a heat filter of order 30 with prescribed θ."""
    A, change = subject.affinity("random_walk")
    true = 2 * (np.eye(len(A)) - A) / 2 - np.eye(len(A))
    Z = subject.signals()
    lam, U, inverse = subject.modes("random_walk")
    truth = U @ (np.exp(-2 * lam)[:, None] * (inverse @ Z))
    theta = interpolation_coefficients(np.exp(-2 * (1 + nodes(31))))

    def miss(matrix: np.ndarray) -> float:
        terms = dense.chebyshev(matrix, 30)
        value = sum(t * (T @ Z) for t, T in zip(theta, terms, strict=True))
        return max(dense.distance(matrix, true), dense.distance(np.asarray(value), truth, change))

    return Measured(miss(scaled(A)), len(A), printed=miss(A))


def node_mean(g: Any) -> float:
    """(1/n) Σ ω at the n Chebyshev nodes, n = 32."""
    return float(g(1 + nodes(32)).mean())


@claim(
    "e7-first-coefficient",
    "θ₀ is the mean of ω over Chebyshev nodes: not twice that, and not over the eigenvalues",
    source="sec. 3.1: 'its analytic solution: θ₀ = (2/N) Σ ω_j'",
    equation=r"\theta_0 = \tfrac1n \sum_j \omega(\lambda_j) , \quad "
    r"\lambda_j = 1 + \cos\tfrac{(j + 1/2) \pi}{n}",
    tolerance=1e-8,
    because="error of adaptive quadrature: at most 1.5e-8, usually 1e-13",
    erratum="E7",
    printed="θ₀ = (2/N) Σ ω(λ_j) over the graph's N eigenvalues; error",
    corrected="θ₀ = (1/n) Σ ω over n Chebyshev nodes; error",
)
def first_coefficient(subject: Subject, *, mean: Any = node_mean) -> Measured:
    """Compare with (1/π) ∫ ω(1 + cos t) dt, for heat and for the identity filter."""
    lam = all_eigenvalues(subject.graph("random_walk").spectrum())
    worst = printed = 0.0
    for g in (RESPONSES["heat"](1.0), RESPONSES["snl"](1.0, 0.0)):
        area = integrate.quad(lambda t, g=g: g(np.array([1 + np.cos(t)]))[0], 0, np.pi)[0] / np.pi
        worst = max(worst, abs(mean(g) - area))
        printed = max(printed, abs(2 * float(g(lam).mean()) - area))
    return Measured(worst, len(lam), printed=printed)


def stage_weights(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W₁ = −W, W₂ = W."""
    return -W, W


@claim(
    "e10-stage",
    "SNL is NS for W₁ = −W and W₂ = W, and only where D = I",
    source="sec. 3.1 and fig. 1: 'degrades into NS when W₁ = −W₂ = W'",
    equation=r"Z W_1 + A Z W_2 = (A - D_A) Z W , \quad D_A = I",
    tolerance=1e-10,
    because=ROUNDING,
    erratum="E10",
    printed="W₁ = −W₂ = W; the smaller relative error, before or after row normalisation",
    corrected="W₁ = −W₂ = −W on the row-normalised A; relative error",
)
def stage(subject: Subject, *, weights: Any = stage_weights) -> Measured:
    """Compare with channel matrices, on W and on D⁻¹W."""
    A, _ = subject.affinity("random_walk")
    raw = subject.weights()
    Z = subject.signals()
    W = subject.rng("stage").standard_normal((Z.shape[1], Z.shape[1]))

    def miss(M: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
        truth = (M @ Z - M.sum(1)[:, None] * Z) @ W
        return dense.distance(Z @ first + M @ Z @ second, truth)

    return Measured(miss(A, *weights(W)), len(A), printed=min(miss(A, W, -W), miss(raw, W, -W)))
