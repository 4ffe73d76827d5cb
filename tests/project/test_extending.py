"""Custom kernels, responses and storages, added without changing the package."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.linalg
from support.formulas import dense_filter, normalized, relative

import gspnl
from gspnl.affinity.kernels import KERNELS, Kernel
from gspnl.affinity.normalization import NORMALIZATIONS, Normalization
from gspnl.affinity.weights import STORAGES, Weights
from gspnl.affinity.weights.base import Storage


@pytest.fixture
def cleanup():
    names = []
    yield names
    for registry, name in names:
        registry.unregister(name)


def test_a_custom_kernel_takes_ten_lines(cleanup):
    @KERNELS.register("laplacian")
    @dataclass(frozen=True)
    class Laplacian(Kernel):
        scale: float = 1.0

        def affinity(self, phi, psi):
            return np.exp(-np.abs(phi[..., :, None, :] - psi[..., None, :, :]).sum(-1) / self.scale)

    cleanup.append((KERNELS, "laplacian"))
    rng = np.random.default_rng(0)
    X, Z = rng.standard_normal((60, 2)), rng.standard_normal((60, 2))
    M = np.array([[np.exp(-np.abs(x - y).sum() / 2.0) for y in X] for x in X])
    for normalization in ("random_walk", "symmetric", "bistochastic"):
        graph = gspnl.feature_graph(X, "laplacian", scale=2.0, normalization=normalization)
        A, change = normalized(M, normalization)
        assert graph.storage == "dense"
        assert relative(graph.apply(Z), A @ Z) < 1e-12
        g = gspnl.responses.heat(2.0)
        assert relative(graph.filter(Z, g), dense_filter(A, change, g, Z)) < 1e-10


def test_a_custom_bilinear_kernel_is_stored_at_low_rank(cleanup):
    @KERNELS.register("quadratic")
    @dataclass(frozen=True)
    class Quadratic(Kernel):
        def embed(self, X, weights):
            points = (X[..., :, None] * X[..., None, :]).reshape(*X.shape[:-1], -1)
            return points, points

    cleanup.append((KERNELS, "quadratic"))
    X = np.random.default_rng(1).standard_normal((80, 3))
    graph = gspnl.feature_graph(X, "quadratic")
    assert graph.storage == "lowrank"
    assert relative(graph.degrees, ((X @ X.T) ** 2).sum(1)) < 1e-12


def test_any_callable_is_a_response():
    rng = np.random.default_rng(2)
    X, Z = rng.standard_normal((60, 3)), rng.standard_normal((60, 2))
    graph = gspnl.feature_graph(X, kernel="dot")
    value = graph.filter(Z, lambda lam: np.cos(lam) ** 2)
    A = graph.dense()
    d = np.where(graph.degrees > 0, graph.degrees, 1)
    assert relative(value, dense_filter(A, 1 / np.sqrt(d), lambda x: np.cos(x) ** 2, Z)) < 1e-10


def test_a_custom_normalization_has_its_constant_mode(cleanup):
    """Diffusion maps: W ← W / d dᵀ, then row-normalised; l r is not 1/d here."""

    def scales(weights, degrees):
        again = weights.matmul((1 / degrees)[..., None])[..., 0] / degrees
        return 1 / (degrees * again), 1 / degrees

    NORMALIZATIONS.register("diffusion_map")(Normalization(scales))
    cleanup.append((NORMALIZATIONS, "diffusion_map"))
    rng = np.random.default_rng(5)
    X, Z = rng.standard_normal((70, 3)), rng.standard_normal((70, 2))
    for options in ({"kernel": "rbf"}, {"kernel": "cosine"}):
        graph = gspnl.feature_graph(X, normalization="diffusion_map", **options)
        A = graph.dense()
        assert np.abs(A.sum(1) - 1).max() < 1e-12
        truth = scipy.linalg.expm(-2 * (np.eye(70) - A)) @ Z
        g = gspnl.responses.heat(2.0)
        assert relative(graph.filter(Z, g), truth) < 1e-10
        assert relative(graph.filter(Z, g, order=30), truth) < 1e-10


def test_a_custom_storage_declares_the_kernels_it_supports(cleanup):
    STORAGES.register("rbf_only")(
        Storage(STORAGES["dense"].build, supports=lambda kernel: type(kernel).__name__ == "RBF")
    )
    cleanup.append((STORAGES, "rbf_only"))
    X = np.random.default_rng(6).standard_normal((9, 2))
    assert gspnl.feature_graph(X, "rbf", storage="rbf_only").storage == "rbf_only"
    with pytest.raises(gspnl.errors.InputError, match="cannot hold the Cosine kernel"):
        gspnl.feature_graph(X, "cosine", storage="rbf_only")


def test_a_custom_storage_needs_four_methods(cleanup):
    @dataclass(frozen=True, eq=False)
    class Callback(Weights):
        X: np.ndarray

        @property
        def shape(self):
            return (len(self.X), len(self.X))

        @property
        def like(self):
            return self.X

        def matmul(self, Z):
            return np.exp(self.X @ self.X.T) @ Z

        def rows(self, index):
            return np.exp(self.X[index] @ self.X.T)

        def item(self, index):
            return self

    STORAGES.register("callback")(
        Storage(lambda kernel, X, embed, **_: Callback(X), supports=lambda kernel: True)
    )
    cleanup.append((STORAGES, "callback"))
    X = np.random.default_rng(3).standard_normal((50, 3)) / 2
    Z = np.random.default_rng(4).standard_normal((50, 2))
    ours = gspnl.feature_graph(X, "gaussian", storage="callback")
    dense = gspnl.feature_graph(X, "gaussian", storage="dense")
    g = gspnl.responses.tikhonov(5.0)
    assert relative(ours.filter(Z, g), dense.filter(Z, g)) < 1e-12
    assert relative(ours.filter(Z, g, order=9), dense.filter(Z, g, order=9)) < 1e-12
