"""The step size at which repeated units stay bounded, and channel weights that damp."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.graph.build import feature_graph
from gspnl.responses import RESPONSES
from gspnl.signals import stability
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.powers import core
from gspnl.theory.subject import Subject

UNITS = 1024  # a growth of 4 % per unit reaches 1e17


def largest_step(graph: Any, response: Any) -> float:
    """h_max of :func:`gspnl.stability.cfl`."""
    return float(stability.cfl(graph, response).limit)


@claim(
    "cfl",
    "units Z + h (A − I) Z stay bounded up to the step h = 2/λmax, and grow without bound above it",
    source="sec. 3.2, proof of Lemma 1: 'the CFL condition is satisfied'",
    equation=r"\rho(I - h L) \le 1 \iff h \le 2 / \lambda_{\max}",
    tolerance=1 + 1e-9,
    because="the norm of 1024 units at 0.98 of the step is 1, that of the constant mode; at 1.02 "
    "it must exceed 1e6",
)
def cfl(subject: Subject, *, limit: Any = largest_step) -> Measured:
    """Measure dense powers 2 % below and 2 % above the limit."""
    S = core(subject)
    step = limit(subject.graph("random_walk"), RESPONSES["ns"]())
    eye = np.eye(len(S))
    with np.errstate(over="ignore", invalid="ignore"):
        below, above = (
            float(np.linalg.norm(np.linalg.matrix_power(eye + h * (S - eye), UNITS)))
            if h < np.inf
            else np.inf
            for h in (0.98 * step, 1.02 * step)
        )
    modest = below / np.sqrt(len(S))  # Frobenius norm of N modes with gain at most 1
    return Measured(max(modest, 1e6 / above if above else np.inf), len(S))


@claim(
    "cfl-channels",
    "with channel matrices the gains of a unit are the eigenvalues of I + h (W₁ + μ W₂) over all "
    "modes",
    source="sec. 3.2, proof of Lemma 1: 'W₁, W₂ and W are small enough'",
    equation=r"\rho\bigl(I + h (W_1^\top \otimes I + W_2^\top \otimes A)\bigr) "
    r"= \max_\mu \rho(I + h (W_1 + \mu W_2))",
    tolerance=1e-7,
    because="rounding of general eigensolvers on matrices with repeated eigenvalues",
)
def cfl_channels(subject: Subject, *, verdict: Any = stability.cfl) -> Measured:
    """Compare with the operator as one matrix on a small graph, and 2 % around the limit."""
    X = subject.sample[: min(24, len(subject.sample))]
    graph = feature_graph(X, "dot", subject.embedding, storage="lowrank", feature_map="softplus")
    W = dense.dot_weights(X, *subject.embedding)
    A, _ = dense.normalized(W, "random_walk")
    noise = subject.rng("cfl").standard_normal((2, 3, 3))
    first, second = -np.eye(3) + 0.1 * noise[0], 0.2 * noise[1]
    F = np.kron(first.T, np.eye(len(A))) + np.kron(second.T, A)
    rates = np.linalg.eigvals(F)

    def radius(h: float) -> float:
        return float(np.abs(1 + h * rates).max())

    found = verdict(graph, [first, second], step=0.7)
    miss = abs(found.radius - radius(0.7))
    if not (radius(0.98 * found.limit) <= 1 < radius(1.02 * found.limit)):
        miss = 1.0
    return Measured(miss, len(A))


def symmetric_part(W_g: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Eigenvalues of ½(W_g W + (W_g W)ᵀ)."""
    return stability.damping(W_g, W).eigenvalues


@claim(
    "damping",
    "a small step along an eigenvector of ½(W_g W + (W_g W)ᵀ) changes the signal's energy by twice "
    "its eigenvalue: the block damps where that is negative",
    source="sec. 4.2, spectrum analysis, and fig. 5 (after Tao et al. 2018)",
    equation=r"\tfrac{d}{dh} \|x + h\, x W_g W\|^2 = 2 \langle x, x\, "
    r"\tfrac12 (W_g W + (W_g W)^\top) \rangle",
    tolerance=1e-7,
    because="a central difference is exact for a square; with h = 1e-4 its rounding is 1e-11",
)
def damping(subject: Subject, *, eigenvalues: Any = symmetric_part) -> Measured:
    """Measure energy differences along each eigenvector of random channel weights."""
    rng = subject.rng("damping")
    W_g, W = rng.standard_normal((8, 4)) / 4, rng.standard_normal((4, 8)) / 4
    product = W_g @ W
    values = eigenvalues(W_g, W)
    vectors = np.linalg.eigh(product + product.T)[1].T[::-1]
    h = 1e-4
    forward, backward = (((vectors + s * vectors @ product) ** 2).sum(1) for s in (h, -h))
    return Measured(float(np.abs((forward - backward) / (4 * h) - values).max()), 0)
