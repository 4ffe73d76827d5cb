"""The kernel polynomial density against dense eigenvalue counts."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev as npcheb
from support.formulas import affinity, eigen, normalized

import gspnl
from gspnl.errors import InputError, NonsymmetricError


def features(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kernel", "options", "normalization", "storage"),
    [
        ("rbf", {"sigma": 0.3}, "random_walk", "tiled"),
        ("rbf", {"sigma": 1.0}, "bistochastic", "dense"),
        ("dot", {}, "symmetric", "lowrank"),
        ("embedded_gaussian", {}, "random_walk", "auto"),
    ],
)
def test_counts_agree_with_dense_eigenvalues(kernel, options, normalization, storage, seed):
    n = 300
    X = features(n, seed) * (0.7 if kernel == "embedded_gaussian" else 1)
    graph = gspnl.feature_graph(X, kernel, normalization=normalization, storage=storage, **options)
    lam = eigen(*normalized(affinity(kernel, X, **options), normalization))[0]
    found = gspnl.spectral_density(graph, moments=200, probes=64, seed=seed)
    assert found.known == 1 + int((graph.degrees == 0).sum())
    assert found.count(-0.1, 2.1) == pytest.approx(n, abs=1e-8)
    width = 2 * found.resolution
    for low, high in [(-0.1, 0.5), (0.3, 0.9), (0.8, 0.97), (0.5, 2.0)]:
        exact = int(((lam >= low) & (lam <= high)).sum())
        near = int((np.abs(lam - low) < width).sum() + (np.abs(lam - high) < width).sum())
        slack = 3 * found.count_error(low, high) + near + 0.3  # Jackson's kernel has a thin tail
        assert abs(found.count(low, high) - exact) <= slack


def test_the_density_equals_the_damped_moment_series():
    """With a probe for every direction the estimate equals the sum over eigenvalues."""
    n, K = 60, 40
    X = features(n)
    graph = gspnl.feature_graph(X, "rbf", sigma=0.8)
    lam = eigen(*normalized(affinity("rbf", X, sigma=0.8), "random_walk"))[0][1:]
    found = gspnl.spectral_density(graph, points=50, moments=K, probes=20_000)
    lo, hi = found.interval
    x, grid = ((2 * v - lo - hi) / (hi - lo) for v in (lam, found.lam))
    angle = np.pi / (K + 1) * np.arange(K)  # Weiße et al., Rev. Mod. Phys. 78 (2006), eq. 71
    g = (K + 1 - np.arange(K)) * np.cos(angle) + np.sin(angle) / np.tan(np.pi / (K + 1))
    g /= K + 1
    series = [g[k] * (2 if k else 1) * npcheb.chebval(x, np.eye(K)[k]).sum() for k in range(K)]
    truth = npcheb.chebval(grid, series) / (np.pi * np.sqrt(1 - grid**2)) * 2 / (hi - lo) / n
    assert (np.abs(found.density - truth) < 5 * found.standard_error + 1e-12).all()
    assert (found.standard_error < 0.05 * truth.max()).all()
    assert truth.min() >= -1e-12  # Jackson's kernel is positive


def test_the_standard_error_equals_the_spread_over_seeds():
    graph = gspnl.feature_graph(features(150), "rbf", sigma=0.5)
    runs = [gspnl.spectral_density(graph, probes=8, seed=s) for s in range(60)]
    spread = np.std([r.count(0, 0.8) for r in runs], ddof=1)
    mean = np.sqrt(np.mean([r.count_error(0, 0.8) ** 2 for r in runs]))
    assert 0.7 < mean / spread < 1.4  # the spread of 60 runs is known to about 9 %
    assert gspnl.spectral_density(graph, seed=4).count(0, 0.8) == gspnl.spectral_density(
        graph, seed=4
    ).count(0, 0.8)


def test_isolated_nodes_count_as_known_eigenvalues():
    X = np.abs(features(100))
    X[:7] = -1
    found = gspnl.spectral_density(gspnl.feature_graph(X, "dot"))
    assert found.known == 8
    assert found.count(0.0, 0.0) == 8
    assert found.count(1e-9, 2.0) == pytest.approx(92, abs=1e-6)
    assert "8 at 0" in repr(found)


@pytest.mark.parametrize("make", [torch.tensor, array_api_strict.asarray])
def test_other_libraries_and_float32(make):
    X = features(120)
    ours = gspnl.spectral_density(gspnl.feature_graph(X, "rbf"))
    theirs = gspnl.spectral_density(gspnl.feature_graph(make(X), "rbf"))
    assert np.abs(ours.density - theirs.density).max() < 1e-8 * ours.density.max()
    single = gspnl.spectral_density(gspnl.feature_graph(X.astype(np.float32), "rbf"))
    assert abs(single.count(0, 0.9) - ours.count(0, 0.9)) < 0.1


def test_densities_of_tiny_graphs_count_every_node():
    found = gspnl.spectral_density(gspnl.feature_graph(features(2), "rbf"))
    assert found.count(-1, 3) == pytest.approx(2)
    same = gspnl.spectral_density(gspnl.feature_graph(np.ones((30, 2)), "rbf"))  # λ = 0, and 1
    assert same.count(0.9, 1.1) == pytest.approx(29, abs=1e-6)


def test_invalid_arguments_raise():
    graph = gspnl.feature_graph(features(50), "rbf")
    for name in ("points", "moments", "probes", "seed"):
        for bad in (-1, 1.5, True):
            with pytest.raises(InputError, match=rf"{name}={bad} must be a whole number ≥"):
                gspnl.spectral_density(graph, **{name: bad})
    with pytest.raises(InputError, match=r"graph is a ndarray; make one with gspnl\.feature_graph"):
        gspnl.spectral_density(np.eye(3))
    with pytest.raises(InputError, match="low must not be above high"):
        gspnl.spectral_density(graph).count(1, 0)
    with pytest.raises(NonsymmetricError):
        gspnl.spectral_density(gspnl.feature_graph(features(50), "rbf", normalization="softmax"))
    with pytest.raises(InputError, match=r"graph\[i\]"):
        gspnl.spectral_density(gspnl.feature_graph(np.stack([features(50)] * 2), "rbf"))


def test_a_graph_without_edges_has_no_band():
    graph = gspnl.feature_graph(-np.ones((5, 1)), "concatenation", (np.ones(1), np.ones(1)))
    found = gspnl.spectral_density(graph)
    assert found.known == 5
    assert found.count(0.0, 0.0) == 5
    assert found.count(0.5, 2.0) == 0
    assert not found.density.any()
