"""Nonlocal operators as filters: their responses, and their special cases."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.chebyshev import fit
from gspnl.chebyshev.series import nodes
from gspnl.responses import RESPONSES
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.eigenvalues import all_eigenvalues
from gspnl.theory.subject import Subject
from gspnl.theory.theorem1 import ROUNDING

W1, W2, W3 = 0.7, -1.3, 0.4  # scalar weights, of both signs


def _response(subject: Subject, operator: Any, g: Any) -> Measured:
    """Compare the exact filter with the dense operator, and on all nodes with products."""
    A, change = subject.affinity("random_walk")
    Z = subject.signals()
    truth = operator(lambda z: A @ z, Z)
    gap = dense.distance(subject.graph("random_walk").filter(Z, g), truth, change)
    graph = subject.graph("random_walk", everything=True)
    Z = subject.signals(graph.n_nodes)
    far = graph.norm(graph.filter(Z, g) - operator(graph.apply, Z)) / graph.norm(Z)
    return Measured(max(gap, far), graph.n_nodes)


@claim(
    "response-nl",
    "the nonlocal operator A Z w is the filter (1 − λ) w",
    source="eq. 2; sec. 3.1, 'Relation with other nonlocal operators'",
    equation=r"A Z w \;\leftrightarrow\; (1 - \lambda)\, w",
    tolerance=1e-10,
    because=ROUNDING,
)
def response_nl(subject: Subject, *, response: Any = RESPONSES["nl"]) -> Measured:
    """Compare for NL."""
    return _response(subject, lambda apply, z: W2 * apply(z), response(W2))


@claim(
    "response-ns",
    "the nonlocal stage (A − D) Z w, where D = I, is the filter −λ w",
    source="eq. 3; sec. 3.1, 'Relation with other nonlocal operators'",
    equation=r"(A - I) Z w \;\leftrightarrow\; -\lambda\, w",
    tolerance=1e-10,
    because=ROUNDING,
)
def response_ns(subject: Subject, *, response: Any = RESPONSES["ns"]) -> Measured:
    """Compare for NS."""
    return _response(subject, lambda apply, z: W2 * (apply(z) - z), response(W2))


@claim(
    "response-snl",
    "the spectral nonlocal operator w₁ Z + w₂ A Z is the filter w₁ + (1 − λ) w₂",
    source="eqs. 7 and 8",
    equation=r"Z w_1 + A Z w_2 \;\leftrightarrow\; w_1 + (1 - \lambda)\, w_2",
    tolerance=1e-10,
    because=ROUNDING,
)
def response_snl(subject: Subject, *, response: Any = RESPONSES["snl"]) -> Measured:
    """Compare for SNL."""
    return _response(subject, lambda apply, z: W1 * z + W2 * apply(z), response(W1, W2))


@claim(
    "response-gsnl",
    "the full-order operator w₁ Z + w₂ A Z + w₃ (2A − I) Z is the filter "
    "w₁ + (1 − λ) w₂ + (1 − 2λ) w₃",
    source="eqs. 10 and 11",
    equation=r"Z w_1 + A Z w_2 + (2A - I) Z w_3 \;\leftrightarrow\; "
    r"w_1 + (1 - \lambda)\, w_2 + (1 - 2\lambda)\, w_3",
    tolerance=1e-10,
    because=ROUNDING,
)
def response_gsnl(subject: Subject, *, response: Any = RESPONSES["gsnl"]) -> Measured:
    """Compare for the generalised SNL."""

    def operator(apply: Any, z: np.ndarray) -> np.ndarray:
        once = apply(z)
        return np.asarray(W1 * z + W2 * once + W3 * (2 * once - z))

    return _response(subject, operator, response(W1, W2, W3))


def channel_response(lam: float, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """W₁ + (1 − λ) W₂, one matrix per mode."""
    return np.asarray(first + (1 - lam) * second)


@claim(
    "snl-channels",
    "with channel matrices, SNL maps the coefficients of each mode by W₁ + (1 − λ) W₂",
    source="eq. 8",
    equation=r"U^{-1} (Z W_1 + A Z W_2) = \hat Z_i\, (W_1 + (1 - \lambda_i) W_2)",
    tolerance=1e-10,
    because=ROUNDING,
)
def snl_channels(subject: Subject, *, response: Any = channel_response) -> Measured:
    """Compare the response applied mode by mode with the operator."""
    A, change = subject.affinity("random_walk")
    Z = subject.signals()
    first, second = subject.rng("channels").standard_normal((2, Z.shape[1], 4))
    spectrum = subject.graph("random_walk").spectrum()
    H = np.stack([response(lam, first, second) for lam in all_eigenvalues(spectrum)])
    value = spectrum.igft(np.einsum("ic,icd->id", spectrum.gft(Z), H))
    return Measured(dense.distance(value, Z @ first + A @ Z @ second, change), len(A))


@claim(
    "snl-order-one",
    "SNL is the Chebyshev series of order 1 on [0, 2] with θ₀ = w₁ and θ₁ = −w₂",
    source="eqs. 6 and 7",
    equation=r"w_1 + (1 - \lambda) w_2 = \theta_0 + \theta_1 T_1(\lambda - 1)",
    tolerance=1e-12,
    because="rounding of a cosine transform of two numbers",
)
def snl_order_one(subject: Subject, *, coefficients: Any = lambda w1, w2: (w1, -w2)) -> Measured:
    """Compare with the coefficients of gspnl's fit of the response."""
    w1, w2 = subject.rng("order one").standard_normal(2)
    theta = fit(RESPONSES["snl"](float(w1), float(w2)), order=1).coefficients
    gap = np.abs(theta - np.asarray(coefficients(w1, w2))).max()
    return Measured(float(gap), len(subject.sample))


def nl_weights(w: float) -> tuple[float, float]:
    """w₁ = 0, w₂ = w."""
    return 0.0, w


@claim(
    "snl-to-nl",
    "SNL with W₁ = 0 is NL, on channel matrices",
    source="sec. 3.1 and fig. 1",
    equation=r"F_s(A, Z)\big|_{W_1 = 0} = A Z W",
    tolerance=1e-12,
    because="the same products in another order",
)
def snl_to_nl(subject: Subject, *, weights: Any = nl_weights) -> Measured:
    """Compare the operators, and the responses."""
    A, change = subject.affinity("random_walk")
    Z = subject.signals()
    W = subject.rng("channels").standard_normal((Z.shape[1], Z.shape[1]))
    first, second = weights(1.0)
    gap = dense.distance(Z @ (first * W) + A @ Z @ (second * W), A @ Z @ W, change)
    lam = np.linspace(0, 2, 9)
    apart = np.abs(RESPONSES["snl"](*weights(W2))(lam) - RESPONSES["nl"](W2)(lam)).max()
    return Measured(max(gap, float(apart)), len(A))


def first_coefficient(omega: np.ndarray) -> float:
    """θ₀ of the interpolant: the mean of ω over the Chebyshev nodes."""
    return float(omega.mean())


@claim(
    "nl-constraint",
    "NL's θ₀ = 0 is a constraint on ω: its values at the Chebyshev nodes sum to zero, so the "
    "only non-negative ω of an NL operator is 0",
    source="sec. 3.1: 'its analytic solution controls the total filtering intensity'",
    equation=r"\theta_0 = \tfrac1n \sum_j \omega(\lambda_j) = 0",
    tolerance=1e-12,
    because="rounding of a mean of at most 8 numbers",
)
def nl_constraint(subject: Subject, *, constant_term: Any = first_coefficient) -> Measured:
    """Compare the mean over nodes with θ₀ of gspnl's fits, for NL and non-negative filters."""
    heat = RESPONSES["heat"](TIMES[subject.seed % len(TIMES)])
    miss = 0.0
    for n in range(1, 9):
        lam = 1 + nodes(n)
        miss = max(miss, abs(constant_term(RESPONSES["nl"](W2)(lam))))
        theta = fit(heat, order=n - 1).coefficients
        term = constant_term(heat(lam))
        miss = max(miss, abs(term - theta[0]), 0.0 if term > 0.01 else 1.0)
    return Measured(miss, len(subject.sample))


TIMES = (0.5, 1.0, 2.0)


def gain_at_zero(theta: np.ndarray) -> float:
    """Gain of a constant signal: θ₀ + θ₁ if θ₁ is, as in the paper, the weight of A = −L̃."""
    return float(theta[0] - theta[1])


@claim(
    "ns-constraint",
    "NS's θ₀ = −θ₁ is the constraint ω(0) = 0 on the series of order 1: it removes the mean, not "
    "the high frequencies",
    source="sec. 3.1: 'setting W₁ = −W₂, i.e. θ₁ + θ₀ = 0'",
    equation=r"\theta_0 + \theta_1 = p_1(0) = 0 , \quad (A - I)\, 1 = 0",
    tolerance=1e-10,
    because=ROUNDING,
)
def ns_constraint(subject: Subject, *, total: Any = gain_at_zero) -> Measured:
    """Compare the sum of both coefficients with p(0), for NS and for an unconstrained filter."""
    graph = subject.graph("random_walk", everything=True)
    ones = np.ones((graph.n_nodes, 1))
    kept = float(np.abs(graph.filter(ones, RESPONSES["ns"](W2))).max())
    stage = fit(RESPONSES["ns"](W2), order=1).coefficients
    free = fit(RESPONSES["heat"](1.0), order=1)
    miss = max(kept, abs(total(stage)), abs(total(free.coefficients) - float(free(0.0))))
    return Measured(miss, graph.n_nodes)
