"""Graphs on which the operators are tested, each with its dense W, A and T."""

from __future__ import annotations

import numpy as np

import gspnl
from support.formulas import affinity, normalized, weights

N = 40
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 3))
TWINS = np.concatenate([X[:20], X[:20]])
ALONE = X.copy()
ALONE[[0, 7, 30]] = -1.0  # relu takes them to 0: no edges
LINE = np.linspace(0, 1, 12)[:, None]

CASES = {
    "rbf": (X, "rbf", {"sigma": 1.3}, {}),
    "lowrank": (X, "dot", {}, {"storage": "lowrank"}),
    "softplus": (X, "dot", {"feature_map": "softplus"}, {"storage": "lowrank"}),
    "cosine": (X, "cosine", {}, {}),
    "anchors": (X, "anchors", {"anchors": 6}, {}),
    "hollow": (X, "cosine", {}, {"storage": "lowrank", "self_loops": False}),
    "hollow_rbf": (X, "rbf", {}, {"self_loops": False}),
    "isolated": (ALONE, "dot", {}, {"storage": "lowrank"}),
    "isolated_dense": (ALONE, "dot", {}, {"storage": "dense"}),
    "twins": (TWINS, "rbf", {}, {}),
    "two": (X[:2], "rbf", {}, {}),
    "line": (LINE, "rbf", {"sigma": 0.1}, {}),
}
NORMALIZATIONS = ("random_walk", "symmetric", "bistochastic", "combinatorial")
# relu features of mixed sign have a pattern of zeros that may allow no bistochastic scaling
PAIRS = [
    (case, normalization)
    for case in CASES
    for normalization in NORMALIZATIONS
    if not (normalization == "bistochastic" and case.startswith(("isolated", "lowrank")))
]


def build(case, normalization="random_walk", dtype=np.float64):
    """(graph, W, A, T), the last three by plain formulas in float64."""
    features, kernel, options, more = CASES[case]
    graph = gspnl.feature_graph(
        features.astype(dtype), kernel, normalization=normalization, **options, **more
    )
    oracle = dict(options)
    if kernel == "anchors":
        oracle = {"points": graph.kernel._points, "sigma": float(graph.kernel._sigmas[0, 0])}
    W = weights(affinity(kernel, features, **oracle), normalization, more.get("self_loops", True))
    return graph, W, *normalized(W, normalization)


def pairs_of(W, A, normalization, Z):
    """(K, f): the edge weights and the signal whose differences count, as the docstrings say."""
    d = W.sum(1)
    root = np.where(d > 0, np.sqrt(np.where(d > 0, d, 1)), 1)[:, None]
    if normalization in ("random_walk", "combinatorial"):
        return W, Z
    if normalization == "symmetric":
        return W, Z / root
    return A * (d > 0), Z
