"""Broken formulas for every claim: a sign, a factor, a transpose, an index."""

from __future__ import annotations

import numpy as np
import scipy.special

import gspnl
from gspnl import stability
from gspnl.responses import RESPONSES
from gspnl.theory import (
    chebyshev_filters,
    eigenvalues,
    errata_operators,
    kernels,
    largest_eigenvalue,
    lowrank_filters,
    powers,
    step_size,
    theorem1,
)


def omits_the_gains(spectrum, g, Z):
    return spectrum.igft(spectrum.gft(Z))


def reversed_gains(spectrum, g, Z):
    lam = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    return spectrum.igft(g(lam[::-1])[:, None] * spectrum.gft(Z))


def omits_the_change_of_basis(spectrum, g, Z):
    """The transform of the symmetric core, applied to the signal itself."""
    change = np.asarray(spectrum._change)[:, None]
    return reversed_gains(spectrum, g, Z) / change


def flat_norm(d, Z):
    return float(np.linalg.norm(Z))


def shifted(function, by=1e-3):
    """The same formula plus a small constant."""
    return lambda *args, **options: function(*args, **options) + by


def scaled(function, factor):
    return lambda *args, **options: factor * function(*args, **options)


def nl_with_the_wrong_sign(w):
    return lambda lam: (lam - 1) * w


def ns_as_the_laplacian(w):
    return lambda lam: lam * w


def snl_swapped(w1, w2):
    return RESPONSES["snl"](w2, w1)


def gsnl_of_order_two(w1, w2, w3):
    """With T₂(A) = 2A² − I in place of 2A − I, which differs unless A² = A."""
    return lambda lam: w1 + (1 - lam) * w2 + (2 * (1 - lam) ** 2 - 1) * w3


def one_off(G, order):
    t, R = lowrank_filters.small_matrices(G, order)
    return t, [R[0], *R[:-1]]


def with_the_paper_sign(G, order):
    t, R = lowrank_filters.small_matrices(-G, order)
    return t, R


def without_a_term(g, spectrum, Z):
    return lowrank_filters.two_term(g, spectrum, Z) - g(np.ones(1)) * Z


def unweighted_anchors(Z):
    return Z @ Z.T


def other_interval(g, order, interval):
    """An error that grows as the interval gets narrower."""
    return 1 / (interval[1] - interval[0])


def exact_table(graph, Z, response, order, **options):
    return graph.filter(Z, response)


def ignores_options(graph, Z, response, order, **options):
    return graph.filter(Z, response, order, deflate=False)


def largest_only(graph, response):
    return 1 / (1 - min(0.0, 1 - float(graph.spectrum().eigenvalues[-1])))


def radius_of_the_mean(graph, response, step):
    verdict = stability.cfl(graph, response, step)
    return stability.CFL(verdict.radius / 2, verdict.limit, True, 1.0, 1.0)


def limit_too_large(graph, response, step):
    verdict = stability.cfl(graph, response, step)
    return stability.CFL(verdict.radius, 1.1 * verdict.limit, True, 1.0, 1.0)


def not_symmetrised(W_g, W):
    return np.sort(np.linalg.eigvals(W_g @ W).real)[::-1]


def any_signal(subject):
    return subject.signals()


def uneven_matrix(subject):
    A, _ = subject.affinity("random_walk")
    return A


def uniform_signal(subject):
    return np.arange(len(subject.sample), dtype=float)[:, None]


def soft_attention(subject):
    """Near-uniform attention: A² is close to A, but their histograms differ."""
    n = 64
    A = np.full((n, n), 1 / n) + 0.5 / n * subject.rng("soft").standard_normal((n, n)) / 3
    return np.abs(A) / np.abs(A).sum(1, keepdims=True)


BROKEN = {
    "theorem1-random-walk": [
        {"synthesis": omits_the_gains},
        {"synthesis": reversed_gains},
        {"synthesis": omits_the_change_of_basis},
    ],
    "theorem1-symmetric": [{"synthesis": omits_the_gains}, {"synthesis": reversed_gains}],
    "theorem1-bistochastic": [{"synthesis": omits_the_gains}, {"synthesis": reversed_gains}],
    "theorem1-as-printed": [
        {"synthesis": lambda A, g, Z: theorem1.transposed_modes(A, lambda lam: g(1 - lam), Z)},
    ],
    "parseval": [{"norm": flat_norm}, {"norm": lambda d, Z: theorem1.degree_norm(d**2, Z)}],
    "transform-inverse": [
        {"inverse": lambda spectrum, Zhat: spectrum.gft(Zhat)},
        {"inverse": lambda spectrum, Zhat: theorem1.inverse_transform(spectrum, Zhat[::-1])},
    ],
    "spectrum-real": [{"eigenvalues": lambda s: 1 - eigenvalues.all_eigenvalues(s)}],
    "spectrum-range": [
        {"operator": lambda A: np.eye(len(A)) + A}, {"operator": lambda A: 2 * np.eye(len(A)) - A},
    ],
    "normalisations-similar": [{"change": lambda d: d}, {"change": np.ones_like}],
    "bistochastic-scaling": [{"normalization": "random_walk"}, {"normalization": "symmetric"}],
    "steady-state": [{"stationary": lambda d: np.ones(len(d)) / len(d)}],
    "bipartite-two": [
        {"eigenvalues": lambda a, b: 1 - largest_eigenvalue.bipartite_eigenvalues(a, b) / 2},
        {"eigenvalues": lambda a, b: eigenvalues.all_eigenvalues(
            gspnl.feature_graph(largest_eigenvalue.bipartite_features(a, b), "dot").spectrum())},
    ],
    "not-bipartite": [{"bound": lambda A: 1 - 2 * float(np.diag(A).min())}],
    "narrow-band": [{"variance": 64.0}, {"variance": 16.0}],
    "response-nl": [{"response": nl_with_the_wrong_sign}, {"response": RESPONSES["ns"]}],
    "response-ns": [{"response": ns_as_the_laplacian}, {"response": RESPONSES["nl"]}],
    "response-snl": [{"response": snl_swapped}],
    "response-gsnl": [{"response": gsnl_of_order_two}],
    "snl-channels": [
        {"response": lambda lam, first, second: first + lam * second},
        {"response": lambda lam, first, second: second + (1 - lam) * first},
    ],
    "snl-order-one": [{"coefficients": lambda w1, w2: (w1, w2)}],
    "snl-to-nl": [{"weights": lambda w: (w, 0.0)}, {"weights": lambda w: (0.0, -w)}],
    "nl-constraint": [
        {"constant_term": lambda omega: 2 * float(omega.mean())},
        {"constant_term": lambda omega: float(np.abs(omega).mean())},
    ],
    "ns-constraint": [{"total": lambda theta: float(theta[0] + theta[1])}],
    "coefficients": [
        {"integral": scaled(chebyshev_filters.by_quadrature, 2)},
        {"integral": lambda g, k: chebyshev_filters.by_quadrature(g, k) * (1 + (k == 0))},
    ],
    "interval-true": [{"error": other_interval}],
    "interval-band": [{"error": other_interval}],
    "deflation-table": [{"filtered": exact_table}, {"filtered": ignores_options}],
    "certificate": [{"bound": lambda plan: plan.error_bound / 2}],
    "certificate-tail": [
        {"remainder": lambda c, order: chebyshev_filters.omitted_coefficients(c, order) / 2},
        {"remainder": lambda c, order: chebyshev_filters.omitted_coefficients(c, order + 1)},
    ],
    "low-rank-spectrum": [{"eigenvalues": lambda s: np.sort(1 - eigenvalues.all_eigenvalues(s))}],
    "low-rank-filter": [{"form": without_a_term}],
    "log-degrees": [
        {"logarithms": lambda S: kernels.log_degrees(S) + 1e-6},
        {"logarithms": lambda S: scipy.special.logsumexp(S, axis=1)},
    ],
    "log-core": [
        {"entries": lambda S, level: kernels.core_entries(S, level + 1e-6)},
        {"entries": lambda S, level: np.exp(S - (level[:, None] + level) / 2)},
    ],
    "sorted-concatenation": [
        {"sums": lambda b, t, V: kernels.running_sums(b, t + 1e-6, V)},
        {"sums": lambda b, t, V: kernels.running_sums(-b, t, V)},
    ],
    "one-pass": [{"recurrence": one_off}, {"recurrence": with_the_paper_sign}],
    "kernels-nonnegative": [
        {"entries": lambda kernel, phi, psi: kernels.affinity(kernel, phi, psi) - 1e-3},
        {"entries": lambda kernel, phi, psi: phi @ psi.T},
    ],
    "anchors-bistochastic": [{"weights": unweighted_anchors}],
    "memory": [
        {"rate": lambda graph, k: stability.memory(graph, k + 1)},
        {"rate": lambda graph, k: (1 - stability.spectral_gap(graph) / 2) ** k},
    ],
    "defect": [
        {"distance": lambda graph, p: stability.idempotence_defect(graph, p + 1)},
        {"distance": shifted(stability.idempotence_defect)},
    ],
    "stable-hypothesis": [
        {"distance": lambda graph: 0.0},
        {"distance": lambda graph: stability.idempotence_defect(graph) + 1e-6},
    ],
    "stable-form": [
        {"form": lambda d: np.full((len(d), len(d)), 1 / len(d))},
        {"form": lambda d: powers.pooling(d).T},
    ],
    "period-four": [
        {"closed": lambda A, k: np.cos(k * np.pi / 2) * A + (np.eye(len(A)) - A)},
        {"closed": lambda A, k: powers.four_step(A, k + 1)},
    ],
    "cfl": [
        {"limit": scaled(step_size.largest_step, 1.03)},
        {"limit": scaled(step_size.largest_step, 0.97)},
        {"limit": largest_only},
    ],
    "cfl-channels": [{"verdict": radius_of_the_mean}, {"verdict": limit_too_large}],
    "damping": [
        {"eigenvalues": not_symmetrised}, {"eigenvalues": scaled(step_size.symmetric_part, 2)},
    ],
    "e1-gsnl-is-snl": [
        {"fold": lambda a, b, c: (a - c, b + c)}, {"fold": lambda a, b, c: (a, b + 2 * c)},
    ],
    "e2-period-four": [{"rule": errata_operators.printed_classes}],
    "e3-sign": [{"scaled": lambda A: A}],
    "e4-largest": [{"bound": lambda: 1.9}, {"bound": lambda: 2.1}],
    "e5-transpose": [{"inverse": lambda U: U.T}],
    "e6-negative": [{"feature_map": lambda x: x}, {"feature_map": np.sinh}],
    "e7-first-coefficient": [
        {"mean": scaled(errata_operators.node_mean, 2)},
        {"mean": lambda g: float(g(np.linspace(0, 2, 32)).mean())},
    ],
    "e10-stage": [{"weights": lambda W: (W, -W)}, {"weights": lambda W: (-W, -W)}],
    "k1-softmax": [{"symmetrise": lambda M: M}],
    "e8-lemma1-range": [{"signal": any_signal}, {"signal": uniform_signal}],
    "e8-lemma1-snl": [{"weights": lambda mu: (mu, 1.0)}, {"weights": lambda mu: (-1.0, 1.0)}],
    "e9-histograms": [{"matrix": uneven_matrix}],
    "e9-attention": [{"matrix": soft_attention}],
}  # fmt: skip
