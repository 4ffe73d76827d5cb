"""Errata on the stable hypothesis: E8 on Lemma 1, and E9 on figure 2."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.signals import stability
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING

NULL = 1e-10  # modes with |μ| below this count as annihilated by A


def steady_signal(subject: Subject) -> np.ndarray:
    """A signal that NS units leave unchanged after the first: modes with μ = 1 or μ = 0.

    Z + L_h Z = A Z is steady if L A Z = 0, hence on the modes with μ = 1 or μ = 0. The signal has 3
    channels.
    """
    lam, U, _ = subject.modes("random_walk")
    kept = (lam == lam[0]) | (np.abs(1 - lam) < NULL)
    mixing = subject.rng("steady").standard_normal((int(kept.sum()), 3))
    return np.asarray(U[:, kept] @ mixing)


@claim(
    "e8-lemma1-range",
    "Lemma 1 proves A² Z = A Z for the steady signal Z, of rank at most Cs; it does not prove "
    "A² = A",
    source="sec. 3.2, Lemma 1 and its proof",
    equation=r"L (Z - L Z) = 0 \implies A^2 Z = A Z \;\nRightarrow\; A^2 = A",
    tolerance=1e-8,
    because="modes count as annihilated where |μ| is below 1e-10",
    erratum="E8",
    printed="NS units that keep a signal Z have A² = A; ‖A² − A‖ / ‖A‖",
    corrected="NS units that keep Z have A² Z = A Z; the larger of both relative errors",
)
def lemma_range(subject: Subject, *, signal: Any = steady_signal) -> Measured:
    """Measure a signal that is steady under NS units, on a graph that is no projection."""
    A, change = subject.affinity("random_walk")
    Z = signal(subject)
    once = A @ Z  # Z + L_h Z
    steady = dense.distance(A @ once, once, change)
    return Measured(
        max(steady, dense.distance(A @ A @ Z, A @ Z, change)),
        len(A),
        printed=float(np.linalg.norm(A @ A - A) / np.linalg.norm(A)),
    )


def balanced_weights(mu: float) -> tuple[float, float]:
    """w₁ = −μ and w₂ = 1, for which w₁ Z + w₂ A Z = 0 on the mode μ."""
    return -mu, 1.0


@claim(
    "e8-lemma1-snl",
    "for SNL a steady signal does not even have A² Z = A Z: any mode is steady under suitable "
    "weights",
    source="sec. 3.2, Lemma 1: 'SNL blocks are stable when A^k = A', proved with NS",
    equation=r"w_1 Z + w_2 A Z = 0 \iff A Z = -(w_1/w_2)\, Z",
    tolerance=1e-8,
    because=ROUNDING + "; relative to a mode whose norm may be small",
    erratum="E8",
    printed="a signal that SNL units keep has A² Z = A Z; relative error",
    corrected="the signal has A Z = −(w₁/w₂) Z; relative error of w₁ Z + w₂ A Z = 0",
)
def lemma_snl(subject: Subject, *, weights: Any = balanced_weights) -> Measured:
    """Measure on the mode farthest from μ² = μ."""
    A, change = subject.affinity("random_walk")
    lam, U, _ = subject.modes("random_walk")
    mu = 1 - lam
    worst = int(np.argmax(np.abs(mu**2 - mu)))
    Z = U[:, worst : worst + 1]
    w1, w2 = weights(float(mu[worst]))
    size = float(np.linalg.norm(Z / change[:, None]))
    moved = float(np.linalg.norm((w1 * Z + w2 * A @ Z) / change[:, None])) / size
    apart = float(np.linalg.norm((A @ A @ Z - A @ Z) / change[:, None])) / size
    return Measured(moved, len(A), printed=apart)


def permutation(subject: Subject) -> np.ndarray:
    """A random pairing of an even number of nodes: symmetric, bistochastic, A² = I."""
    n = 2 * max(1, len(subject.sample) // 2)
    order = subject.rng("pairs").permutation(n)
    A = np.zeros((n, n))
    A[order[0::2], order[1::2]] = A[order[1::2], order[0::2]] = 1.0
    return A


@claim(
    "e9-histograms",
    "equal histograms do not imply A^k = A: a pairing of nodes has the same histogram as its "
    "square, and their relative distance is √2",
    source="sec. 3.2 and fig. 2: 'which also empirically verifies A^k = A'",
    equation=r"\mathrm{hist}(A^2) = \mathrm{hist}(A) \;\nRightarrow\; A^2 = A",
    tolerance=1e-12,
    because="histogram counts are whole numbers",
    erratum="E9",
    printed="A² = A, since both have the same histogram; ‖A² − A‖ / ‖A‖",
    corrected="the histograms agree; their total variation",
)
def histograms(subject: Subject, *, matrix: Any = permutation) -> Measured:
    """Measure on a random pairing of the nodes."""
    A = matrix(subject)
    figure = stability.strengths(A, (1, 2))
    return Measured(
        float(figure.distances.max()), len(A), printed=float(np.linalg.norm(A @ A - A))
        / float(np.linalg.norm(A)),
    )  # fmt: skip


def softmax_attention(subject: Subject) -> np.ndarray:
    """Row softmax of normal queries and keys, 512 nodes in 64 dimensions, unscaled."""
    queries, keys = subject.rng("attention").standard_normal((2, 512, 64))
    scores = queries @ keys.T
    A = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(A / A.sum(1, keepdims=True))


@claim(
    "e9-attention",
    "softmax attention on 512 nodes reproduces figure 2: A to A⁴ have nearly the same histogram, "
    "although A² is farther from A than A is from 0",
    source="sec. 3.2 and fig. 2: 'the histogram of A^k is nearly the same'",
    equation=r"\mathrm{TV}(\mathrm{hist} A^k, \mathrm{hist} A) \le 0.02 , \quad "
    r"\|A^k - A\| \ge 0.5\, \|A\|",
    tolerance=0.02,
    because="'nearly the same': usually 0.011; 2 % of the entries is invisible in a plot",
    erratum="E9",
    printed="A^k = A, since the histograms agree; least ‖A^k − A‖ / ‖A‖, k = 2, 3, 4",
    corrected="the histograms agree; largest total variation, k = 2, 3, 4",
    apart=25.0,
)
def attention(subject: Subject, *, matrix: Any = softmax_attention) -> Measured:
    """Measure the histograms of figure 2, and the defects, of a random attention matrix."""
    figure = stability.strengths(matrix(subject))
    return Measured(
        float(figure.distances[1:].max()), 512,
        printed=float(figure.defects[1:].min()),
    )  # fmt: skip
