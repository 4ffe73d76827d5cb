"""Partial spectra and the spectral interval against dense eigenvalues."""

from __future__ import annotations

import time

import array_api_strict
import numpy as np
import pytest
import scipy.sparse
import torch
from support.formulas import affinity, eigen, normalized, relative, size_of

import gspnl
from gspnl._base import lanczos
from gspnl.errors import ConvergenceError, GspnlError, InputError, NonsymmetricError
from gspnl.filters import partial_spectrum as partial


@pytest.fixture
def always_lanczos(monkeypatch):
    monkeypatch.setattr(partial, "SMALL", 0)
    monkeypatch.setattr(partial, "WHOLE", 0)  # no fall back to all eigenpairs
    monkeypatch.setattr(partial.Shifted, "fits", False)  # nor to solves


def features(n, c=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, c))


def ends(lam, k, which):
    below = {"low": k, "high": 0, "both": -(-k // 2)}[which]
    return np.concatenate([lam[:below], lam[len(lam) - (k - below) :]])


@pytest.mark.parametrize("which", ["low", "high", "both"])
@pytest.mark.parametrize(
    "normalization", ["random_walk", "symmetric", "bistochastic", "combinatorial"]
)
@pytest.mark.parametrize(
    ("kernel", "storage", "options"),
    [("rbf", "tiled", {"sigma": 0.5}), ("rbf", "dense", {}), ("dot", "lowrank", {}),
     ("dot", "tiled", {}), ("concatenation", "sorted", {})],
)  # fmt: skip
def test_pairs_equal_those_of_the_dense_matrix(
    kernel, storage, options, normalization, which, always_lanczos
):
    n, k = 240, 15
    X = np.abs(features(n)) if kernel != "rbf" else features(n)
    embed = (np.array([1.0, 2, 0.5]), np.array([0.5, 1, 1])) if kernel == "concatenation" else None
    graph = gspnl.feature_graph(
        X, kernel, embed, storage=storage, normalization=normalization, **options
    )
    A, change = normalized(_symmetric(affinity(kernel, X, embed, **options)), normalization)
    lam, _, _ = eigen(A, change)
    found = graph.spectrum(k, which)
    # An eigenvalue errs by its residual at most: 1e-10; what is known to be 0 is 0.
    size = size_of(lam)
    assert np.abs(found.eigenvalues - ends(lam, k, which)).max() < 1e-9 * size
    assert found.residuals.max() < 2e-10 * size
    U = found.modes()
    L = np.eye(n) - A
    assert np.abs(L @ U - found.eigenvalues * U).max() < 1e-9 * np.abs(U).max() * n * size
    inner = U / change[:, None]
    assert relative(inner.T @ inner, np.eye(k)) < 1e-9
    if which != "high":
        assert found.eigenvalues[0] == pytest.approx(0, abs=1e-12)


def _symmetric(M):
    return (M + M.T) / 2


def test_the_partial_transform_is_an_orthogonal_projection(always_lanczos):
    n, k = 300, 12
    X, Z = features(n), features(n, 2, seed=1)
    graph = gspnl.feature_graph(X, "rbf", storage="tiled", sigma=0.7)
    found = graph.spectrum(k=k)
    A, change = normalized(affinity("rbf", X, sigma=0.7), "random_walk")
    _, U, inverse = eigen(A, change)
    coefficients = found.gft(Z)
    assert coefficients.shape == (k, 2)
    part = found.igft(coefficients)
    assert relative(part, U[:, :k] @ (inverse[:k] @ Z)) < 1e-9
    assert relative(found.igft(found.gft(part)), part) < 1e-10
    assert found.igft(coefficients[:, 0]).shape == (n,)
    assert found.n_nodes == n
    assert "12 of 300 modes" in repr(found)
    assert found.modes(3).shape == (n, 3)
    for bad in (0, 13, 2.5, True):
        with pytest.raises(InputError, match=r"from 1 to 12"):
            found.modes(bad)
    with pytest.raises(InputError, match=r"Z has shape"):
        found.gft(Z[:-1])


@pytest.mark.parametrize("k", [3, 20])
def test_modes_of_isolated_nodes_come_first(k, always_lanczos):
    X = np.abs(features(200))
    X[[3, 50, 51, 120, 199]] = -1.0
    graph = gspnl.feature_graph(X, "dot", storage="dense")
    A, change = normalized(affinity("dot", X), "random_walk")
    lam, _, _ = eigen(A, change)
    found = graph.spectrum(k)
    assert np.abs(found.eigenvalues - lam[:k]).max() < 1e-10
    assert (found.eigenvalues[: min(k, 6)] == 0).all()
    assert relative(A @ found.modes(), (1 - found.eigenvalues) * found.modes()) < 1e-9
    high = graph.spectrum(k, "high")
    assert np.abs(high.eigenvalues - lam[-k:]).max() < 1e-10


def test_all_copies_of_repeated_eigenvalues_are_found(always_lanczos):
    """Twenty distant clusters of one shape: each λ has multiplicity 20."""
    one = features(15, 2)
    X = np.concatenate([one + 1e3 * i for i in range(20)])
    found = gspnl.feature_graph(X, "rbf", storage="tiled").spectrum(30)
    A, change = normalized(affinity("rbf", X), "random_walk")
    lam, _, _ = eigen(A, change)
    assert np.abs(found.eigenvalues - lam[:30]).max() < 1e-9
    assert (np.abs(found.eigenvalues) < 1e-9).sum() == 20


def test_pairs_are_found_with_few_steps_between_restarts(monkeypatch, always_lanczos):
    """Thick restarts reach the same pairs as one long run."""
    X = features(400, 4)
    graph = gspnl.feature_graph(X, "rbf", storage="tiled", sigma=0.8)
    lam = graph.spectrum(40).eigenvalues
    monkeypatch.setattr(lanczos, "WIDEST", 1)
    monkeypatch.setattr(lanczos, "BLOCK", 4)
    assert np.abs(graph.spectrum(40).eigenvalues - lam).max() < 1e-9


@pytest.mark.parametrize("n", [2, 3, 30])
def test_every_k_is_found_on_small_graphs(n):
    X = features(n)
    graph = gspnl.feature_graph(X, "rbf", storage="tiled")
    lam = eigen(*normalized(affinity("rbf", X), "random_walk"))[0]
    for which in ("low", "high", "both"):
        assert np.abs(graph.spectrum(n, which).eigenvalues - lam).max() < 1e-12
        assert np.abs(graph.spectrum(1, which).eigenvalues - ends(lam, 1, which)).max() < 1e-12


def test_an_approximate_graph_has_the_spectrum_of_its_own_weights():
    X = features(300)
    graph = gspnl.feature_graph(X, "rbf", sigma=2.0, rank=60)
    W = graph.dense() * graph.degrees[:, None]
    lam = eigen(*normalized(W, "random_walk"))[0]
    assert np.abs(graph.spectrum(80).eigenvalues - lam[:80]).max() < 1e-10
    hollow = gspnl.feature_graph(X, "rbf", sigma=2.0, rank=60, self_loops=False)
    W = hollow.dense() * hollow.degrees[:, None]
    lam = eigen(*normalized(W, "random_walk"))[0]
    assert np.abs(hollow.spectrum(20).eigenvalues - lam[:20]).max() < 1e-9


def test_float32_and_other_libraries(always_lanczos):
    X = features(200)
    exact = gspnl.feature_graph(X, "rbf", storage="tiled").spectrum(8)
    single = gspnl.feature_graph(X.astype(np.float32), "rbf", storage="tiled").spectrum(8)
    assert single.eigenvalues.dtype == single.modes().dtype == np.float32
    assert np.abs(single.eigenvalues - exact.eigenvalues).max() < 1e-5
    assert single.residuals.max() < 1e-4
    for make in (torch.tensor, array_api_strict.asarray):
        other = gspnl.feature_graph(make(X), "rbf", storage="tiled").spectrum(8)
        assert type(other.eigenvalues) is type(make(X))
        assert np.abs(np.asarray(other.eigenvalues) - exact.eigenvalues).max() < 1e-12
        assert relative(np.asarray(other.modes()), exact.modes()) < 1e-8
    with pytest.raises(GspnlError, match="gradient"):
        gspnl.feature_graph(torch.tensor(X, requires_grad=True), "rbf").spectrum(8)


def test_invalid_arguments_raise(monkeypatch):
    graph = gspnl.feature_graph(features(60), "rbf")
    for k in (0, 61, -1, 2.0, True, "3"):
        with pytest.raises(InputError, match=r"must be a whole number from 1 to 60"):
            graph.spectrum(k)
    with pytest.raises(InputError, match=r"which='lowest' must be one of"):
        graph.spectrum(3, "lowest")
    with pytest.raises(InputError, match=r"pass k= with it"):
        graph.spectrum(which="high")
    with pytest.raises(InputError, match=r"seed=-1"):
        graph.spectrum(3, seed=-1)
    soft = gspnl.feature_graph(features(60), "rbf", normalization="softmax")
    with pytest.raises(NonsymmetricError, match=r"use normalization='random_walk'"):
        soft.spectrum(3)
    with pytest.raises(NonsymmetricError, match=r"no real spectrum to bound"):
        soft.spectral_interval()
    batch = gspnl.feature_graph(np.stack([features(60)] * 2), "rbf")
    for verb in (lambda: batch.spectrum(3), batch.spectral_interval):
        with pytest.raises(InputError, match=r"take one, graph\[i\]"):
            verb()
    monkeypatch.setattr(partial, "SMALL", 0)
    monkeypatch.setattr(partial, "STEPS", 2)
    monkeypatch.setattr(partial, "WHOLE", 0)
    monkeypatch.setattr(partial.Shifted, "fits", False)
    with pytest.raises(ConvergenceError, match=r"ask for fewer, or for gspnl.spectral_density"):
        gspnl.feature_graph(features(300), "rbf", sigma=0.3).spectrum(30)


@pytest.mark.parametrize(
    ("kernel", "storage"), [("rbf", "tiled"), ("rbf", "dense"), ("dot", "lowrank")]
)
def test_the_interval_contains_every_other_eigenvalue(kernel, storage):
    for seed in range(5):
        X = features(200, 3, seed) + (1.0 if kernel == "dot" else 0.0)
        graph = gspnl.feature_graph(X, kernel, storage=storage)
        lam = eigen(*normalized(affinity(kernel, X), "random_walk"))[0]
        lam = lam[(graph.degrees == 0).sum() + 1 :]  # less the constant mode and isolated nodes
        low, high = graph.spectral_interval()
        assert low <= lam[0]
        assert lam[-1] <= high
        assert high - low < 1.1 * (lam[-1] - lam[0])


def test_more_copies_than_the_block_width_are_found(always_lanczos):
    """30 distinct nodes, each repeated 10 times: λ = 1 has multiplicity 270, and no λ is larger."""
    X = np.repeat(features(30), 10, axis=0)
    A, change = normalized(affinity("rbf", X), "random_walk")
    lam, _, _ = eigen(A, change)
    graph = gspnl.feature_graph(X, "rbf", storage="tiled")
    for k, which in ((20, "high"), (40, "high"), (70, "high"), (70, "both"), (60, "low")):
        found = graph.spectrum(k, which)
        assert np.abs(found.eigenvalues - ends(lam, k, which)).max() < 1e-9
        assert found.residuals.max() < 2e-10
        inner = found.modes() / change[:, None]
        assert relative(inner.T @ inner, np.eye(k)) < 1e-9


def ring(n):
    offsets = [1 - n, -1, 1, n - 1]
    return scipy.sparse.csr_array(
        scipy.sparse.diags_array([1.0] * 4, offsets=offsets, shape=(n, n))
    )


def path(n):
    return scipy.sparse.csr_array(
        scipy.sparse.diags_array([1.0] * 2, offsets=[-1, 1], shape=(n, n))
    )


def grid(a, b):
    eye = scipy.sparse.eye_array
    kron = scipy.sparse.kron
    return scipy.sparse.csr_array(kron(eye(a), path(b)) + kron(path(a), eye(b)))


CLOSE = {
    "ring": ring(1100),
    "path": path(1030),
    "grid": grid(33, 34),
    "dense ring": ring(1030).toarray(),
    "components": scipy.sparse.csr_array(scipy.sparse.block_diag([ring(40)] * 27)),
}


@pytest.mark.parametrize("name", CLOSE)
@pytest.mark.parametrize(("k", "which"), [(3, "low"), (40, "low"), (5, "high"), (6, "both")])
def test_close_eigenvalues_are_found_by_solves(name, k, which):
    """Products alone need as many columns as there are nodes, or more."""
    W = CLOSE[name]
    A, _ = normalized(W.toarray() if scipy.sparse.issparse(W) else W, "symmetric")
    lam = np.linalg.eigvalsh(np.eye(len(A)) - A)
    graph = gspnl.graph_from_weights(W, "symmetric")
    start = time.process_time()
    found = graph.spectrum(k, which)
    few = time.process_time() - start
    assert np.abs(found.eigenvalues - ends(lam, k, which)).max() < 1e-9
    assert found.residuals.max() < 2e-10
    U = found.modes()
    assert np.abs(U.T @ U - np.eye(k)).max() < 1e-9
    start = time.process_time()
    gspnl.graph_from_weights(W, "symmetric").spectrum().gft(np.ones(len(A)))
    assert few < 3 * (time.process_time() - start)  # 1.5 on a quiet machine


def test_a_ring_has_the_eigenvalues_of_the_closed_form():
    n = 30_000
    lam = gspnl.graph_from_weights(ring(n)).spectrum(7).eigenvalues
    truth = 2 * np.sin(np.pi * np.array([0, 1, 1, 2, 2, 3, 3]) / n) ** 2
    assert np.abs(lam - truth).max() < 1e-13


def test_the_solves_equal_those_of_the_dense_matrix():
    X = np.abs(features(90))
    X[[3, 50]] = -1.0  # isolated
    W = affinity("dot", X)
    sparse = scipy.sparse.csr_array(
        np.where(np.abs(np.subtract.outer(*[np.arange(90)] * 2)) < 4, W, 0)
    )
    Y = features(90, 2, seed=1)
    for graph in (gspnl.feature_graph(X, "dot", storage="tiled"), gspnl.graph_from_weights(sparse)):
        scale = np.asarray(graph.affinity.core_scale)
        S = scale[:, None] * graph.weights.rows(np.arange(90)) * scale
        live = scale > 0
        for sign in (1.0, -1.0):
            matrix = (1.3 * np.eye(90) - sign * S)[np.ix_(live, live)]
            found = partial.Shifted(graph.affinity, sign).factor(0.3)(Y)
            assert relative(found[live], np.linalg.solve(matrix, Y[live])) < 1e-12
            assert (found[~live] == 0).all()
