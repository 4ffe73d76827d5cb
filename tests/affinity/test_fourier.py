"""Fourier sums: bounds against dense float64 formulas in random draws, gradients, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.clouds import draw, gaussian
from support.formulas import normalized

import gspnl
from gspnl.errors import GspnlError, InputError


def dense(X, sigma, self_loops=True):
    """Compute W by differences, in float64."""
    W = gaussian(X / sigma)
    return W if self_loops else W - np.diag(np.diag(W))


@pytest.mark.parametrize("part", range(10))
def test_the_bound_holds_in_three_hundred_draws(part):
    """‖S − Ŝ‖_F, apply, an exact and a Chebyshev filter are within the bound, or tol is refused."""
    built = 0
    for number in range(30):
        rng = np.random.default_rng([part, number])
        d = int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
        n = int(rng.integers(12, 40))
        shape, X = draw(rng, n, d)
        X = X * 10.0 ** rng.integers(-3, 4)
        extent = np.ptp(X[1:], axis=0).max()
        lowest = math.log10(0.003 if d < 3 else 0.1)  # a smaller one in 3-D: see the next test
        sigma = extent * 10.0 ** rng.uniform(lowest, math.log10(3))
        tol = 10.0 ** rng.uniform(-12, -3)
        norm = str(rng.choice(["random_walk", "symmetric", "bistochastic", "combinatorial"]))
        loops = bool(rng.random() < 0.7)
        try:
            graph = gspnl.feature_graph(
                X, "rbf", sigma=sigma, approximation="fourier", tol=tol, normalization=norm,
                self_loops=loops,
            )  # fmt: skip
        except GspnlError as error:
            # Refused only where rounding or nodes without neighbours leave no digits.
            assert tol < 1e-9 or not loops, (shape, d, n, sigma / extent, str(error))
            continue
        built += 1
        bound = graph.approximation.bound
        assert bound <= tol
        W = dense(X, sigma, loops)
        if norm == "combinatorial":
            L = np.diag(W.sum(1)) - W
            s = W.sum(1).max()
            mine = graph.laplacian(np.eye(n))
            assert np.linalg.norm(L - mine) <= bound * s
            continue
        A, change = normalized(W, norm)
        own = np.asarray(graph.affinity.change)
        S, mine = A / change[:, None] * change, graph.apply(np.diag(own)) / own[:, None]
        assert np.linalg.norm(S - mine) <= bound, (shape, d, sigma, tol)
        lam, V = np.linalg.eigh(np.eye(n) - (S + S.T) / 2)
        truth = V @ (np.exp(-2 * lam)[:, None] * V.T)
        exact = graph.filter(np.diag(own), gspnl.responses.heat(2.0)) / own[:, None]
        assert np.linalg.norm(truth - exact) <= 2 * bound + 1e-12
        series = graph.chebyshev(gspnl.responses.heat(2.0), order=6)
        found = series(np.diag(own)) / own[:, None]
        assert np.linalg.norm(truth - found, 2) <= series.error_bound
    assert built >= 15


def test_three_dimensions_of_a_small_sigma():
    X = np.random.default_rng(0).random((12, 3))
    graph = gspnl.feature_graph(X, "rbf", sigma=0.03, approximation="fourier", tol=1e-4)
    W = dense(X, 0.03)
    S = W / np.sqrt(W.sum(1)[:, None] * W.sum(1))
    own = np.asarray(graph.affinity.change)
    mine = graph.apply(np.diag(own)) / own[:, None]
    assert np.linalg.norm(S - mine) <= graph.approximation.bound <= 1e-4


def test_gaussian_weights_beyond_the_range_have_a_graph():
    """Scores near 1,800: W overflows, A does not."""
    X = 30 + 0.3 * np.random.default_rng(0).random((50, 2))
    graph = gspnl.feature_graph(X, "gaussian", approximation="fourier", tol=1e-6)
    W = np.exp(X @ X.T - (X @ X.T).max())
    assert np.abs(graph.apply(np.eye(50)) - W / W.sum(1, keepdims=True)).max() < 1e-6
    assert graph.approximation.weights_bound == np.inf
    exact = gspnl.feature_graph(X, "gaussian", storage="tiled")
    np.testing.assert_allclose(graph.log_degrees, exact.log_degrees, rtol=1e-9)


def test_gradients_for_signals_and_features():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    X = torch.tensor(rng.random((15, 2)), requires_grad=True)
    Z = torch.tensor(rng.standard_normal((15, 3)), requires_grad=True)

    def product(X, Z):
        graph = gspnl.feature_graph(X, "rbf", sigma=0.3, approximation="fourier", tol=1e-9)
        return graph.apply(Z)

    assert torch.autograd.gradcheck(product, (X, Z))


def test_six_dimensions_are_refused_with_the_alternatives():
    X = np.random.default_rng(0).random((50, 6))
    with pytest.raises(InputError, match="6"):
        gspnl.feature_graph(X, "rbf", approximation="fourier", tol=1e-6)
