"""Kernels: filters without an N × N matrix at full rank, non-negative and bistochastic kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from gspnl.affinity.kernels import KERNELS, Kernel, make_kernel
from gspnl.graph.build import feature_graph
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.eigenvalues import all_eigenvalues
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING

HIGH = 750.0  # a score whose exponential overflows every dtype


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
    "the symmetrised affinity of softmax attention is a mean of two exponentials of scores less "
    "the logarithm of the degree, so scores around 750 do not overflow",
    source="sec. 3.1, the embedded Gaussian and the normalisation (the form is gspnl's)",
    equation=r"A_{ij} = \tfrac12 (e^{s_{ij} - \ell_i} + e^{s_{ji} - \ell_i})",
    tolerance=1e-9,
    because="the rounding of a score of 750 is 1e-13, and A is its exponential",
)
def by_logarithms(subject: Subject, *, logarithms: Any = log_degrees) -> Measured:
    """Compare the formula and gspnl's tiles with W of the scores less their maximum."""
    X, pair, S = high_scores(subject)
    Z = subject.signals()
    graph = feature_graph(X, "embedded_gaussian", pair, storage="tiled")
    level = logarithms(S)[:, None]
    formula = (np.exp(S - level) + np.exp(S.T - level)) / 2 @ Z
    W = (np.exp(S - S.max()) + np.exp(S.T - S.max())) / 2
    truth = W @ Z / W.sum(1, keepdims=True)
    gap = max(dense.distance(formula, truth), dense.distance(graph.apply(Z), truth))
    return Measured(gap, len(S))


def core_entries(S: np.ndarray, level: np.ndarray) -> np.ndarray:
    """½ (e^{s_ij − (ℓ_i + ℓ_j)/2} + its transpose)."""
    half = (level[:, None] + level) / 2
    return np.asarray((np.exp(S - half) + np.exp(S.T - half)) / 2)


@claim(
    "log-core",
    "the symmetric core of softmax attention has entries of at most 1, so filters of any order run "
    "on tiles that cannot overflow",
    source="eqs. 5 and 6, on the embedded Gaussian (the form is gspnl's)",
    equation=r"S_{ij} = \tfrac12 (e^{s_{ij}} + e^{s_{ji}})\, e^{-(\ell_i + \ell_j)/2}",
    tolerance=1e-9,
    because="the rounding of a score of 750 is 1e-13, and S is its exponential",
)
def core_by_logarithms(subject: Subject, *, entries: Any = core_entries) -> Measured:
    """Compare the formula and gspnl's tiled filter with the core of scores less their maximum."""
    X, pair, S = high_scores(subject)
    W = (np.exp(S - S.max()) + np.exp(S.T - S.max())) / 2
    A, change = dense.normalized(W, "random_walk")
    core = A / change[:, None] * change
    formula = entries(S, log_degrees(S))
    gap = float(np.abs(formula - core).max())
    above = max(float(formula.max()) - 1, 0.0)
    Z, order = subject.signals(), 6
    graph = feature_graph(X, "embedded_gaussian", pair, storage="tiled")
    quick = graph.filter(Z, lambda lam: np.cos(order * np.arccos(np.clip(1 - lam, -1, 1))),
                         order, deflate=False)  # fmt: skip
    slow = dense.chebyshev(A, order)[order] @ Z
    return Measured(max(gap, above, dense.distance(quick, slow, change)), len(S))


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
    "a product with the weights of the concatenation kernel takes sums over sorted scalars, and no "
    "pairs of nodes",
    source="sec. 3.1, the concatenation affinity (the form is gspnl's)",
    equation=r"F(b_{k+1}) = F(b_k) + (b_k - b_{k+1})\, C_k , \quad F(t) = F(b_k) + (b_k - t)\, C_k",
    tolerance=1e-10,
    because=ROUNDING,
)
def sorted_concatenation(subject: Subject, *, sums: Any = running_sums) -> Measured:
    """Compare the sums and gspnl's sorted product with the dense W."""
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
    return Measured(max(dense.distance(formula, truth), dense.distance(product, truth)), len(W))


def points(subject: Subject, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """φ and ψ of the sample, with an embedding if the kernel takes one."""
    pair: tuple[np.ndarray, np.ndarray] | None = None
    if kernel.embedding != "none":
        w_phi, w_psi = subject.embedding
        pair = (w_phi, w_psi) if kernel.embedding == "matrices" else (w_phi[:, :1], w_psi[:, :1])
    phi, psi = kernel.fit(subject.sample).embed(subject.sample, pair)
    return np.asarray(phi), np.asarray(psi)


def affinity(kernel: Kernel, phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """The matrix M of the kernel."""
    return np.asarray(kernel.affinity(phi, psi))


@claim(
    "kernels-nonnegative",
    "every kernel registered as non-negative has non-negative entries on these features",
    source="sec. 2, 'Dot Product, Traditional Gaussian, Embedded Gaussian'; sec. 3.1",
    equation=r"M_{ij} = f(x_i, x_j) \ge 0",
    tolerance=1e-12,
    because="smallest entry relative to the largest; 1 + cos may be rounded below 0",
)
def kernels_nonnegative(subject: Subject, *, entries: Any = affinity) -> Measured:
    """Measure the smallest entry of M over all registered kernels."""
    worst = 0.0
    for name in KERNELS:
        kernel = make_kernel(name, {}).fit(subject.sample)
        if kernel.nonnegative:
            with np.errstate(over="ignore"):  # exp may overflow to inf, which is not negative
                M = entries(kernel, *points(subject, kernel))
            peak = float(np.abs(M).max())
            worst = max(worst, -float(M.min()) / peak if 0 < peak < np.inf else 0.0)
    return Measured(worst, len(subject.sample))


def anchor_weights(Z: np.ndarray) -> np.ndarray:
    """Z diag(Zᵀ1)⁻¹ Zᵀ."""
    return np.asarray(Z @ np.diag(1 / Z.sum(0)) @ Z.T)


@claim(
    "anchors-bistochastic",
    "the anchors kernel is bistochastic, non-negative and positive semi-definite, so it meets the "
    "paper's three requirements without a normalisation",
    source="sec. 3.1: 'symmetric, non-negative, row-normalized'",
    equation=r"W = Z \operatorname{diag}(Z^\top 1)^{-1} Z^\top , \quad W 1 = 1",
    tolerance=1e-10,
    because="rounding of sums of at most 64 products",
)
def anchors_bistochastic(subject: Subject, *, weights: Any = anchor_weights) -> Measured:
    """Measure the formula with gspnl's assignment, and gspnl's graph on all nodes."""
    kernel = make_kernel("anchors", {"anchors": 16, "seed": subject.seed}).fit(subject.sample)
    Z = np.asarray(kernel.assign(subject.sample))  # type: ignore[attr-defined]
    W = weights(Z[:, Z.sum(0) > 0])
    rows = float(np.abs(W.sum(1) - 1).max())
    sides = float(np.abs(W - W.T).max())
    lowest = max(0.0, -float(W.min()), -float(np.linalg.eigvalsh((W + W.T) / 2)[0]))
    graph = subject.keep(
        "anchors", lambda: feature_graph(subject.features, "anchors", anchors=16, seed=subject.seed)
    )
    degrees = float(np.abs(np.asarray(graph.degrees) - 1).max())
    above = float(max(all_eigenvalues(graph.spectrum()).max() - 1, 0.0))  # psd: no λ above 1
    return Measured(max(rows, sides, lowest, degrees, above), graph.n_nodes)
