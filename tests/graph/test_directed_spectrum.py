"""Directed spectra of graphs: every storage, library and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from support.directed import causal, largest_moduli, similar, sparse, stationary

import gspnl
from gspnl.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
EMBED = RNG.standard_normal((2, 4, 3)) / 2


def agree(found, A, tol=1e-8):
    A = np.asarray(A, float)
    pi = stationary(A)
    m = len(found.eigenvalues)
    mu = np.linalg.eigvals(A)
    assert np.abs(found.eigenvalues[:, None] - mu).min(1).max() < tol
    assert np.abs(np.abs(found.eigenvalues) - largest_moduli(A)[:m]).max() < tol
    B = similar(A, pi)
    assert np.abs(found.sigma - np.linalg.svd(B, compute_uv=False)[:m]).max() < tol
    chung = np.sort(np.linalg.eigvalsh(np.eye(len(A)) - (B + B.T) / 2))[1]
    assert found.chung_gap == pytest.approx(chung, abs=tol)
    assert np.abs(found.stationary - pi).max() < tol
    assert found.gap == pytest.approx(1 - largest_moduli(A)[1], abs=tol)


@pytest.mark.parametrize("storage", ["dense", "lowrank", "tiled"])
def test_storages_of_attention_agree_with_dense_formulas(storage, monkeypatch):
    kernel, options = ("dot", {"feature_map": "softplus"})
    if storage == "tiled":
        kernel, options = "embedded_gaussian", {}
    graph = gspnl.feature_graph(
        X, kernel, embed=tuple(EMBED), normalization="softmax", storage=storage, **options
    )
    agree(graph.directed_spectrum(6), graph.dense())
    from gspnl.filters.directed import graphs

    monkeypatch.setattr(graphs, "DENSE", 0)  # by products
    agree(graph.directed_spectrum(6), graph.dense())


def test_large_tiled_graph_agrees_with_dense_formulas():
    rng = np.random.default_rng(1)
    Y = rng.standard_normal((700, 4))
    graph = gspnl.feature_graph(
        Y, "embedded_gaussian", embed=tuple(EMBED), normalization="softmax", storage="tiled"
    )
    agree(graph.directed_spectrum(6), graph.dense())


def test_sparse_graph_agrees_with_dense_formulas():
    A = sparse(np.random.default_rng(2), 80)
    graph = gspnl.graph_from_weights(scipy.sparse.csr_array(A), "softmax")
    agree(graph.directed_spectrum(10), A)


@pytest.mark.parametrize("normalization", ["random_walk", "bistochastic"])
def test_reversible_graphs_have_their_real_spectrum(normalization):
    graph = gspnl.feature_graph(X, "rbf", sigma=2.0, normalization=normalization)
    found = graph.directed_spectrum(5)
    mu = 1 - graph.spectrum().eigenvalues
    assert np.allclose(found.eigenvalues, mu[np.argsort(-np.abs(mu))][:5], atol=1e-10)
    assert np.allclose(found.sigma, np.abs(found.eigenvalues), atol=1e-10)
    assert found.departure == pytest.approx(0, abs=1e-6)
    agree(found, graph.dense())


def test_float32_and_torch_graphs_are_accurate_to_their_dtype():
    torch = pytest.importorskip("torch")
    for Y in (X.astype(np.float32), torch.tensor(X, dtype=torch.float32), torch.tensor(X)):
        graph = gspnl.feature_graph(Y, "gaussian", normalization="softmax")
        tol = 1e-8 if "64" in str(Y.dtype) else 2e-5
        agree(graph.directed_spectrum(4), np.asarray(graph.dense(), float), tol)


def test_two_nodes():
    found = gspnl.graph_from_weights(np.array([[0.5, 0.5], [0.25, 0.75]]), "softmax")
    found = found.directed_spectrum()
    assert found.eigenvalues == pytest.approx([1, 0.25])
    assert found.sigma == pytest.approx([1, 0.25])
    assert np.allclose(found.numerical_range, 0.25)
    assert found.stationary == pytest.approx([1 / 3, 2 / 3])


def test_causal_mask_is_told_by_dobrushin():
    graph = gspnl.graph_from_weights(causal(np.random.default_rng(0), 9), "softmax")
    found = graph.directed_spectrum()
    assert found.sigma is None
    assert "stability.dobrushin" in found.reasons["sigma"]
    assert np.array_equal(found.stationary, np.eye(9)[0])
    assert "no stationary norm" in repr(found)


def test_several_closed_classes_are_a_reason():
    W = np.kron(np.eye(2), np.array([[1.0, 2.0], [3.0, 1.0]]))
    found = gspnl.graph_from_weights(W, "softmax").directed_spectrum()
    assert found.stationary is None
    assert "classes" in found.reasons["stationary"]
    assert found.eigenvalues[:2] == pytest.approx([1, 1])


def test_graphs_without_a_walk_and_bad_numbers_are_refused():
    W = np.ones((4, 4)) + np.eye(4)
    for name in ("symmetric", "combinatorial"):
        with pytest.raises(InputError, match=f"{name}.*graph.spectrum"):
            gspnl.graph_from_weights(W, name).directed_spectrum()
    with pytest.raises(InputError, match=r"graph\[i\]"):
        gspnl.graph_from_weights(np.stack([W, W]), "softmax").directed_spectrum()
    signed = W.copy()
    signed[0, 1] = -0.5
    with pytest.raises(InputError, match="negative"):
        gspnl.graph_from_weights(signed, "softmax").directed_spectrum()
    graph = gspnl.graph_from_weights(W, "softmax")
    for k in (0, 1.5, "3", None):
        with pytest.raises(InputError, match="k="):
            graph.directed_spectrum(k)
    with pytest.raises(InputError, match="power="):
        graph.directed_spectrum(power=0)
    with pytest.raises(InputError, match="seed="):
        graph.directed_spectrum(seed=-1)
