"""Estimates of the risk: exact divergences, graphs of the noisy signal itself, and warnings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.formulas import affinity, eigen, normalized, weights

import gspnl
from gspnl.chebyshev.series import Family
from gspnl.errors import DependenceWarning, InputError
from gspnl.signals.risk import Noisy, Risk, dependence


def heat(t, K=12):
    """Coefficients of exp(−tλ) on [0, 2]."""
    nodes = np.cos(np.pi * (np.arange(60) + 0.5) / 60)
    return np.polynomial.chebyshev.chebfit(nodes, np.exp(-t * (1 + nodes)), K)


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
def test_the_divergence_on_a_given_graph_is_the_trace(normalization):
    rng = np.random.default_rng(0)
    X, Z = rng.random((40, 2)), rng.standard_normal((40, 500))
    graph = gspnl.feature_graph(X, "rbf", normalization=normalization, sigma=0.3)
    lam, *_ = eigen(*normalized(weights(affinity("rbf", X, sigma=0.3), "rbf"), normalization))
    risk = Risk.of(Noisy.of(graph, Z, 0.5), lambda _: graph)
    divergence = risk.moments(Family(heat(2.0)[None], (0.0, 2.0))).divergence
    exact = 500 * np.exp(-2 * lam).sum()
    assert abs(divergence[0] / exact - 1) < 0.02  # 10 probes of 20,000 numbers


def smooth_of(z, t=2.0, width=0.4):
    """exp(−tL) z of the rbf graph of z itself, random walk, by dense formulas."""
    W = np.exp(-((z[:, None] - z[None]) ** 2) / (2 * width**2))
    lam, U = np.linalg.eigh(W / np.sqrt(np.outer(W.sum(1), W.sum(1))))
    T = 1 / np.sqrt(W.sum(1))
    return T * (U @ (np.exp(-t * (1 - lam)) * (U.T @ (z / T))))


def test_the_divergence_goes_through_the_graph():
    """Against the trace of the Jacobian by central differences of a dense formula."""
    rng = np.random.default_rng(1)
    z = np.repeat([0.0, 1.0], 20) + 0.2 * rng.standard_normal(40)
    jacobian = 0.0
    for i in range(40):
        step = np.zeros(40)
        step[i] = 1e-5
        jacobian += (smooth_of(z + step)[i] - smooth_of(z - step)[i]) / 2e-5
    graph = gspnl.feature_graph(z[:, None], "rbf", sigma=0.4)
    family = Family(heat(2.0)[None], (0.0, 2.0))
    hidden = dataclasses.replace(graph, source=None)

    def divergence(g, seed):
        noisy = Noisy.of(g, z, 0.02)
        return Risk.of(noisy, dependence(noisy, None), seed).moments(family).divergence[0]

    draws = [divergence(graph, seed) for seed in range(40)]
    fixed = [divergence(hidden, seed) for seed in range(9)]
    error = 4 * np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - jacobian) < error
    assert abs(np.mean(fixed) - jacobian) > 2 * error  # the graph is part of the smoother


def photo():
    """Stripes of four periods, 72 × 72."""
    rows, columns = np.indices((72, 72))
    return 0.5 + 0.4 * np.sign(np.sin(rows / (2 + columns // 18))) * (columns > 8)


@pytest.mark.parametrize("seed", [0, 5])  # 0 is also the seed of the random directions
@pytest.mark.parametrize("method", ["heat", "tikhonov"])
def test_the_strength_for_a_photo_is_nearly_the_best(method, seed):
    clean, sigma = photo(), 0.15
    noisy = clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)
    graph = gspnl.images.patch_graph(noisy, 5, 11, noise=sigma)
    z, truth = noisy.reshape(-1, 1), clean.reshape(-1, 1)

    def psnr(strength):
        smooth = gspnl.denoise(graph, z, method, strength=strength)
        return -10 * np.log10(((smooth - truth) ** 2).mean())

    best = max(psnr(2.0**j) for j in np.arange(-4, 8.1, 0.5))
    found = gspnl.choose_strength(graph, z, method, sigma=sigma)
    assert psnr(found) > best - 0.2


@pytest.mark.parametrize("seed", [0, 5])
def test_the_polynomial_for_a_photo_is_nearly_the_best(seed):
    """Against the polynomial of least true error with gain 1 at λ = 0, by least squares."""
    clean, sigma = photo(), 0.15
    noisy = clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)
    graph = gspnl.images.patch_graph(noisy, 5, 11, noise=sigma)
    z, truth = noisy.ravel(), clean.ravel()
    L = np.eye(len(z)) - graph.dense()
    powers = [L @ z]
    for _ in range(4):
        powers.append(L @ powers[-1])
    basis = np.stack(powers, axis=1)
    oracle = z + basis @ np.linalg.lstsq(basis, truth - z, rcond=None)[0]
    response = gspnl.choose_response(graph, z, sigma=sigma)
    assert abs(response(np.zeros(1))[0] - 1) < 1e-12
    errors = [np.mean((y - truth) ** 2) for y in (oracle, graph.filter(z, response))]
    assert errors[1] < errors[0] * 10**0.03  # 0.3 dB


def test_a_graph_that_is_taken_as_given_smooths_too_little():
    clean, sigma = photo(), 0.15
    noisy = clean + sigma * np.random.default_rng(0).standard_normal(clean.shape)
    graph = gspnl.images.patch_graph(noisy, 3, 11, noise=sigma, sigma=0.03)
    z = noisy.reshape(-1, 1)
    through = gspnl.choose_strength(graph, z, "heat", sigma=sigma)
    given = gspnl.choose_strength(dataclasses.replace(graph, source=None), z, "heat", sigma=sigma)
    assert given < 0.8 * through


def colours(noise, seed=0):
    rng = np.random.default_rng(seed)
    clean = np.repeat(rng.random((8, 3)), 90, axis=0) * 0.6 + 0.2
    return clean, np.clip(clean + noise * rng.standard_normal(clean.shape), 0, 1)


def test_features_that_hold_the_noise_are_announced():
    _, noisy = colours(0.05)
    features = gspnl.images.photo_features(noisy.reshape(24, 30, 3), position=0.1)
    graph = gspnl.feature_graph(features, "rbf", sigma=0.05)
    with pytest.warns(DependenceWarning, match="Pass rebuild="):
        gspnl.choose_strength(graph, noisy, sigma=0.05)

    def build(Z):
        again = np.clip(np.asarray(Z), 0, 1).reshape(24, 30, 3)
        return gspnl.feature_graph(
            gspnl.images.photo_features(again, position=0.1), "rbf", sigma=0.05
        )

    gspnl.choose_strength(graph, noisy, sigma=0.05, rebuild=build)  # silent


@pytest.mark.parametrize("nodes", [60, 1000])
@pytest.mark.parametrize("seed", range(10))
def test_features_without_the_noise_are_silent(seed, nodes):
    rng = np.random.default_rng(seed)
    X = rng.random((nodes, 2))
    Z = X @ [[1.0], [2.0]] + 0.1 * rng.standard_normal((nodes, 1))
    graph = gspnl.feature_graph(X, "rbf", sigma=0.2)
    gspnl.choose_response(graph, Z, sigma=0.1)


def test_signals_of_the_shape_of_the_features_are_no_features():
    rng = np.random.default_rng(0)
    X, Z = rng.random((200, 2)), rng.standard_normal((200, 2))
    graph = gspnl.feature_graph(X, "rbf", sigma=0.2)
    hidden = dataclasses.replace(graph, source=None)
    found, given = (gspnl.choose_response(g, Z, sigma=0.5) for g in (graph, hidden))
    assert (found.coefficients == given.coefficients).all()


def test_the_strength_on_a_large_given_graph_is_that_of_the_exact_trace():
    rng = np.random.default_rng(0)
    X = rng.random((1100, 1))
    Z = np.sin(6 * X) + 0.5 * rng.standard_normal((1100, 1))
    graph = gspnl.feature_graph(X, "rbf", sigma=0.05)
    lam, U, inverse = eigen(
        *normalized(weights(affinity("rbf", X, sigma=0.05), "rbf"), "random_walk")
    )
    heads = inverse @ Z

    def risk(strength):
        gains = 1 / (1 + strength * lam)
        return ((Z - U @ (gains[:, None] * heads)) ** 2).sum() + 2 * 0.5**2 * gains.sum()

    grid = np.geomspace(0.01, 1000, 200)
    best = grid[np.argmin([risk(s) for s in grid])]
    found = gspnl.choose_strength(graph, Z, sigma=0.5)
    assert abs(np.log2(found / best)) < 0.15  # a grid of powers of 2, between which is a parabola


def test_points_are_denoised_through_their_own_neighbour_graph():
    rng = np.random.default_rng(0)
    angle = rng.random(1200) * 6
    clean = np.stack([np.cos(angle), np.sin(angle), angle / 3], axis=1)
    noisy = clean + 0.1 * rng.standard_normal(clean.shape)
    graph = gspnl.neighbor_graph(noisy, 12)

    def error(strength):
        return np.sqrt(((gspnl.denoise(graph, noisy, strength=strength) - clean) ** 2).mean())

    found = gspnl.choose_strength(graph, noisy, sigma=0.1)
    assert error(found) < 1.02 * min(error(s) for s in np.geomspace(0.1, 100, 30))


@pytest.mark.parametrize(
    "rebuild", [3, lambda Z: Z, lambda Z: gspnl.feature_graph(Z[:-1], "rbf", sigma=1.0)]
)
def test_a_rebuild_that_gives_no_such_graph_is_refused(rebuild):
    Z = np.random.default_rng(0).random((30, 2))
    graph = gspnl.feature_graph(Z, "rbf", sigma=0.5)
    with pytest.raises(InputError, match="rebuild"):
        gspnl.choose_response(graph, Z, sigma=0.1, rebuild=rebuild)
