"""Filters of graphs whose degrees span many orders of magnitude: right, or announced."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
import torch

import gspnl
from gspnl.errors import PrecisionWarning


def chain(gap, n, dtype):
    """Points whose neighbours are 1 apart on one half and ``gap`` on the other; no self-loops."""
    steps = np.where(np.arange(n) < n // 2, 1.0, gap)
    return np.cumsum(steps)[:, None].astype(dtype)


def walk(X, sigma=1.0):
    """A of the rbf without self-loops, in extended precision."""
    X = X.astype(np.longdouble)
    s = -((X - X.T) ** 2) / (2 * np.longdouble(sigma) ** 2)
    np.fill_diagonal(s, -np.inf)
    s = s - s.max(1, keepdims=True)
    return np.exp(s) / np.exp(s).sum(1, keepdims=True)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(("gap", "dtype"), [
    (2.0, np.float32), (5.0, np.float32), (9.0, np.float32), (12.0, np.float32),
    (3.0, np.float64), (8.0, np.float64), (15.0, np.float64), (30.0, np.float64),
])  # fmt: skip
@pytest.mark.parametrize("storage", ["dense", "tiled"])
def test_exact_filters_are_right_or_announced(gap, dtype, storage, library):
    X = chain(gap, 24, dtype)
    Z = np.random.default_rng(1).standard_normal((24, 2)).astype(dtype)
    wanted = scipy.linalg.expm(-1.7 * (np.eye(24) - walk(X)).astype(float)) @ Z
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = gspnl.feature_graph(library(X), "rbf", sigma=1.0, storage=storage, self_loops=False)
        found = np.asarray(graph.filter(library(Z), gspnl.responses.heat(1.7)))
    announced = [w for w in caught if w.category is PrecisionWarning]
    if gap > 9:
        assert announced
        assert "degrees of this graph span" in str(announced[0].message)
    limit = 2e-3 if dtype == np.float32 else 1e-6
    assert announced or np.abs(found - wanted).max() < limit
    if gap < 5:
        assert not announced


def test_products_and_rows_need_no_warning():
    X = chain(30.0, 24, np.float64)
    graph = gspnl.feature_graph(X, "rbf", sigma=1.0, storage="tiled", self_loops=False)
    assert np.abs(graph.dense() - walk(X)).max() < 1e-12
    assert np.abs(graph.apply(np.eye(24)) - walk(X)).max() < 1e-12


def test_symmetric_normalization_has_no_spread():
    X = chain(8.5, 24, np.float64)
    graph = gspnl.feature_graph(X, "rbf", sigma=1.0, normalization="symmetric", self_loops=False)
    W = np.exp(-((X - X.T) ** 2) / 2) * (1 - np.eye(24))
    d = W.sum(1)
    A = W / np.sqrt(np.outer(d, d))
    wanted = scipy.linalg.expm(-0.8 * (np.eye(24) - A))
    assert np.abs(graph.filter(np.eye(24), gspnl.responses.heat(0.8)) - wanted).max() < 1e-10


@pytest.mark.parametrize(
    "verb",
    [
        lambda graph, Z: graph.spectrum().gft(Z),
        lambda graph, Z: graph.filter(Z, gspnl.responses.heat(1.0), order=4),
        lambda graph, Z: gspnl.denoise(graph, Z, strength=1.0),
        lambda graph, Z: graph.spectrum(k=3),
    ],
    ids=["spectrum", "order", "denoise", "partial"],
)
def test_every_verb_in_the_basis_of_the_symmetric_core_announces(verb):
    graph = gspnl.feature_graph(chain(12.0, 30, np.float64), "rbf", sigma=1.0, self_loops=False)
    with pytest.warns(PrecisionWarning, match="small degree"):
        verb(graph, np.ones((30, 1)))


def test_graphs_of_a_batch_have_their_own_spread():
    """Weights of one are 1e24 times those of the other; each graph alone is regular."""
    X = np.stack([np.ones((6, 2)), 1e-12 * np.ones((6, 2))])
    graph = gspnl.feature_graph(X, feature_map="relu")
    Z = np.random.default_rng(3).standard_normal((2, 6, 1))
    mean = Z.mean(1, keepdims=True)
    wanted = mean + np.exp(-1.0) * (Z - mean)
    assert np.abs(graph.filter(Z, gspnl.responses.heat(1.0)) - wanted).max() < 1e-12
    assert graph.affinity.change.shape == (2, 6)


def test_isolated_nodes_have_no_spread():
    X = np.array([[1.0], [2.0], [0.0]])
    graph = gspnl.feature_graph(X, feature_map="relu")
    assert graph.spectrum().eigenvalues[0] == pytest.approx(0, abs=1e-12)
    assert gspnl.feature_graph(0 * X, feature_map="relu").affinity.change.tolist() == [1, 1, 1]
