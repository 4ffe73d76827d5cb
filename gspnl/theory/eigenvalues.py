"""Eigenvalues of a fully-connected graph, and its steady state."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING


def all_eigenvalues(spectrum: Any) -> np.ndarray:
    """All N eigenvalues, each repeated by its multiplicity."""
    return np.repeat(np.asarray(spectrum.eigenvalues), spectrum.multiplicities)


def condition_number(d: np.ndarray) -> float:
    """Condition number of T, by which rounding errors of D⁻¹W exceed those of S."""
    return float(np.sqrt(d.max() / d.min()))


@claim(
    "spectrum-real",
    "D⁻¹W is not symmetric and yet has N real eigenvalues, those of its symmetric core",
    source="sec. 3.1: 'non-singular eigenvalue and eigenvector'",
    equation=r"A = T S T^{-1} , \quad S = S^\top",
    tolerance=1e-8,
    because="rounding of a general eigensolver, 1e-13 times the condition of the eigenvectors of "
    "the repeated λ = 1",
)
def spectrum_real(subject: Subject, *, eigenvalues: Any = all_eigenvalues) -> Measured:
    """Compare gspnl's λ with a general eigensolver on D⁻¹W."""
    A, _ = subject.affinity("random_walk")
    mu = np.linalg.eigvals(A)
    lam = np.sort(eigenvalues(subject.graph("random_walk").spectrum()))
    gap = max(np.abs(mu.imag).max(), np.abs(np.sort(1 - mu.real) - lam).max())
    return Measured(float(gap) / condition_number(subject.weights().sum(1)), len(A))


def laplacian(A: np.ndarray) -> np.ndarray:
    """L = I − A."""
    return np.asarray(np.eye(len(A)) - A)


@claim(
    "spectrum-range",
    "λ lies in [0, 2], and λ = 0 belongs to the constant signal",
    source="sec. 3.1, the random-walk Laplacian",
    equation=r"0 = \lambda_1 \le \dots \le \lambda_N \le 2 , \quad L 1 = 0",
    tolerance=1e-10,
    because=ROUNDING,
)
def spectrum_range(subject: Subject, *, operator: Any = laplacian) -> Measured:
    """Measure the extreme eigenvalues of the core, and L 1."""
    A, change = subject.affinity("random_walk")
    L = operator(A)
    lam = np.linalg.eigvalsh(L / change[:, None] * change)
    miss = max(-lam[0], lam[-1] - 2, float(np.abs(L @ np.ones(len(A))).max()), 0.0)
    return Measured(float(miss), len(A))


def square_roots(d: np.ndarray) -> np.ndarray:
    """Diagonal of D^½, which maps the modes of D⁻¹W to those of D^-½ W D^-½."""
    return np.asarray(np.sqrt(d))


@claim(
    "normalisations-similar",
    "D⁻¹W and D^-½ W D^-½ have the same λ, and D^½ maps the modes of the first to those of the "
    "second",
    source="sec. 3.1, the normalisation",
    equation=r"D^{1/2} (D^{-1} W) D^{-1/2} = D^{-1/2} W D^{-1/2}",
    tolerance=1e-9,
    because=ROUNDING + ", and that of the eigenvectors",
)
def similar(subject: Subject, *, change: Any = square_roots) -> Measured:
    """Insert D^½ times the modes of D⁻¹W into the eigen-equation of D^-½ W D^-½."""
    spectrum = subject.graph("random_walk").spectrum()
    k = min(4, spectrum.n_nodes)
    modes = change(subject.weights().sum(1))[:, None] * np.asarray(spectrum.modes(k))
    A, _ = subject.affinity("symmetric")
    lam = all_eigenvalues(spectrum)
    other = all_eigenvalues(subject.graph("symmetric").spectrum())
    residual = (np.eye(len(A)) - A) @ modes - modes * lam[:k]
    residual = np.linalg.norm(residual, axis=0) / np.linalg.norm(modes, axis=0)
    return Measured(float(max(residual.max(), np.abs(lam - other).max())), len(A))


def adjoint(Z: np.ndarray, Y: np.ndarray) -> float:
    """⟨Z, Y⟩."""
    return float((Z * Y).sum())


@claim(
    "bistochastic-scaling",
    "symmetric Sinkhorn gives a graph whose rows sum to 1 and whose A is symmetric",
    source="sec. 3.1: 'symmetric, non-negative, row-normalized'",
    equation=r"A 1 = 1 , \quad \langle A Z, Y \rangle = \langle Z, A Y \rangle",
    tolerance=1e-10,
    because="Sinkhorn stops at row sums 1.4e-14 away from 1",
)
def bistochastic_scaling(
    subject: Subject, *, normalization: str = "bistochastic", product: Any = adjoint
) -> Measured:
    """Measure row sums and the adjoint test on random signals, on all nodes."""
    graph = subject.graph(normalization, everything=True)
    n = graph.n_nodes
    Z, Y = subject.signals(n), subject.rng("adjoint").standard_normal((n, 3))
    rows = float(np.abs(graph.apply(np.ones(n)) - 1).max())
    size = float(np.linalg.norm(Z) * np.linalg.norm(Y))
    uneven = abs(product(graph.apply(Z), Y) - product(Z, graph.apply(Y))) / size
    return Measured(max(rows, uneven), n)


def proportional(d: np.ndarray) -> np.ndarray:
    """π ∝ d."""
    return np.asarray(d / d.sum())


@claim(
    "steady-state",
    "A preserves the constant signal, and the mean weighted by π ∝ d",
    source="sec. 3.2, steady-state analysis",
    equation=r"A 1 = 1 , \quad \pi^\top A = \pi^\top , \quad \pi \propto d",
    tolerance=1e-10,
    because=ROUNDING,
)
def steady_state(subject: Subject, *, stationary: Any = proportional) -> Measured:
    """Compare A 1 with 1 and πᵀ A Z with πᵀ Z, on all nodes."""
    graph = subject.graph("random_walk", everything=True)
    n = graph.n_nodes
    Z = subject.signals(n)
    pi = stationary(np.asarray(graph.degrees))
    rows = float(np.abs(graph.apply(np.ones(n)) - 1).max())
    # Relative to the π-weighted norm of Z.
    kept = np.abs(pi @ graph.apply(Z) - pi @ Z) / np.sqrt(np.abs(pi) @ Z**2)
    return Measured(max(rows, float(kept.max())), n)


@claim(
    "narrow-band",
    "the spectrum of a fully-connected graph is {0} and a narrow band: 1024 normal nodes in 32 "
    "dimensions, rbf with σ² = 32, no self-loops",
    source="sec. 3.1, λmax = 2 (not discussed there)",
    equation=r"\lambda_i \in [0.962, 1.003] , \quad i \ge 2",
    tolerance=0.005,
    because="the ends are those of one draw, to three digits; they vary by 0.002 between draws",
)
def narrow_band(subject: Subject, *, variance: float = 32.0) -> Measured:
    """Measure both ends of the band of a seeded draw."""
    lam = gaussian_modes(subject, variance)[0]
    return Measured(float(max(abs(lam[1] - 0.962), abs(lam[-1] - 1.003))), len(lam))


def gaussian_modes(subject: Subject, variance: float = 32.0) -> tuple[np.ndarray, np.ndarray]:
    """λ and the orthonormal modes of the core of the Gaussian graph, in dense NumPy."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        X = gaussian_features(subject)
        squares = (X**2).sum(1)
        W = np.exp(-(squares[:, None] + squares - 2 * X @ X.T) / (2 * variance))
        np.fill_diagonal(W, 0.0)
        A, _ = dense.normalized(W, "symmetric")
        lam, U, _ = dense.modes(A, np.ones(len(A)))
        return lam, U

    return subject.keep(("gaussian modes", variance), make)


def gaussian_features(subject: Subject) -> np.ndarray:
    """1024 normal nodes in 32 dimensions."""
    return subject.rng("gaussian").standard_normal((1024, 32))
