"""Curl of scores, against its definition on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from support.directed import attention, causal, cycle, rows_to_one, stationary

import gspnl
from gspnl.errors import InputError, SizeError


def definition(s):
    K = s - s.T
    h = K.mean(1)
    left = K - (h[:, None] - h)
    return (left**2).sum() / (K**2).sum(), h


def flow_asymmetry(A):
    """Share of the stationary flow that does not return."""
    pi = stationary(A)
    flow = pi[:, None] * A
    return np.abs(flow - flow.T).sum() / 2


def test_equals_its_definition_and_leaves_a_reversible_walk():
    rng = np.random.default_rng(0)
    for scale in (0.3, 1.0, 2.0):
        A = attention(rng, 30, scale)
        found = gspnl.curl(gspnl.graph_from_weights(A, "softmax"))
        share, h = definition(np.log(A))
        assert found.share == pytest.approx(share, abs=1e-12)
        assert np.abs(found.potential - h).max() < 1e-12
        B = found.reversible.dense()
        assert np.allclose(B.sum(1), 1)
        assert flow_asymmetry(A) > 1e-2
        assert flow_asymmetry(B) < 1e-12
        s = (np.log(A) + np.log(A).T) / 2 + (h[:, None] - h) / 2
        assert np.abs(B - rows_to_one(np.exp(s))).max() < 1e-13
        assert found.reversible.spectrum().eigenvalues.dtype == np.float64


def test_a_reversible_walk_has_none_and_keeps_its_entries():
    rng = np.random.default_rng(0)
    S = rng.standard_normal((20, 20))
    h = rng.standard_normal(20)
    A = rows_to_one(np.exp(S + S.T + h[:, None] - h))
    found = gspnl.curl(gspnl.graph_from_weights(A, "softmax"))
    assert found.share < 1e-28
    assert np.abs(found.reversible.dense() - A).max() < 1e-13


def test_symmetric_weights_have_none():
    W = np.exp(np.random.default_rng(0).standard_normal((9, 9)))
    found = gspnl.curl(gspnl.graph_from_weights(W + W.T, "softmax"))
    assert found.share == 0
    graph = gspnl.graph_from_weights(W + W.T)
    assert gspnl.curl(graph).share == 0
    assert gspnl.curl(graph).reversible is graph
    X = np.random.default_rng(0).standard_normal((30, 2))
    for kernel in ("gaussian", "rbf"):
        for storage in ("dense", "tiled"):
            soft = gspnl.feature_graph(X, kernel, normalization="softmax", storage=storage)
            found = gspnl.curl(soft)
            assert found.share == 0
            assert np.abs(found.reversible.dense() - soft.dense()).max() < 1e-13


def test_two_nodes_have_none():
    A = np.array([[0.5, 0.5], [0.1, 0.9]])
    found = gspnl.curl(gspnl.graph_from_weights(A, "softmax"))
    assert found.share == pytest.approx(0, abs=1e-30)
    assert np.abs(found.reversible.dense() - A).max() < 1e-15


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("self_loops", [True, False])
def test_tiled_and_dense_attention_agree(dtype, self_loops):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 5)).astype(dtype)
    E = tuple(rng.standard_normal((2, 5, 4)).astype(dtype))
    found = {}
    for storage in ("dense", "tiled"):
        graph = gspnl.feature_graph(
            X, "embedded_gaussian", embed=E, temperature=3.0, normalization="softmax",
            storage=storage, self_loops=self_loops,
        )  # fmt: skip
        found[storage] = gspnl.curl(graph)
        assert found[storage].reversible.storage == storage
    s = (X.astype(float) @ E[0]) @ (X.astype(float) @ E[1]).T / 3
    share, h = definition(s)
    tol = 1e-12 if dtype == np.float64 else 1e-4
    for one in found.values():
        assert one.share == pytest.approx(share, abs=tol)
        assert np.abs(one.potential - h).max() < 100 * tol
    V = np.exp((s + s.T - h[:, None] - h) / 2)
    if not self_loops:
        np.fill_diagonal(V, 0)
    for one in found.values():
        assert np.abs(one.reversible.dense() - rows_to_one(V)).max() < 100 * tol
    Z = rng.standard_normal((60, 2)).astype(dtype)
    smooth = [one.reversible.filter(Z, gspnl.responses.heat(2.0)) for one in found.values()]
    assert np.abs(smooth[0] - smooth[1]).max() < 100 * tol


def test_tiled_graphs_take_memory_of_their_features_only(monkeypatch):
    from gspnl._base import array

    X = np.random.default_rng(1).standard_normal((3000, 5))
    E = tuple(np.random.default_rng(2).standard_normal((2, 5, 4)))
    graph = gspnl.feature_graph(
        X, "embedded_gaussian", embed=E, normalization="softmax", storage="tiled"
    )
    monkeypatch.setattr(array, "available_memory", lambda: 2_000_000)
    assert 0 < gspnl.curl(graph).share < 1
    dot = gspnl.feature_graph(X, "dot", feature_map="softplus", normalization="softmax")
    with pytest.raises(SizeError, match="scores of all pairs"):
        gspnl.curl(dot)


def test_low_rank_and_torch_graphs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    X, E = rng.standard_normal((20, 4)), tuple(rng.standard_normal((2, 4, 3)))
    graph = gspnl.feature_graph(
        X, "dot", embed=E, feature_map="softplus", normalization="softmax", storage="lowrank"
    )
    share, _ = definition(np.log(graph.dense()))
    other, _ = definition(np.log(np.asarray(graph.weights.rows(np.arange(20)))))
    assert gspnl.curl(graph).share == pytest.approx(other)
    assert share != pytest.approx(other)  # scores are those of W, before normalisation
    found = gspnl.curl(gspnl.graph_from_weights(torch.tensor(graph.dense()), "softmax"))
    assert found.share == pytest.approx(share)
    assert isinstance(found.reversible.dense(), torch.Tensor)


@pytest.mark.parametrize(
    "W",
    [
        causal(np.random.default_rng(0), 6),
        cycle(4),
        np.eye(3),
        scipy.sparse.csr_array(cycle(5)),
        np.array([[1.0, -0.1, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]),
    ],
)
def test_entries_that_are_not_positive_are_refused(W):
    with pytest.raises(InputError, match=r"not positive.*W\[0, .*score of 0 is −∞"):
        gspnl.curl(gspnl.graph_from_weights(W, "softmax"))


def test_batches_and_other_objects_are_refused():
    A = attention(np.random.default_rng(0), 5)
    with pytest.raises(InputError, match=r"graph\[i\]"):
        gspnl.curl(gspnl.graph_from_weights(np.stack([A, A]), "softmax"))
    with pytest.raises(InputError, match="FeatureGraph"):
        gspnl.curl(A)
