"""Ends and spectral density of the band, against dense eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import gspnl
from gspnl._base.lanczos import lanczos
from gspnl.filters.deflation.base import PAD


def dense_eigenvalues(graph):
    """λ of the nodes that are not isolated, ascending, from the dense symmetric core."""
    affinity = graph.affinity
    scale = np.asarray(affinity.core_scale, dtype=np.float64)
    W = np.asarray(affinity.weights.rows(np.arange(graph.n_nodes)), dtype=np.float64)
    live = scale > 0
    S = (scale[:, None] * W * scale)[np.ix_(live, live)]
    return np.sort(1 - np.linalg.eigvalsh((S + S.T) / 2))


def low_rank_graphs():
    rng = np.random.default_rng(3)
    for n, c, r in ((40, 3, None), (40, 6, 4), (12, 9, 8), (6, 9, None), (300, 5, 3)):
        X = rng.standard_normal((n, c))
        embed = None if r is None else tuple(rng.standard_normal((2, c, r)))
        for normalization in ("random_walk", "symmetric", "bistochastic"):
            yield gspnl.feature_graph(
                X, "dot", embed, normalization, "lowrank", feature_map="softplus"
            )
    X = np.abs(rng.standard_normal((30, 4)))
    X[[2, 7, 11]] = 0.0  # isolated
    yield gspnl.feature_graph(X, "dot", storage="lowrank")


@pytest.mark.parametrize("count", [0, 1])
def test_shares_of_a_low_rank_band_have_the_moments_of_all_its_modes(count):
    """Σ shares · λ = mean λ: one mode too many or too few at λ = 1 moves it by about 1/N."""
    for graph in low_rank_graphs():
        lam, shares = graph.caches.item().deflation(count).density
        rest = dense_eigenvalues(graph)[count:]
        assert abs(shares.sum() - 1) < 1e-14
        for power in (1, 2, 3):
            assert abs(shares @ lam**power - (rest**power).mean()) < 1e-12


def test_shares_after_several_deflated_modes():
    rng = np.random.default_rng(4)
    X = np.abs(rng.standard_normal((50, 6)))
    graph = gspnl.feature_graph(X, "dot", storage="lowrank")
    every = dense_eigenvalues(graph)
    for count in (2, 3, 4):
        found = graph.caches.item().deflation(count)
        lam, shares = found.density
        assert np.allclose(found.eigenvalues, every[:count], atol=1e-12)
        assert abs(shares @ lam - every[count:].mean()) < 1e-12


def ring(n):
    ones = np.ones(n - 1)
    return scipy.sparse.diags_array([ones, ones, [1.0], [1.0]], offsets=[1, -1, n - 1, 1 - n])


def graphs_by_products():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((220, 3))
    pair = tuple(rng.standard_normal((2, 3, 3)) / 2)
    yield "rbf", gspnl.feature_graph(X, "rbf", sigma=0.6, storage="tiled")
    yield "rbf, float32", gspnl.feature_graph(X.astype(np.float32), "rbf", storage="dense")
    yield "attention", gspnl.feature_graph(X, "embedded_gaussian", pair, storage="tiled")
    yield "no self-loops", gspnl.feature_graph(X, "rbf", self_loops=False, storage="dense")
    yield "sorted", gspnl.feature_graph(X, "concatenation", (pair[0][:, 0], pair[1][:, 1]))
    yield "ring", gspnl.graph_from_weights(ring(400))
    yield "path", gspnl.graph_from_weights(scipy.sparse.csr_array(np.diag(np.ones(99), 1) * 1.0
                                           + np.diag(np.ones(99), -1)))  # fmt: skip
    sparse = scipy.sparse.random_array((500, 500), density=0.02, rng=1)
    yield "random", gspnl.graph_from_weights(scipy.sparse.csr_array(sparse + sparse.T))
    strong = (sparse + sparse.T).tolil()
    strong[0, 1] = strong[1, 0] = 1e3
    yield "a strong edge", gspnl.graph_from_weights(scipy.sparse.csr_array(strong))


GRAPHS = dict(graphs_by_products())


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_ends_themselves_enclose_the_band(name):
    """Ritz values lie inside; it is their residuals that reach beyond the eigenvalues."""
    graph = GRAPHS[name]
    found = graph.caches.item().deflation(1)
    rest = dense_eigenvalues(graph)[1:]
    slack = 8 * graph.affinity.eps
    low, high = found.ends
    assert low <= rest[0] + slack
    assert rest[-1] <= high + slack
    inner = found.inner_ends
    assert rest[0] - slack <= inner[0] <= inner[1] <= rest[-1] + slack
    width, least = high - low, max(1e-6, 64 * graph.affinity.eps)
    assert np.allclose(
        found.interval,
        (max(low - PAD * width - least, 0.0), min(high + PAD * width + least, 2.0)),
        atol=1e-15,
    )


@pytest.mark.parametrize(("columns", "steps"), [(1, 3), (1, 5), (2, 3), (2, 9), (4, 5), (4, 9)])
def test_ends_of_a_short_run_enclose_the_eigenvalues(columns, steps):
    """Far from convergence the extreme Ritz values alone miss the ends by a few per cent."""
    rng = np.random.default_rng(columns)
    lam = np.sort(rng.uniform(-0.3, 0.9, 300))
    Q = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    S = (Q * lam) @ Q.T
    start = rng.standard_normal((300, columns))
    ritz = lanczos(lambda v: S @ v, start, np.zeros((300, 0)), done=lambda v, r: False, steps=steps)
    assert ritz.values.min() > lam[0]
    assert ritz.values.max() < lam[-1]
    low, high = ritz.ends
    assert low <= lam[0]
    assert high >= lam[-1]
    # The top vector has its residual, and the weights the moments of the start.
    gap = np.linalg.norm(S @ ritz.top - ritz.values[-1] * ritz.top)
    assert np.isclose(gap, ritz.residuals[-1], rtol=1e-9)
    basis = np.linalg.qr(start)[0]
    for power in range(2 * steps):
        moment = np.trace(basis.T @ np.linalg.matrix_power(S, power) @ basis) / columns
        assert abs(ritz.weights @ ritz.values**power - moment) < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ends_of_an_exhausted_run_allow_for_rounding(dtype):
    """Residuals vanish when the Krylov space is complete; the floor of rounding remains."""
    rng = np.random.default_rng(0)
    lam = np.repeat([0.1, 0.4, 0.7], 30).astype(dtype)
    start = rng.standard_normal((90, 2)).astype(dtype)
    ritz = lanczos(
        lambda v: lam[:, None] * v,
        start,
        np.zeros((90, 0), dtype),
        done=lambda v, r: False,
        steps=20,
    )
    assert len(ritz.values) == 6
    assert (ritz.residuals >= np.finfo(dtype).eps).all()
    assert ritz.residuals.max() < 100 * np.finfo(dtype).eps
    assert ritz.ends[0] <= lam.min()
    assert ritz.ends[1] >= lam.max()


def test_a_start_in_the_known_space_finds_nothing():
    known = np.eye(20)[:, :3]
    S = np.diag(np.arange(20.0))
    ritz = lanczos(lambda v: S @ v, known[:, :2] * 2, known, done=lambda v, r: False, steps=5)
    assert ritz.values.tolist() == [0.0]
    assert ritz.ends == (0.0, 0.0)


@pytest.mark.parametrize("columns", [1, 3])
def test_a_run_is_orthogonal_to_the_known_modes(columns):
    rng = np.random.default_rng(9)
    Q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    lam = np.linspace(0, 1, 60)
    lam[:2] = 5.0, 7.0  # known, far outside
    S = (Q * lam) @ Q.T
    start = rng.standard_normal((60, columns)) + 100 * Q[:, :1]
    ritz = lanczos(lambda v: S @ v, start, Q[:, :2], done=lambda v, r: False, steps=40)
    assert ritz.ends[1] < 1 + 1e-6
    assert ritz.ends[1] >= 1 - 1e-9
    assert abs(Q[:, :2].T @ ritz.top).max() < 1e-12


def test_amplification_is_the_norm_of_the_summands():
    """S = B J Bᵀ is a sum of terms as large as ‖G‖, whose rounding errors it carries."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((80, 4))
    pair = tuple(rng.standard_normal((2, 4, 5)) * [[[1.0]], [[1e-3]]])
    graph = gspnl.feature_graph(X, "dot", pair)
    B, scale = graph.weights.factor, graph.affinity.core_scale
    G = B.T @ (scale[:, None] ** 2 * B)
    found = graph.caches.item().deflation(1).amplification
    assert found > 1
    assert np.isclose(found, max(1.0, np.linalg.eigvalsh(G)[-1]), rtol=1e-12)
