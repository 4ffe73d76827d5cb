"""The largest eigenvalue: at most 2, with equality on bipartite components only."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.graph.build import feature_graph
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.eigenvalues import all_eigenvalues
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING


def bipartite_eigenvalues(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """λ of the bipartite graph that joins every node of one side to every node of the other.

    The weights are dot products of φ = (a, 0) and ψ = (0, b), hence of low rank.
    """
    r = left.shape[1]
    X = bipartite_features(left, right)
    embed = (np.eye(2 * r)[:, :r], np.eye(2 * r)[:, r:])
    return all_eigenvalues(feature_graph(X, "dot", embed, storage="lowrank").spectrum())


def bipartite_features(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Features (a, 0) of one side and (0, b) of the other side."""
    return np.block([
        [left, np.zeros((len(left), right.shape[1]))],
        [np.zeros((len(right), left.shape[1])), right],
    ])  # fmt: skip


@claim(
    "bipartite-two",
    "a bipartite graph has λmax = 2",
    source="sec. 3.1: 'the maximum eigenvalue satisfies λmax = 2'",
    equation=r"W = \begin{pmatrix} 0 & K \\ K^\top & 0 \end{pmatrix} \implies \lambda_{\max} = 2",
    tolerance=1e-10,
    because=ROUNDING,
)
def bipartite_two(subject: Subject, *, eigenvalues: Any = bipartite_eigenvalues) -> Measured:
    """Compare gspnl's λ of a bipartite graph on two halves of the nodes with dense ones."""
    points = np.logaddexp(0, subject.sample @ subject.embedding[0])
    half = len(points) // 2
    left, right = points[:half], points[half:]
    lam = eigenvalues(left, right)
    K = left @ right.T
    W = np.block([[np.zeros((half, half)), K], [K.T, np.zeros((len(right), len(right)))]])
    exact = dense.modes(*dense.normalized(W, "random_walk"))[0]  # gspnl's λ are clipped to [0, 2]
    return Measured(float(max(abs(exact[-1] - 2), np.abs(lam - exact).max())), len(points))


def self_loop_bound(A: np.ndarray) -> float:
    """2 − 2 min A_ii, since xᵀ(D + W)x ≥ 2 Σ w_ii x_i²."""
    return float(2 - 2 * np.diag(A).min())


@claim(
    "not-bipartite",
    "self-loops, which the paper's graphs have, keep λmax below 2 by a known amount",
    source="sec. 3.1: 'the maximum eigenvalue satisfies λmax = 2'",
    equation=r"\lambda_{\max} \le 2 - 2 \min_i A_{ii} \lt 2",
    tolerance=1e-10,
    because="the bound is a theorem; only rounding may exceed it",
)
def not_bipartite(subject: Subject, *, bound: Any = self_loop_bound) -> Measured:
    """Measure λmax of the subject's graph, and of a bipartite graph with one self-loop added."""
    A, _ = subject.affinity("random_walk")
    lam = subject.modes("random_walk")[0]
    W = subject.weights().copy()
    half = len(W) // 2
    W[:half, :half] = W[half:, half:] = 0
    W[0, 0] = W[0].sum()  # with one loop, no component is bipartite
    looped, change = dense.normalized(W, "random_walk")
    top = dense.modes(looped, change)[0][-1]
    short = 2 - top > 1e-9  # far above rounding: one loop on N nodes lowers λmax by about 1/N
    miss = max(lam.max() - bound(A), 0.0 if short else 1.0, 0.0)
    return Measured(float(miss), len(A))


@claim(
    "e4-largest",
    "λmax = 2 is a bound, reached if, and only if, a component is bipartite",
    source="sec. 3.1, below eq. 5: 'the maximum eigenvalue satisfies λmax = 2'",
    equation=r"\lambda_{\max} \le 2",
    tolerance=1e-10,
    because=ROUNDING,
    erratum="E4",
    printed="λmax = 2; distance from it",
    corrected="λmax ≤ 2, and λmax = 2 on a bipartite graph; largest violation",
)
def largest(subject: Subject, *, bound: Any = lambda: 2.0) -> Measured:
    """Measure λmax of the subject's graph, and of a bipartite graph on two halves of its nodes."""
    lam = subject.modes("random_walk")[0]
    points = np.logaddexp(0, subject.sample @ subject.embedding[0])
    half = len(points) // 2
    top = bipartite_eigenvalues(points[:half], points[half:]).max()
    miss = max(lam.max() - bound(), abs(top - bound()), 0.0)
    return Measured(float(miss), len(lam), printed=abs(2 - float(lam.max())))
