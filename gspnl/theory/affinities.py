"""Kernels: which are non-negative, and which are bistochastic from birth."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.affinity.kernels import KERNELS, Kernel, make_kernel
from gspnl.graph.build import feature_graph
from gspnl.theory.claims import Measured, claim
from gspnl.theory.eigenvalues import expanded
from gspnl.theory.subject import Subject


def points(subject: Subject, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """φ and ψ of the sample, with an embedding where the kernel takes one."""
    pair: tuple[np.ndarray, np.ndarray] | None = None
    if kernel.embedding != "none":
        w_phi, w_psi = subject.embedding
        pair = (w_phi, w_psi) if kernel.embedding == "matrices" else (w_phi[:, :1], w_psi[:, :1])
    phi, psi = kernel.fit(subject.sample).embed(subject.sample, pair)
    return np.asarray(phi), np.asarray(psi)


def affinity(kernel: Kernel, phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """M."""
    return np.asarray(kernel.affinity(phi, psi))


@claim(
    "kernels-nonnegative",
    "every kernel that says it is non-negative is, on these features",
    source="sec. 2, 'Dot Product, Traditional Gaussian, Embedded Gaussian'; sec. 3.1",
    equation=r"M_{ij} = f(x_i, x_j) \ge 0",
    tolerance=1e-12,
    because="the smallest entry relative to the largest: 1 + cos may round below 0",
)
def kernels_nonnegative(subject: Subject, *, entries: Any = affinity) -> Measured:
    """The smallest entry of M over all registered kernels."""
    worst = 0.0
    for name in KERNELS:
        kernel = make_kernel(name, {}).fit(subject.sample)
        if kernel.nonnegative:
            with np.errstate(over="ignore"):  # exp of large products: still not negative
                M = entries(kernel, *points(subject, kernel))
            peak = float(np.abs(M).max())
            worst = max(worst, -float(M.min()) / peak if 0 < peak < np.inf else 0.0)
    return Measured(worst, len(subject.sample))


def anchor_weights(Z: np.ndarray) -> np.ndarray:
    """Z diag(Zᵀ1)⁻¹ Zᵀ."""
    return np.asarray(Z @ np.diag(1 / Z.sum(0)) @ Z.T)


@claim(
    "anchors-bistochastic",
    "the anchors kernel is bistochastic as it is, non-negative and positive semi-definite: the "
    "paper's three requirements without a normalisation",
    source="sec. 3.1: 'symmetric, non-negative, row-normalized'",
    equation=r"W = Z \operatorname{diag}(Z^\top 1)^{-1} Z^\top , \quad W 1 = 1",
    tolerance=1e-10,
    because="rounding of sums of at most 64 products",
)
def anchors_bistochastic(subject: Subject, *, weights: Any = anchor_weights) -> Measured:
    """The formula with gspnl's assignment, and gspnl's own graph on all nodes."""
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
    above = float(max(expanded(graph.spectrum()).max() - 1, 0.0))  # psd: no λ above 1
    return Measured(max(rows, sides, lowest, degrees, above), graph.n_nodes)
