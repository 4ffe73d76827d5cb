"""Theorem 1: a nonlocal operator is a filter on the graph of its affinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from gspnl.filters.spectrum import Spectrum
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.subject import Subject

ROUNDING = "float64 rounding over a few hundred products, usually 1e-13"
TIME = 1.5  # of the heat filter: exp(−tλ) is not small anywhere on [0, 2]

Gain = Callable[[np.ndarray], np.ndarray]


def by_inverse(spectrum: Spectrum, g: Gain, Z: np.ndarray) -> np.ndarray:
    """U Ω U⁻¹ Z with Ω = diag(g(λ))."""
    lam = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    return np.asarray(spectrum.igft(g(lam)[:, None] * spectrum.gft(Z)))


def _theorem(subject: Subject, normalization: str, synthesis: Any) -> Measured:
    """Compare with expm(−t L), computed without eigenvectors, and on all nodes with A Z."""
    A, change = subject.affinity(normalization)
    Z = subject.signals()
    heat = synthesis(subject.graph(normalization).spectrum(), lambda lam: np.exp(-TIME * lam), Z)
    truth = linalg.expm(-TIME * (np.eye(len(A)) - A)) @ Z
    graph = subject.graph(normalization, everything=True)
    Z = subject.signals(graph.n_nodes)
    nl = synthesis(graph.spectrum(), lambda lam: 1 - lam, Z)
    gap = graph.norm(nl - graph.apply(Z)) / graph.norm(Z)
    return Measured(max(dense.distance(heat, truth, change), gap), graph.n_nodes)


@claim(
    "theorem1-random-walk",
    "F(A, Z) = U Ω U⁻¹ Z is the filter ω(L) Z, for the paper's own row normalisation A = D⁻¹W",
    source="Theorem 1, eq. 4, with U⁻¹ in place of Uᵀ",
    equation=r"F(A, Z) = U\, \Omega\, U^{-1} Z , \quad A = D^{-1} W",
    tolerance=1e-10,
    because=ROUNDING,
)
def random_walk(subject: Subject, *, synthesis: Any = by_inverse) -> Measured:
    """Compare heat and NL through U and U⁻¹ with the matrix exponential and with A Z."""
    return _theorem(subject, "random_walk", synthesis)


@claim(
    "theorem1-symmetric",
    "F(A, Z) = U Ω U⁻¹ Z is the filter ω(L) Z, for A = D^-½ W D^-½",
    source="Theorem 1, eq. 4",
    equation=r"F(A, Z) = U\, \Omega\, U^{-1} Z , \quad A = D^{-1/2} W D^{-1/2}",
    tolerance=1e-10,
    because=ROUNDING,
)
def symmetric(subject: Subject, *, synthesis: Any = by_inverse) -> Measured:
    """Compare as in :func:`random_walk`."""
    return _theorem(subject, "symmetric", synthesis)


@claim(
    "theorem1-bistochastic",
    "F(A, Z) = U Ω U⁻¹ Z is the filter ω(L) Z, for the bistochastic A = diag(s) W diag(s)",
    source="Theorem 1, eq. 4",
    equation=r"F(A, Z) = U\, \Omega\, U^{-1} Z , \quad s \circ (W s) = 1",
    tolerance=1e-10,
    because=ROUNDING,
)
def bistochastic(subject: Subject, *, synthesis: Any = by_inverse) -> Measured:
    """Compare as in :func:`random_walk`."""
    return _theorem(subject, "bistochastic", synthesis)


def transposed_modes(A: np.ndarray, g: Gain, Z: np.ndarray) -> np.ndarray:
    """U Ω Uᵀ Z, as printed, with the unit eigenvectors of A."""
    mu, U = np.linalg.eigh((A + A.T) / 2)
    return np.asarray(U @ (g(1 - mu)[:, None] * (U.T @ Z)))


@claim(
    "theorem1-as-printed",
    "with the bistochastic normalisation A is symmetric and row-normalised, and F = U Ω Uᵀ Z "
    "holds as printed",
    source="Theorem 1, eq. 4 as printed; sec. 3.1, the requirement on A",
    equation=r"F(A, Z) = U\, \Omega\, U^\top Z , \quad A = A^\top , \; A 1 = 1",
    tolerance=1e-10,
    because=ROUNDING,
)
def as_printed(subject: Subject, *, synthesis: Any = transposed_modes) -> Measured:
    """Check symmetry and row sums, and compare the filter through Uᵀ with expm(−t L)."""
    A = np.asarray(subject.graph("bistochastic").dense())
    Z = subject.signals()
    value = synthesis(A, lambda lam: np.exp(-TIME * lam), Z)
    truth = linalg.expm(-TIME * (np.eye(len(A)) - A)) @ Z
    uneven = np.abs(A - A.T).max() / np.abs(A).max()
    return Measured(
        max(dense.distance(value, truth), float(uneven), float(np.abs(A.sum(1) - 1).max())), len(A)
    )


def degree_norm(d: np.ndarray, Z: np.ndarray) -> float:
    """√(Σ d_i z_i²)."""
    return float(np.sqrt((d[:, None] * Z**2).sum()))


@claim(
    "parseval",
    "the transform of a random-walk graph preserves the degree-weighted norm",
    source="sec. 3.1, the graph domain (not stated there)",
    equation=r"\|U^{-1} Z\|^2 = \sum_i d_i z_i^2",
    tolerance=1e-10,
    because=ROUNDING,
)
def parseval(subject: Subject, *, norm: Any = degree_norm) -> Measured:
    """Compare ‖Ẑ‖ with the degree-weighted ‖Z‖, on all nodes."""
    graph = subject.graph("random_walk", everything=True)
    Z = subject.signals(graph.n_nodes)
    whole = norm(np.asarray(graph.degrees), Z)
    return Measured(abs(float(np.linalg.norm(graph.spectrum().gft(Z))) / whole - 1), graph.n_nodes)


def inverse_transform(spectrum: Spectrum, coefficients: np.ndarray) -> np.ndarray:
    """U Ẑ."""
    return np.asarray(spectrum.igft(coefficients))


@claim(
    "transform-inverse",
    "U inverts U⁻¹: the transform has N coefficients, those of the eigenspace λ = 1 included, "
    "and loses nothing",
    source="Theorem 1, U and its inverse",
    equation=r"U\, U^{-1} Z = Z",
    tolerance=1e-10,
    because=ROUNDING,
)
def transform_inverse(subject: Subject, *, inverse: Any = inverse_transform) -> Measured:
    """Compare the inverse transform of the transform with Z, on all nodes."""
    graph = subject.graph("random_walk", everything=True)
    Z = subject.signals(graph.n_nodes)
    spectrum = graph.spectrum()
    back = inverse(spectrum, spectrum.gft(Z))
    return Measured(graph.norm(back - Z) / graph.norm(Z), graph.n_nodes)
