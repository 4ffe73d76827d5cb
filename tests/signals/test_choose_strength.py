"""The risk of a smoother against its formula, where eigenvalues repeat."""

from __future__ import annotations

import numpy as np
import pytest
from support.averaging import stated
from support.formulas import affinity, eigen, normalized, weights

import gspnl


@pytest.mark.parametrize("columns", [1, 3])
def test_the_risk_of_a_low_rank_graph_counts_repeated_eigenvalues(columns):
    """λ = 1 stands for N − r modes: tr H counts each of them."""
    rng = np.random.default_rng(2)
    X = rng.random((50, 3))
    Z = X @ rng.standard_normal((3, columns)) + 0.3 * rng.standard_normal((50, columns))
    graph = gspnl.feature_graph(X, "dot", storage="lowrank")
    assert len(graph.spectrum().eigenvalues) < 50
    lam, U, inverse = eigen(*normalized(weights(affinity("dot", X), "dot"), "random_walk"))

    def risk(strength):
        gains = 1 / (1 + strength * lam)
        residual = Z - U @ (gains[:, None] * (inverse @ Z))
        return (residual**2).sum() + 2 * 0.3**2 * columns * gains.sum()

    with stated(lam[1]):
        found = gspnl.choose_strength(graph, Z, sigma=0.3)
    best = min(risk(s) for s in np.logspace(-3, 6, 600))
    # The search ends within 1e-2 of log strength; the risk is flat to second order there.
    assert risk(found) <= best * (1 + 1e-4)
    assert best < 0.9 * min(risk(1e-6), risk(1e12))  # a minimum inside, which the trace decides
