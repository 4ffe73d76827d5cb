"""Every term of the bounds of approximate graphs, pinned on small cases.

The bounds hold with room in ordinary draws, so a term that is lost is seen only where it is the
largest, or where the bound equals a formula.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.formulas import affinity

import gspnl
from gspnl.affinity.approximation import certificate, residual
from gspnl.affinity.approximation.points import Points
from gspnl.affinity.approximation.residual import Residual, RowSums


def features(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 2))


@pytest.mark.parametrize("rank", [8, 10, 12])
def test_the_bound_of_a_bistochastic_graph_equals_its_formula(rank):
    """One block, so E is exact: (2u + u²) max ‖Ŝ_i‖ + (1 + u)² ‖ŝ E ŝ‖, u = δ/(1 − δ)."""
    X = features(60)
    graph = gspnl.feature_graph(X, "rbf", sigma=2.0, rank=rank, normalization="bistochastic")
    W = affinity("rbf", X, sigma=2.0)
    S = np.asarray(graph.dense())
    s = np.asarray(graph.affinity.left)
    E = W - S / (s[:, None] * s)
    norm = np.linalg.norm(s[:, None] * E * s)
    # ‖ŝ∘(E ŝ)‖ node by node, or by Cauchy-Schwarz; and the defect of ŝ itself, rounding
    delta = min(np.linalg.norm(s * (E @ s)), np.sqrt(norm) * np.sqrt(s @ E @ s))
    delta += np.linalg.norm(S.sum(1) - 1)
    u = delta / (1 - delta)
    truth = (2 * u + u**2) * np.linalg.norm(S, axis=1).max() + (1 + u) ** 2 * norm
    assert graph.approximation.bound == pytest.approx(truth, rel=1e-6)
    assert u**2 > 1e-4 * truth  # else the term were lost in the tolerance


def sums(n, **values):
    """Row sums without errors, but for those given."""
    zero = np.zeros(n)
    empty = {"own": zero, "floor": zero, "spread": zero, "roots": (0.0, 0.0)}
    return RowSums(**(empty | {"diagonal": zero, "noise": zero} | values))


def test_the_norm_of_a_weighted_error_adds_rounding_and_the_diagonal():
    """½(√4·5 + √9·3) by Cauchy-Schwarz, ‖w∘noise‖ = 10, and ‖w∘diagonal‖ = 26 without loops."""
    weight = np.array([1.0, 2.0])
    given = sums(2, roots=(3.0, 5.0), noise=np.array([6.0, 4.0]), diagonal=np.array([10.0, 12.0]))
    for self_loops, truth in ((True, 9.5 + 10), (False, 9.5 + 10 + 26)):
        found = certificate._weighted(
            (4.0, 9.0), SimpleNamespace(self_loops=self_loops), given, weight
        )
        assert found == pytest.approx(truth, rel=1e-14)


@pytest.mark.parametrize("size", [1e-3, 0.05])
def test_degrees_that_are_off_count_in_the_bound(size):
    """W = Ŵ, and only the stored scales are wrong: ‖S − Ŝ‖ comes from them alone."""
    X = np.abs(features(30, 1))
    graph = gspnl.feature_graph(X, "dot", storage="lowrank")
    off = np.exp(size * np.random.default_rng(2).standard_normal(30) / 2)
    right = graph.affinity
    wrong = replace(right, left=right.left * off**2)
    core, moved = (np.asarray(a.core_scale) for a in (right, wrong))
    W = affinity("dot", X)
    truth = np.linalg.norm(core[:, None] * W * core - moved[:, None] * W * moved)
    nothing = SimpleNamespace(self_loops=True, norms=lambda *scales: [(0.0, 0.0)] * len(scales))
    given = sums(30, floor=W.diagonal())
    bound = certificate.core_bound(wrong, graph.weights, nothing, given)
    assert truth <= bound <= 2 * truth  # 2 ‖(T − I) Ŝ‖ is at most twice the error


def test_the_spread_of_row_sums_has_both_sides(monkeypatch):
    """E_φψ = p qᵀ of rank one, where Cauchy-Schwarz is attained: e_i = ½(p_i Σ q + q_i Σ p)."""
    rng = np.random.default_rng(3)
    p, q, n = rng.uniform(0.1, 1, 40), rng.uniform(2, 5, 40), 40
    points = Points(np.zeros((80, 2)), -np.log(np.concatenate([p, q])), False)
    assert points.diagonal() == pytest.approx(np.concatenate([p, q]) ** 2)
    nothing = [np.zeros((n, 1))] * 2
    monkeypatch.setattr(residual, "BLOCK", 10)
    found = Residual(points, nothing, True, 0.0, 0).row_sums(np.ones(n))
    noisy = Residual(points, nothing, True, 1e-3, 0).row_sums(np.ones(n))
    e = (p * q.sum() + q * p.sum()) / 2
    assert found.own + found.spread == pytest.approx(e, rel=1e-12)
    # Rounding: ρ √(K_ii K_jj), both ways, so ρ e here.
    assert noisy.spread - found.spread == pytest.approx(1e-3 * e, rel=1e-9)
    assert noisy.noise == pytest.approx(1e-3 * e, rel=1e-12)


def test_norms_add_the_rounding_of_the_factor():
    """ρ Σ s² K_ii, of Φ and of Ψ."""
    p, q = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 5.0])
    points = Points(np.zeros((6, 1)), -np.log(np.concatenate([p, q])), False)
    factors = [p[:, None], q[:, None]]  # exact: E = 0
    scale = np.array([1.0, 0.5, 2.0])
    (found,) = Residual(points, factors, True, 1e-2, 0).norms(scale)
    truth = 1e-2 * (scale**2 @ p**2), 1e-2 * (scale**2 @ q**2)
    assert found == pytest.approx(truth, rel=1e-9)
