"""Powers of A, as in stacks of blocks: convergence, the stable hypothesis A² = A, period."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.graph.build import feature_graph
from gspnl.signals import stability
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING


def core(subject: Subject) -> np.ndarray:
    """S = T⁻¹ A T of the sample's random-walk graph."""
    A, change = subject.affinity("random_walk")
    S = A / change[:, None] * change
    return np.asarray((S + S.T) / 2)


def constant_mode(subject: Subject) -> np.ndarray:
    """T⁻¹ 1πᵀ T: the projection onto √d."""
    root = np.sqrt(subject.weights().sum(1))
    return np.asarray(np.outer(root, root) / (root @ root))


@claim(
    "memory",
    "A^k tends to 1πᵀ at exactly the rate |μ₂|^k",
    source="sec. 3.2, steady-state analysis (no rate is given there)",
    equation=r"\|T^{-1} (A^k - 1 \pi^\top)\, T\|_2 = |\mu_2|^k",
    tolerance=1e-10,
    because=ROUNDING,
)
def memory(subject: Subject, *, rate: Any = stability.memory) -> Measured:
    """Compare with norms of dense powers, k = 1 to 6."""
    S, limit = core(subject), constant_mode(subject)
    graph = subject.graph("random_walk")
    gaps = [
        np.linalg.norm(np.linalg.matrix_power(S, k) - limit, 2) - rate(graph, k)
        for k in range(1, 7)
    ]
    return Measured(float(np.abs(gaps).max()), len(S))


@claim(
    "defect",
    "the distance of A^p from A is a sum over eigenvalues, which at low rank needs no N × N matrix",
    source="sec. 3.2, the stable hypothesis A^k = A (no distance is given there)",
    equation=r"\sqrt{\textstyle\sum (\mu^p - \mu)^2 / \sum \mu^2} = \|S^p - S\|_F / \|S\|_F",
    tolerance=1e-10,
    because=ROUNDING,
)
def defect(subject: Subject, *, distance: Any = stability.idempotence_defect) -> Measured:
    """Compare with dense powers, p = 2, 3, 4."""
    S = core(subject)
    graph = subject.graph("random_walk")
    size = np.linalg.norm(S)
    gaps = [
        np.linalg.norm(np.linalg.matrix_power(S, p) - S) / size - distance(graph, p)
        for p in (2, 3, 4)
    ]
    return Measured(float(np.abs(gaps).max()), len(S))


@claim(
    "stable-hypothesis",
    "A² = A if, and only if, every μ is 0 or 1",
    source="sec. 3.2, Lemma 1",
    equation=r"A^2 = A \iff \mu_i \in \{0, 1\}",
    tolerance=1e-10,
    because="rounding of the defect of a projection, and of a known defect",
)
def stable_hypothesis(
    subject: Subject, *, distance: Any = stability.idempotence_defect
) -> Measured:
    """Measure the defects of a graph of groups, a projection, and of one with μ = 1 and 1/9."""
    n = len(subject.sample)
    group = np.arange(n) * min(3, n) // n
    groups = feature_graph(np.eye(min(3, n))[group], "dot", storage="lowrank")
    projection = distance(groups)
    idempotent = np.asarray(groups.dense())
    off = float(np.abs(idempotent @ idempotent - idempotent).max())
    pair = feature_graph(np.array([[2.0, 1.0], [1.0, 2.0]]), "dot", storage="dense")
    known = abs(distance(pair) - (8 / 81) / np.sqrt(1 + 1 / 81))  # A = [[5, 4], [4, 5]] / 9
    return Measured(max(projection, off, float(known)), n)


def pooling(d: np.ndarray) -> np.ndarray:
    """1πᵀ with π ∝ d."""
    return np.outer(np.ones(len(d)), d / d.sum())


@claim(
    "stable-form",
    "a graph of positive weights with A² = A is A = 1πᵀ: every node gets the same mean, which is "
    "global pooling",
    source="sec. 3.2, Lemma 1 (its consequence)",
    equation=r"W > 0 , \; A^2 = A \implies A = 1 \pi^\top , \quad \pi \propto d",
    tolerance=1e-10,
    because=ROUNDING,
)
def stable_form(subject: Subject, *, form: Any = pooling) -> Measured:
    """Check the form, A² = A and the trace of a graph of one positive feature."""
    a = np.logaddexp(0, subject.sample[:, :1])
    graph = feature_graph(a, "dot", storage="dense")
    A = np.asarray(graph.dense())
    expected = form(np.asarray(graph.degrees))
    gap = float(np.abs(A - expected).max() / np.abs(expected).max())
    square = float(np.linalg.norm(A @ A - A) / np.linalg.norm(A))
    # With positive weights μ = 1 is simple (Perron); if all other μ are 0, the trace is 1.
    return Measured(max(gap, square, abs(float(np.trace(A)) - 1)), len(A))


def four_step(A: np.ndarray, k: int) -> np.ndarray:
    """cos(kπ/2) (I − A) + A."""
    return np.asarray(np.cos(k * np.pi / 2) * (np.eye(len(A)) - A) + A)


@claim(
    "period-four",
    "if A² = A, the Chebyshev polynomials of A repeat with period 4: I, A, 2A − I, A",
    source="sec. 3.2 and appendix B, the piece-wise function",
    equation=r"T_k(A) = \cos(k \pi / 2)\, (I - A) + A",
    tolerance=1e-10,
    because="the recurrence accumulates rounding linearly over 12 steps",
)
def period_four(subject: Subject, *, closed: Any = four_step) -> Measured:
    """Compare with the dense recurrence on a graph of groups, k = 0 to 12."""
    n = len(subject.sample)
    A = dense.partition(n, min(3, n))
    terms = dense.chebyshev(A, 12)
    return Measured(max(float(np.abs(closed(A, k) - T).max()) for k, T in enumerate(terms)), n)
