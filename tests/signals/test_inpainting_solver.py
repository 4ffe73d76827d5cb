"""Inpainting on graphs that are nearly disconnected, against closed forms and exact fractions."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from support.formulas import relative

import gspnl
from gspnl._base.elimination import eliminate, eliminate_banded
from gspnl.errors import ConvergenceError, InputError
from gspnl.signals import inpainting_solver as solver


def path(weights, loops=1.0):
    """A path with the given weights, and self-loops that hide them in the degrees."""
    n = len(weights) + 1
    return scipy.sparse.csr_array(
        scipy.sparse.diags_array(
            [weights, np.full(n, loops), weights], offsets=[-1, 0, 1], shape=(n, n)
        )
    )


def voltages(weights):
    """Values on a path from 0 to 1: resistances 1/w in series."""
    steps = np.cumsum(1 / np.asarray(weights, np.longdouble))
    return np.r_[0.0, (steps / steps[-1]).astype(float)]


def exact(W, ground, load):
    """Solve (diag(W 1 + κ) − W) x = b in fractions."""
    n = len(W)
    F = [[Fraction(float(v)) for v in row] for row in W]
    A = [[-F[i][j] if i != j else Fraction(0) for j in range(n)] for i in range(n)]
    for i in range(n):
        A[i][i] = -sum(A[i]) + Fraction(float(ground[i]))
    b = [Fraction(float(v)) for v in load]
    for i in range(n):
        for j in range(i + 1, n):
            factor = A[j][i] / A[i][i]
            A[j] = [p - factor * q for p, q in zip(A[j], A[i], strict=True)]
            b[j] -= factor * b[i]
    x = [Fraction(0)] * n
    for i in range(n - 1, -1, -1):
        x[i] = (b[i] - sum(A[i][j] * x[j] for j in range(i + 1, n))) / A[i][i]
    return np.array([float(v) for v in x])


@pytest.mark.parametrize("spread", [1.0, 1e-10, 1e-40, 1e-200])
def test_elimination_keeps_all_digits_of_weights_of_any_size(spread):
    rng = np.random.default_rng(0)
    n = 16
    W = rng.random((n, n))
    W = (W + W.T) * spread ** np.abs(np.subtract.outer(np.arange(n) % 2, np.arange(n) % 2))
    np.fill_diagonal(W, 0)
    ground = np.where(np.arange(n) < 1, 1e-3, 0.0)
    load = np.where(np.arange(n) < 1, 1e-3, 0.0) + spread * rng.random(n) * (np.arange(n) == 5)
    truth = exact(W, ground, load)
    dense = eliminate(W.copy(), ground, load[:, None])[:, 0]
    assert np.abs(dense / truth - 1).max() < 1e-13
    banded = eliminate_banded(scipy.sparse.csr_array(W), n - 1, ground, load[:, None])[:, 0]
    assert np.abs(banded / truth - 1).max() < 1e-13


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("band", [1, 7, 90])
def test_elimination_in_blocks_solves_the_equations(n, band):
    rng = np.random.default_rng(n)
    near = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= band
    W = np.where(near, rng.random((n, n)), 0)
    W = W + W.T
    ground = rng.random(n)
    b = rng.standard_normal((n, 3))
    off = W - np.diag(np.diag(W))
    truth = np.linalg.solve(np.diag(off.sum(1) + ground) - off, b)
    assert relative(eliminate(W.copy(), ground, b), truth) < 1e-12
    assert relative(eliminate_banded(scipy.sparse.csr_array(W), band, ground, b), truth) < 1e-12


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
@pytest.mark.parametrize("make", ["sparse", "dense", "float32"])
@pytest.mark.parametrize("least", [1e-3, 1e-9, 1e-18])
def test_a_path_of_tiny_weights_divides_the_voltage(normalization, make, least):
    rng = np.random.default_rng(1)
    weights = least ** rng.random(59)
    W = path(weights)
    W = {"sparse": W, "dense": W.toarray(), "float32": W.astype(np.float32)}[make]
    graph = gspnl.graph_from_weights(W, normalization)
    mode = np.ones(60)
    if normalization == "symmetric":
        mode = np.sqrt(1 + np.r_[weights, 0] + np.r_[0, weights])
    Z = np.where(np.arange(60) == 59, mode, 0.0).astype(W.dtype)
    ends = np.isin(np.arange(60), [0, 59])
    found = gspnl.inpaint(graph, Z, ends)
    tolerance = 1e-4 if make == "float32" else 1e-8
    assert np.abs(found / mode - voltages(weights)).max() < tolerance


def test_tikhonov_on_a_path_of_tiny_weights():
    """Known ends are joined to their values by d/τ: a series of resistances."""
    weights = 1e-14 ** np.random.default_rng(2).random(29)
    W = path(weights)
    d = np.asarray(W.sum(1)).ravel()
    tau = 3.0
    Z = np.where(np.arange(30) == 29, 1.0, 0.0)
    found = gspnl.inpaint(
        gspnl.graph_from_weights(W), Z, np.isin(np.arange(30), [0, 29]), "tikhonov", strength=tau
    )
    truth = voltages(np.r_[d[0] / tau, weights, d[-1] / tau])[1:-1]
    assert np.abs(found - truth).max() < 1e-8


@pytest.mark.parametrize("storage", ["dense", "tiled"])
@pytest.mark.parametrize("sigma", [1.0, 0.2, 0.1, 0.05])
def test_harmonic_labels_of_far_clusters_are_those_of_the_dense_formula(storage, sigma):
    """Two clusters a distance of 1 apart: weights between them down to exp(−200)."""
    rng = np.random.default_rng(3)
    X = 0.05 * rng.standard_normal((18, 2)) + np.repeat([[0, 0], [1, 0]], 9, axis=0)
    labels = np.full(18, -1)
    labels[[0, 1]] = [0, 1]  # both in the first cluster
    graph = gspnl.feature_graph(X, "rbf", sigma=sigma, storage=storage)
    found = gspnl.propagate_labels(graph, labels, "harmonic")
    W = np.exp(-((X[:, None] - X) ** 2).sum(-1) / (2 * sigma**2))
    rest = W[2:, 2:]
    truth = exact(rest, W[2:, :2].sum(1), W[2:, 1])
    assert np.abs(found.scores[2:, 1] - truth).max() < 1e-7
    assert (found.labels[2:] == (truth > 0.5)).all()


def test_a_long_path_takes_seconds():
    n = 20_000
    start = time.process_time()
    graph = gspnl.graph_from_weights(path(np.ones(n - 1), 0.0))
    Z = np.r_[0.0, np.zeros(n - 2), 1.0]
    found = gspnl.inpaint(graph, Z, np.isin(np.arange(n), [0, n - 1]))
    assert np.abs(found - np.linspace(0, 1, n)).max() < 1e-8
    assert time.process_time() - start < 10


def test_values_without_certain_digits_raise(monkeypatch):
    """Where elimination is not at hand, an error that no residual shows is found by its bound."""
    weights = np.r_[np.ones(9), 1e-12, np.ones(9)]
    graph = gspnl.graph_from_weights(path(weights))
    Z, known = np.arange(20.0), np.arange(20) < 2
    assert relative(gspnl.inpaint(graph, Z, known)[2:], np.ones(18)) < 1e-12
    monkeypatch.setattr(solver, "_elimination", lambda equations: None)
    with pytest.raises(ConvergenceError, match=r"mark a node known|raise max_steps="):
        gspnl.inpaint(graph, Z, known)
    with pytest.raises(InputError, match="10 of 20 nodes"):
        gspnl.inpaint(gspnl.graph_from_weights(path(np.where(weights < 1, 0, 1))), Z, known)
