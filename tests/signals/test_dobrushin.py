"""Dobrushin's coefficient against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from support.directed import DRAWS, causal, cycle

import gspnl
from gspnl.errors import EffortError, InputError
from gspnl.signals.stability import dobrushin


def definition(A):
    return max(np.abs(a - b).sum() / 2 for a in A for b in A)


@pytest.mark.parametrize("power", [1, 2, 5])
@pytest.mark.parametrize("kind", sorted(DRAWS))
def test_equals_its_definition(kind, power):
    A = DRAWS[kind](np.random.default_rng(5), 30)
    graph = gspnl.graph_from_weights(A, "softmax")
    expected = definition(np.linalg.matrix_power(A, power))
    assert dobrushin(graph, power=power) == pytest.approx(expected, abs=1e-13)


def test_rows_in_several_tiles_equal_the_definition(monkeypatch):
    from gspnl.signals.stability import contraction

    monkeypatch.setattr(contraction, "TILE", 7)
    X = np.random.default_rng(0).standard_normal((40, 3))
    for storage in ("dense", "tiled"):
        for dtype, tol in ((np.float64, 1e-12), (np.float32, 1e-6)):
            graph = gspnl.feature_graph(
                X.astype(dtype), "gaussian", normalization="softmax", storage=storage
            )
            A = np.asarray(graph.dense(), float)
            assert dobrushin(graph, 3) == pytest.approx(
                definition(np.linalg.matrix_power(A, 3)), abs=tol
            )


def test_known_answers():
    def of(A):
        return gspnl.graph_from_weights(np.asarray(A, float), "softmax")

    assert dobrushin(of(np.ones((5, 1)) @ np.arange(1.0, 6)[None])) == pytest.approx(0, abs=1e-15)
    assert dobrushin(of(np.eye(3))) == 1
    assert dobrushin(of(cycle(4)), power=9) == 1
    assert dobrushin(of(np.eye(3)), power=0) == 1


def test_it_bounds_the_spread_under_a_causal_mask():
    rng = np.random.default_rng(0)
    A = causal(rng, 12)
    graph = gspnl.graph_from_weights(A, "softmax")
    delta = dobrushin(graph, power=40)
    assert delta < 0.5
    Z = rng.standard_normal((12, 50))
    assert (np.ptp(np.linalg.matrix_power(A, 40) @ Z, axis=0) <= delta * np.ptp(Z, axis=0)).all()


def test_reversible_graphs_have_one_too_and_others_are_refused():
    W = np.ones((4, 4)) + np.eye(4)
    assert dobrushin(gspnl.graph_from_weights(W)) == pytest.approx(0.2)
    for name in ("symmetric", "combinatorial"):
        with pytest.raises(InputError, match=r"rows that sum to 1.*use normalization="):
            dobrushin(gspnl.graph_from_weights(W, name))
    with pytest.raises(InputError, match="power=-1"):
        dobrushin(gspnl.graph_from_weights(W), power=-1)
    batch = gspnl.graph_from_weights(np.stack([W, W]))
    with pytest.raises(InputError, match=r"graph\[i\]"):
        dobrushin(batch)
    with pytest.raises(InputError, match="FeatureGraph"):
        dobrushin(W)


def test_too_many_nodes_are_refused_with_an_estimate():
    X = np.random.default_rng(0).standard_normal((60_000, 3)).astype(np.float32)
    graph = gspnl.feature_graph(X, "dot", normalization="softmax")
    with pytest.raises(EffortError, match=r"60,000 nodes would take"):
        dobrushin(graph)
