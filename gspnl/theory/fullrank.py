"""Kernels of full rank without N² memory: tiles, logarithms and sorting, against dense formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from gspnl.graph.build import feature_graph
from gspnl.theory import plain
from gspnl.theory.claims import Measured, claim
from gspnl.theory.subject import Subject
from gspnl.theory.theorem import ROUNDING

HIGH = 750.0  # a score whose exponential no dtype holds


def high_scores(subject: Subject) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Features and embeddings whose scores lie around 750, and the scores."""
    X = np.hstack([np.full((len(subject.sample), 1), np.sqrt(HIGH)), subject.sample])
    pair = []
    for w in subject.embedding:
        wide = np.zeros((X.shape[1], w.shape[1] + 1))
        wide[0, 0], wide[1:, 1:] = 1.0, w / 2
        pair.append(wide)
    return X, (pair[0], pair[1]), (X @ pair[0]) @ (X @ pair[1]).T


def log_degrees(S: np.ndarray) -> np.ndarray:
    """ℓ = log ½ Σ_j (e^{s_ij} + e^{s_ji})."""
    return np.asarray(logsumexp(np.logaddexp(S, S.T) - np.log(2), axis=1))


@claim(
    "log-degrees",
    "the symmetrised affinity of softmax attention is a mean of two exponentials relative to the "
    "logarithm of the degree: scores around 750 are as good as any",
    source="sec. 3.1, the embedded Gaussian and the normalisation (the form is gspnl's)",
    equation=r"A_{ij} = \tfrac12 (e^{s_{ij} - \ell_i} + e^{s_{ji} - \ell_i})",
    tolerance=1e-9,
    because="a score of 750 has 1e-13 of rounding, and A is its exponential",
)
def by_logarithms(subject: Subject, *, logarithms: Any = log_degrees) -> Measured:
    """Gspnl's tiles against the formula, and against W itself with the scores brought down."""
    X, pair, S = high_scores(subject)
    Z = subject.signals()
    graph = feature_graph(X, "embedded_gaussian", pair, storage="tiled")
    level = logarithms(S)[:, None]
    formula = (np.exp(S - level) + np.exp(S.T - level)) / 2 @ Z
    W = (np.exp(S - S.max()) + np.exp(S.T - S.max())) / 2
    truth = W @ Z / W.sum(1, keepdims=True)
    gap = max(plain.distance(formula, truth), plain.distance(graph.apply(Z), truth))
    return Measured(gap, len(S))


def core_entries(S: np.ndarray, level: np.ndarray) -> np.ndarray:
    """½ (e^{s_ij − (ℓ_i + ℓ_j)/2} + its transpose)."""
    half = (level[:, None] + level) / 2
    return np.asarray((np.exp(S - half) + np.exp(S.T - half)) / 2)


@claim(
    "log-core",
    "its symmetric core has entries of at most 1, so filters of any order run on tiles that cannot "
    "overflow",
    source="eqs. 5 and 6, on the embedded Gaussian (the form is gspnl's)",
    equation=r"S_{ij} = \tfrac12 (e^{s_{ij}} + e^{s_{ji}})\, e^{-(\ell_i + \ell_j)/2}",
    tolerance=1e-9,
    because="a score of 750 has 1e-13 of rounding, and S is its exponential",
)
def core_by_logarithms(subject: Subject, *, entries: Any = core_entries) -> Measured:
    """The formula and gspnl's tiled filter against the dense core of scores brought down."""
    X, pair, S = high_scores(subject)
    W = (np.exp(S - S.max()) + np.exp(S.T - S.max())) / 2
    A, change = plain.normalized(W, "random_walk")
    core = A / change[:, None] * change
    formula = entries(S, log_degrees(S))
    gap = float(np.abs(formula - core).max())
    above = max(float(formula.max()) - 1, 0.0)
    Z, order = subject.signals(), 6
    graph = feature_graph(X, "embedded_gaussian", pair, storage="tiled")
    quick = graph.filter(Z, lambda lam: np.cos(order * np.arccos(np.clip(1 - lam, -1, 1))),
                         order, deflate=False)  # fmt: skip
    slow = plain.chebyshev(A, order)[order] @ Z
    return Measured(max(gap, above, plain.distance(quick, slow, change)), len(S))


def running_sums(b: np.ndarray, t: np.ndarray, V: np.ndarray) -> np.ndarray:
    """F(t_i) = Σ_j relu(b_j − t_i) v_j, from sums over the sorted b."""
    order = np.argsort(-b)
    fall = b[order]
    counts = np.cumsum(V[order], axis=0)
    at = np.vstack([0 * V[:1], np.cumsum((fall[:-1] - fall[1:])[:, None] * counts[:-1], axis=0)])
    last = np.searchsorted(-fall, -t, side="left") - 1
    found = at[last] + (fall[last] - t)[:, None] * counts[last]
    return np.where((last >= 0)[:, None], found, 0.0)


@claim(
    "sorted-concatenation",
    "the concatenation kernel needs no pairs: sums over sorted scalars give every row",
    source="sec. 3.1, the concatenation affinity (the form is gspnl's)",
    equation=r"F(b_{k+1}) = F(b_k) + (b_k - b_{k+1})\, C_k , \quad F(t) = F(b_k) + (b_k - t)\, C_k",
    tolerance=1e-10,
    because=ROUNDING,
)
def sorted_concatenation(subject: Subject, *, sums: Any = running_sums) -> Measured:
    """The sums and gspnl's sorted product against the dense W."""
    w_phi, w_psi = subject.embedding
    a, b = (subject.sample @ w[:, 0] for w in (w_phi, w_psi))
    W = (np.maximum(a[:, None] + b, 0) + np.maximum(b[:, None] + a, 0)) / 2
    Z = np.abs(subject.signals())
    truth = W @ Z
    formula = (sums(b, -a, Z) + sums(a, -b, Z)) / 2
    graph = feature_graph(
        subject.sample, "concatenation", (w_phi[:, 0], w_psi[:, 0]), storage="sorted"
    )
    d = graph.degrees[:, None]
    product = np.where(d > 0, d * graph.apply(Z), truth)
    return Measured(max(plain.distance(formula, truth), plain.distance(product, truth)), len(W))
