"""Eigenvalues μ of A: real for symmetric cores, complex for softmax graphs."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import constant64
from gspnl._base.blas import on_one_thread
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph, check_graph, single_graph


@on_one_thread
def modes(graph: FeatureGraph) -> tuple[np.ndarray, np.ndarray]:
    """Return μ, real and descending, or complex for softmax, and the multiplicities."""
    require_normalized(graph)
    if not check_graph(graph).affinity.symmetric_core:
        mu = np.linalg.eigvals(dense(graph))
        mu = mu[np.argsort(-mu.real)]
        return mu, np.ones(len(mu))
    spectrum = graph.spectrum()
    mu = 1 - constant64(spectrum.eigenvalues)
    return mu, np.asarray(spectrum.multiplicities, dtype=np.float64)


def require_normalized(graph: FeatureGraph) -> None:
    """Raise for a combinatorial graph: units, their depth and their steps are those of an A."""
    if check_graph(graph).affinity.unit is not None:
        raise InputError(
            f"gspnl.stability studies repeated products with A, and normalization="
            f"{graph.normalization!r} has L = D − W, without an A: only spectral_gap(graph, "
            "absolute=False), λ₂, is defined; use normalization='random_walk' or 'symmetric'"
        )


def nonconstant(mu: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Remove the constant mode from eigenvalues μ with multiplicities; returns each μ once."""
    left = counts - (np.arange(len(mu)) == np.argmin(np.abs(mu - 1)))
    return np.asarray(mu[left > 0])


def dense(graph: FeatureGraph) -> np.ndarray:
    """Return A of one graph in NumPy, float64."""
    single = single_graph(graph, "gspnl.stability")
    return constant64(single.dense())
