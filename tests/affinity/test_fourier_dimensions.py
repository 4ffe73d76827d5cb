"""Fourier sums in four and five dimensions, against dense float64 formulas."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from support.clouds import draw, gaussian
from support.formulas import normalized

import gspnl
from gspnl.affinity.approximation.fourier import functions
from gspnl.affinity.approximation.fourier.sums import gaussian_sums
from gspnl.affinity.approximation.fourier.transform import Transform
from gspnl.errors import InputError

pytest.importorskip("finufft")


@pytest.mark.parametrize("d", [4, 5])
@pytest.mark.parametrize("part", range(2))
def test_entries_are_within_the_error(d, part):
    for number in range(8):
        rng = np.random.default_rng([d, part, number])
        shape, X = draw(rng, 40, d)
        a = X / (np.ptp(X[1:], axis=0).max() * 10.0 ** rng.uniform(-0.8, 0.5))
        asked = 10.0 ** rng.uniform(-8, -2)
        sums, error = gaussian_sums(a, asked)
        assert error <= 1.01 * asked
        mine = sums.sums(np.eye(len(a)), sums.coefficients)
        assert np.abs(mine - gaussian(a)).max() <= error, (shape, asked)


@pytest.mark.parametrize("norm", ["random_walk", "symmetric", "bistochastic", "combinatorial"])
@pytest.mark.parametrize("loops", [True, False])
def test_the_bound_holds(norm, loops):
    for d in (4, 5):
        rng = np.random.default_rng([d, loops])
        X = rng.random((30, d))
        graph = gspnl.feature_graph(
            X, "rbf", sigma=0.8, approximation="fourier", tol=1e-6, normalization=norm,
            self_loops=loops,
        )  # fmt: skip
        bound = graph.approximation.bound
        W = gaussian(X / 0.8) - (not loops) * np.eye(30)
        assert bound <= 1e-6
        if norm == "combinatorial":
            L = np.diag(W.sum(1)) - W
            assert np.linalg.norm(L - graph.laplacian(np.eye(30))) <= bound * W.sum(1).max()
            continue
        A, change = normalized(W, norm)
        own = np.asarray(graph.affinity.change)
        S, mine = A / change[:, None] * change, graph.apply(np.diag(own)) / own[:, None]
        assert np.linalg.norm(S - mine) <= bound


def test_functions_bound_the_residual_of_every_pair():
    rng = np.random.default_rng(0)
    extra = np.concatenate([6 * rng.random((300, 2)), [[400.0, 0.0], [0.0, -900.0]]])
    for asked in (1e-3, 1e-7, 1e-11):
        groups, error = functions.expand(extra, asked)
        F = np.concatenate([group.functions for group in groups], axis=1)
        assert np.abs(gaussian(extra) - F @ F.T).max() <= error <= asked
        for group in groups:
            assert np.abs(group.functions @ group.functions.T).max() <= group.size * (1 + 1e-12)


def test_few_functions_suffice():
    """A Gaussian over an extent of 6 σ has about 6 √(2 ln 10⁶)/π + a few eigenvalues above 10⁻⁶."""
    extra = np.random.default_rng(1).random((4000, 1)) * 6
    groups, _ = functions.expand(extra, 1e-6)
    count = sum(group.functions.shape[1] for group in groups)
    assert count <= 6 * math.sqrt(2 * math.log(1e6)) / math.pi + 6


def test_axes_of_least_variance_are_expanded():
    X = np.random.default_rng(2).random((400, 5)) * [0.3, 6.0, 0.2, 5.0, 4.0]
    order = np.random.default_rng(3).permutation(5)
    turn, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((5, 5)))
    counts = {gaussian_sums(points, 1e-6)[0].functions for points in (X, X[:, order], X @ turn)}
    assert max(counts) <= 12


def test_gradients_for_signals_and_features():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    X, Z, G = rng.random((12, 5)), rng.standard_normal((12, 2)), rng.standard_normal((12, 2))

    def gradients(product):
        x, z = torch.tensor(X, requires_grad=True), torch.tensor(Z, requires_grad=True)
        (product(x, z) * torch.tensor(G)).sum().backward()
        return x.grad, z.grad

    def fourier(x, z):
        graph = gspnl.feature_graph(x, "rbf", sigma=1.5, approximation="fourier", tol=1e-7)
        return graph.apply(z)

    def exact(x, z):
        W = torch.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2 / 1.5**2)
        return W / W.sum(1, keepdim=True) @ z

    for mine, truth in zip(gradients(fourier), gradients(exact), strict=True):
        assert (mine - truth).abs().max() <= 1e-6


def test_equal_points_and_float32():
    same = gspnl.feature_graph(np.ones((20, 5)), "rbf", approximation="fourier", tol=1e-6, sigma=1)
    Z = np.random.default_rng(6).standard_normal((20, 3))
    np.testing.assert_allclose(same.apply(Z), np.broadcast_to(Z.mean(0), Z.shape), atol=1e-6)
    X = np.random.default_rng(7).random((40, 5)).astype(np.float32)
    graph = gspnl.feature_graph(X, "rbf", sigma=0.7, approximation="fourier", tol=1e-4)
    W = gaussian(np.float64(X) / 0.7)
    found = graph.apply(np.ones((40, 1), np.float32) * X[:, :1])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (W / W.sum(1)[:, None]) @ X[:, :1], atol=1e-4)


def test_sums_are_pickled_and_counted():
    a = np.random.default_rng(8).random((60, 5)) * 3
    sums, _ = gaussian_sums(a, 1e-6)
    again = pickle.loads(pickle.dumps(sums))
    z = np.random.default_rng(9).standard_normal((60, 2))
    np.testing.assert_array_equal(
        again.sums(z, again.coefficients), sums.sums(z, sums.coefficients)
    )
    single = sums.transforms[0].operations(sums.groups[0].functions.shape[1])
    assert single <= sums.operations(1) == sums.operations(4) / 4
    assert sums.modes[:3] == sums.transforms[0].box.modes


def test_too_many_functions_are_refused(monkeypatch):
    monkeypatch.setattr(functions, "MOST", 20)
    X = np.random.default_rng(10).random((500, 5))
    with pytest.raises(InputError, match=r"expands 2 of 5 dimensions.*raise sigma"):
        gspnl.feature_graph(X, "rbf", sigma=0.05, approximation="fourier", tol=1e-4)


def test_a_wrong_function_is_not_expanded(monkeypatch):
    right = functions.evaluated
    monkeypatch.setattr(functions, "evaluated", lambda *args: 0.99 * right(*args))
    X = np.random.default_rng(11).random((60, 4))
    with pytest.raises(gspnl.errors.ToleranceError, match="more than 600"):
        gspnl.feature_graph(X, "rbf", sigma=0.5, approximation="fourier", tol=1e-4)


@pytest.mark.parametrize("d", [2, 4])
def test_wrong_sums_are_noticed_at_random_rows(d, monkeypatch):
    right = Transform.sums
    monkeypatch.setattr(Transform, "sums", lambda *args: right(*args) * (1 + 1e-6))
    X = np.random.default_rng(11).random((60, d))
    with pytest.raises(gspnl.errors.GspnlError, match="finufft's sums are off"):
        gspnl.feature_graph(X, "rbf", sigma=0.5, approximation="fourier", tol=1e-8)
