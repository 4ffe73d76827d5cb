"""Low-rank weights: spectrum, exact filters and Chebyshev filters without an N × N matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.chebyshev import Series
from gspnl.responses import RESPONSES
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.eigenvalues import all_eigenvalues
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING

HEAT = RESPONSES["heat"](2.0)


@claim(
    "low-rank-spectrum",
    "a graph of rank 2r has at most 2r eigenvalues other than λ = 1, found without an N × N matrix",
    source="sec. 3.1, A = (X W_φ)(X W_ψ)ᵀ (its spectrum is gspnl's)",
    equation=r"\mu(S) = \{\mu(R J R^\top)\} \cup \{0\} , \quad S = (Q R) J (Q R)^\top",
    tolerance=1e-10,
    because=ROUNDING,
)
def low_rank_spectrum(subject: Subject, *, eigenvalues: Any = all_eigenvalues) -> Measured:
    """Compare gspnl's λ with all N eigenvalues of the dense core."""
    lam = subject.modes("random_walk")[0]
    spectrum = subject.graph("random_walk").spectrum()
    return Measured(float(np.abs(eigenvalues(spectrum) - lam).max()), len(lam))


def two_term(g: Any, spectrum: Any, Z: np.ndarray) -> np.ndarray:
    """g(1) Z + U_r (g(Λ_r) − g(1)) U_r⁻¹ Z; the first term covers the eigenspace λ = 1."""
    lam = all_eigenvalues(spectrum)
    gains = g(lam) - g(np.ones(1))
    return np.asarray(g(np.ones(1)) * Z + spectrum.igft(gains[:, None] * spectrum.gft(Z)))


@claim(
    "low-rank-filter",
    "an exact filter is g(1) Z plus a correction on the modes with λ ≠ 1; with the Gram matrix it "
    "takes two passes over the data",
    source="Theorem 1, eq. 4 (the form is gspnl's)",
    equation=r"g(L) Z = g(1) Z + U_r\, (g(\Lambda_r) - g(1))\, U_r^{-1} Z",
    tolerance=1e-10,
    because=ROUNDING,
)
def low_rank_filter(subject: Subject, *, form: Any = two_term) -> Measured:
    """Compare the two-term form and gspnl's Gram form with dense modes; on all nodes, directly."""
    _, change = subject.affinity("random_walk")
    lam, U, inverse = subject.modes("random_walk")
    Z = subject.signals()
    truth = U @ (HEAT(lam)[:, None] * (inverse @ Z))
    graph = subject.graph("random_walk")
    gap = max(
        dense.distance(form(HEAT, graph.spectrum(), Z), truth, change),
        dense.distance(graph.filter(Z, HEAT), truth, change),
    )
    graph = subject.graph("random_walk", everything=True)
    Z = subject.signals(graph.n_nodes)
    both = graph.norm(form(HEAT, graph.spectrum(), Z) - graph.filter(Z, HEAT)) / graph.norm(Z)
    return Measured(max(gap, both), graph.n_nodes)


def small_matrices(G: np.ndarray, order: int) -> tuple[list[float], list[np.ndarray]]:
    """t_k = T_k(0), and the 2r × 2r matrices R_k with T_k(−A) = t_k I − P' R_k Q'ᵀ."""
    eye = np.eye(len(G))
    t, R = [1.0, 0.0], [np.zeros_like(G), eye]
    for k in range(1, order):
        R.append(2 * (t[k] * eye - G @ R[k]) - R[k - 1])
        t.append(-t[k - 1])
    return t[: order + 1], R[: order + 1]


@claim(
    "one-pass",
    "every Chebyshev polynomial of a low-rank graph is two tall factors around a small matrix, so "
    "every order costs as much as order 1",
    source="eqs. 5 and 6 (the form is gspnl's)",
    equation=r"T_k(-A) = t_k I - P' R_k Q'^\top , \quad R_{k+1} = 2 (t_k I - G R_k) - R_{k-1}",
    tolerance=1e-9,
    because="rounding times the norm of the two summands of T_k, some tens",
)
def one_pass(subject: Subject, *, recurrence: Any = small_matrices) -> Measured:
    """Compare the small matrices with the dense recurrence, and on all nodes with products."""
    order = 12
    A, change = subject.affinity("random_walk")
    w_phi, w_psi = subject.embedding
    phi, psi = (np.logaddexp(0, subject.sample @ w) for w in (w_phi, w_psi))
    # In the symmetric core, rounding is that of a symmetric operator.
    P = np.hstack([phi, psi]) / 2 * change[:, None]
    Q = np.hstack([psi, phi]) * change[:, None]
    S = A / change[:, None] * change
    t, R = recurrence(Q.T @ P, order)
    exact = dense.chebyshev(-S, order)
    gap = max(
        float(np.linalg.norm(t[k] * np.eye(len(S)) - P @ R[k] @ Q.T - exact[k], 2))
        for k in range(order + 1)
    )
    theta = subject.rng("one-pass").standard_normal(order + 1)
    graph = subject.graph("random_walk", everything=True)
    Z = subject.signals(graph.n_nodes)
    quick = graph.filter(Z, Series(theta), order, deflate=False)
    slow, before, now = theta[0] * Z, Z, -graph.apply(Z)
    for k in range(1, order + 1):
        slow = slow + theta[k] * now
        before, now = now, -2 * graph.apply(now) - before
    return Measured(max(gap, graph.norm(quick - slow) / graph.norm(Z)), graph.n_nodes)
