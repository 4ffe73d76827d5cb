"""self_loops=False where a node's self-loop outweighs its other edges, by dense long doubles."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

import gspnl
from gspnl.errors import DegreeError, PrecisionWarning

Long = np.longdouble


def dense(X, kind):
    """W without its diagonal, in extended precision."""
    X = X.astype(Long)
    W = np.maximum(X @ X.T, 0) if kind == "dot" else np.maximum(X[:, :1] + X[:, :1].T, 0)
    np.fill_diagonal(W, 0)
    return W


def normalized(W, normalization):
    d = W.sum(1)
    safe = np.where(d > 0, d, 1)
    if normalization == "random_walk":
        A = W / safe[:, None]
    else:
        A = W / np.sqrt(safe)[:, None] / np.sqrt(safe)
    return A + np.diag((d <= 0).astype(Long)), d


def dominated(n, factor, dtype, seed=1):
    X = np.abs(np.random.default_rng(seed).standard_normal((n, 4)))
    X[n // 2] *= factor
    return X.astype(dtype)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
@pytest.mark.parametrize("factor", [3e2, 4e4, 2e6, 5e8])
def test_a_dominant_node_keeps_the_digits_of_float32(factor, normalization, library):
    X = dominated(50, factor, np.float32)
    Z = np.random.default_rng(2).standard_normal((50, 3)).astype(np.float32)
    graph = gspnl.feature_graph(
        library(X), feature_map="relu", normalization=normalization, storage="lowrank",
        self_loops=False,
    )  # fmt: skip
    A, d = normalized(dense(X, "dot"), normalization)
    found = graph.apply(library(Z))
    assert found.dtype == library(Z).dtype
    assert np.abs(np.asarray(found) - A @ Z).max() < 3e-5
    assert np.abs(np.asarray(graph.degrees) / d - 1).max() < 3e-5
    assert np.abs(np.asarray(graph.dense()) - A).max() < 3e-5
    filtered = graph.filter(library(Z), gspnl.responses.heat(1.5))
    wanted = scipy.linalg.expm(-1.5 * (np.eye(50) - A).astype(float)) @ Z
    assert np.abs(np.asarray(filtered) - wanted).max() < 3e-5


@pytest.mark.parametrize("scale", [1e-3, 1e-5, 1e-7])
def test_nearly_orthogonal_features(scale):
    """Overlaps of eps: each self-loop is 1, all other edges of a node about 2 · 7 · eps."""
    noise = np.abs(np.random.default_rng(3).standard_normal((8, 8)))
    X = (np.eye(8) + scale * noise).astype(np.float32)
    graph = gspnl.feature_graph(X, feature_map="relu", storage="lowrank", self_loops=False)
    A, _ = normalized(dense(X, "dot"), "random_walk")
    assert np.abs(graph.apply(np.eye(8, dtype=np.float32)) - A).max() < 1e-6


def test_batches_and_softmax():
    X = np.stack([dominated(30, f, np.float32, seed=int(f)) for f in (1.0, 1e3, 1e6)])
    E = [np.abs(np.random.default_rng(k).standard_normal((4, 2))).astype("f4") for k in (7, 8)]
    Z = np.random.default_rng(4).standard_normal((3, 30, 2)).astype(np.float32)
    graph = gspnl.feature_graph(
        X, embed=E, feature_map="relu", normalization="softmax", storage="lowrank",
        self_loops=False,
    )  # fmt: skip
    found = graph.apply(Z)
    operator = gspnl.as_linear_operator(gspnl.feature_graph(
        X[2], embed=E, feature_map="relu", normalization="softmax", storage="lowrank",
        self_loops=False,
    ))  # fmt: skip
    for k in range(3):
        phi, psi = (X[k] @ e for e in E)
        M = phi.astype(Long) @ psi.astype(Long).T
        np.fill_diagonal(M, 0)
        A = M / M.sum(1, keepdims=True)
        assert np.abs(found[k] - A @ Z[k]).max() < 2e-5
    assert np.abs(operator.rmatmat(Z[2]) - A.T @ Z[2]).max() < 2e-4


def test_sorted_storage_widens_too():
    X = np.array([[1.0], [0.3], [2.5e6], [-2.4e6], [-2.3e6]], np.float32)
    one = np.array([1.0], np.float32)
    W = dense(X, "concatenation")
    graph = gspnl.feature_graph(
        X, "concatenation", embed=(one, one), storage="sorted", self_loops=False
    )
    A, d = normalized(W, "random_walk")
    assert np.abs(graph.degrees / d - 1)[d > 0].max() < 1e-6
    assert np.abs(graph.apply(np.eye(5, dtype=np.float32)) - A).max() < 1e-6


def test_nodes_without_other_edges_are_isolated_not_rounding():
    """Node 0 alone has three columns of its own, whose squares do not add up exactly."""
    X = np.zeros((6, 7))
    X[0, :3] = 0.1, 0.7, 1 / 3
    X[1:, 3:] = np.abs(np.random.default_rng(5).standard_normal((5, 4)))
    for dtype in (np.float32, np.float64):
        graph = gspnl.feature_graph(
            X.astype(dtype), feature_map="relu", storage="lowrank", self_loops=False
        )
        assert graph.degrees[0] == 0
        assert np.array_equal(graph.apply(np.eye(6, dtype=dtype))[0], np.eye(6)[0])


def test_digits_beyond_float64_are_announced_or_refused():
    build = {"feature_map": "relu", "storage": "lowrank", "self_loops": False}
    with pytest.warns(PrecisionWarning, match="self_loops=False"):
        gspnl.feature_graph(dominated(40, 1e10, np.float64), **build)
    with pytest.raises(DegreeError, match="storage='dense'"):
        gspnl.feature_graph(dominated(40, 1e15, np.float64), **build)
    X = dominated(40, 1e15, np.float64)
    graph = gspnl.feature_graph(X, **{**build, "storage": "dense"})
    A, _ = normalized(dense(X, "dot"), "random_walk")
    assert np.abs(graph.dense() - A).max() < 1e-12


def test_gradients_of_a_widened_graph():
    X = torch.as_tensor(dominated(12, 1e5, np.float32))
    Z = torch.as_tensor(np.random.default_rng(6).standard_normal((12, 2)))

    def loss(x, w):
        x = x.requires_grad_()
        graph = gspnl.feature_graph(x, feature_map="relu", storage="lowrank", self_loops=False)
        return torch.autograd.grad((graph.apply(Z.to(x.dtype)) * w.to(x.dtype)).sum(), x)[0]

    def truth(x, w):
        x = x.double().requires_grad_()
        W = torch.relu(x) @ torch.relu(x).T
        W = W - torch.diag(torch.diag(W))
        return torch.autograd.grad(((W @ Z) / W.sum(1, keepdim=True) * w).sum(), x)[0]

    w = torch.as_tensor(np.random.default_rng(7).standard_normal((12, 2)))
    wanted = truth(X.clone(), w)
    error = (loss(X.clone(), w).double() - wanted).abs()
    assert float((error / wanted.abs().amax(-1, keepdim=True)).max()) < 1e-3
