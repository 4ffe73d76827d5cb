"""Neighbour graphs against the dense formula: kernels, symmetrisations, normalisations, verbs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from support.formulas import (
    affinity,
    dense_filter,
    eigen,
    local_rbf,
    neighbor_weights,
    normalized,
    operator,
    relative,
    weights,
)

import gspnl
from gspnl.affinity.kernels import KERNELS, Kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import sparse
from gspnl.errors import InputError, NonsymmetricError
from gspnl.filters.deflation import sparse_recurrence
from gspnl.graph import neighbors

N, K = 220, 9
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
SYMMETRIZE = ("max", "mean", "mutual")
pytestmark = pytest.mark.filterwarnings("ignore::gspnl.errors.DisconnectedWarning")


def points(columns=3, dtype=np.float64, n=N):
    return np.random.default_rng(0).standard_normal((n, columns)).astype(dtype)


@pytest.fixture(params=["plain", "sorted"])
def rows(request, monkeypatch):
    """Run a test with nodes in their own order, and as large graphs are: sorted, in blocks."""
    if request.param == "sorted":
        monkeypatch.setattr(neighbors, "SORTED", 2)
        monkeypatch.setattr(sparse, "SHARED", 0)
        monkeypatch.setattr(sparse_recurrence, "LEAST", 0)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("symmetrize", SYMMETRIZE)
@pytest.mark.parametrize("sigma", ["local", "median", 0.4])
def test_gaussian_weights_equal_their_formula(sigma, symmetrize, dtype):
    X = points(dtype=dtype)
    graph = gspnl.neighbor_graph(X, K, sigma=sigma, symmetrize=symmetrize)
    D = np.sqrt(((X.astype(float)[:, None] - X.astype(float)) ** 2).sum(-1))
    middle = np.median(np.sort(D, axis=1)[:, 1 : K + 1])
    number = middle if sigma == "median" else sigma
    f = local_rbf(7) if sigma == "local" else lambda d: np.exp(-(d**2) / (2 * number**2))
    W = neighbor_weights(X, K, f, symmetrize)
    found = graph.weights.sparse
    assert found.dtype == dtype
    assert graph.storage == "sparse"
    assert relative(found.toarray(), W) < TOLERANCE[dtype] / 10
    assert (found != found.T).nnz == 0  # to the last bit
    assert found.has_canonical_format
    if sigma == "local":
        assert np.allclose(graph.kernel.kernel.sigmas, np.sort(D, axis=1)[:, 7] / 2)
    else:
        assert np.isclose(graph.kernel.kernel.sigma, number)


def test_few_neighbours_take_the_farthest_for_their_bandwidth():
    X = points()
    graph = gspnl.neighbor_graph(X, 3)
    assert graph.kernel.kernel.neighbor == 3
    assert relative(graph.weights.sparse.toarray(), neighbor_weights(X, 3, local_rbf(3))) < 1e-13


def options(name):
    rng = np.random.default_rng(1)
    more = {"anchors": {"anchors": 6}, "embedded_gaussian": {"temperature": 2.0}}.get(name, {})
    if KERNELS[name].embedding == "matrices":
        return {**more, "embed": tuple(rng.standard_normal((2, 3, 4)))}
    if KERNELS[name].embedding == "vectors":
        return {**more, "embed": tuple(rng.standard_normal((2, 3)))}
    return more


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - {"rbf"}))
def test_any_kernel_is_computed_on_the_edges(kernel, normalization, self_loops, dtype):
    X, more = points(dtype=dtype), options(kernel)
    if normalization == "bistochastic":  # patterns with zeros may allow no scaling
        self_loops, X = True, np.abs(X)
        if "embed" in more:
            more["embed"] = tuple(np.abs(w) for w in more["embed"])
    k = K
    if normalization == "chung":  # with few neighbours, some nodes are nobody's: π = 0
        k, X = N // 2, np.abs(X)
        if "embed" in more:
            more["embed"] = tuple(np.abs(w) for w in more["embed"])
    graph = gspnl.neighbor_graph(
        X, k, kernel, normalization=normalization, self_loops=self_loops, **more
    )
    oracle = {name: value for name, value in more.items() if name != "embed"}
    if kernel == "anchors":
        fitted = graph.kernel.kernel
        oracle = {"points": fitted._points, "sigma": float(fitted._sigmas[0, 0])}
    M = affinity(kernel, X, more.get("embed"), **oracle)
    directed = normalization in ("softmax", "chung")
    W = neighbor_weights(X, k, lambda D: M, directed=directed)
    if self_loops:
        W = W + np.diag(np.diag(M))
    W = weights(W, normalization) if directed else W
    if kernel in ("gaussian", "embedded_gaussian") and normalization == "combinatorial":
        assert graph.weights.log_factor > 0
    P = operator(W, normalization)
    Z = points(2, dtype, N)
    assert relative(graph.dense(), P) < TOLERANCE[dtype] * 10
    assert relative(graph.apply(Z), P @ Z) < TOLERANCE[dtype] * 10
    A, _ = normalized(W, normalization)
    assert relative(graph.laplacian(Z), Z - A @ Z) < TOLERANCE[dtype] * 10


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("symmetrize", SYMMETRIZE)
@pytest.mark.parametrize("normalization", sorted(set(NORMALIZATIONS) - {"softmax", "chung"}))
def test_filters_and_spectra_equal_their_dense_formula(normalization, symmetrize, dtype):
    X, tolerance = points(dtype=dtype), TOLERANCE[dtype]
    graph = gspnl.neighbor_graph(
        X, K, symmetrize=symmetrize, normalization=normalization,
        self_loops=normalization == "bistochastic",
    )  # fmt: skip
    W = neighbor_weights(X, K, local_rbf(7), symmetrize)
    W += np.eye(N) * (normalization == "bistochastic")
    A, change = normalized(W, normalization)
    lam = eigen(A, change)[0]
    Z = points(3, dtype)
    heat = gspnl.responses.heat(0.3)
    truth = dense_filter(A, change, heat, Z)
    size = np.abs(Z).max()
    assert np.abs(graph.filter(Z, heat) - truth).max() < tolerance * size
    assert np.abs(graph.filter(Z, heat, order=30) - truth).max() < tolerance * size * 10
    tol = 1e-6 if dtype == np.float64 else 1e-3
    plan = graph.chebyshev(heat, tol=tol)
    assert plan.error_bound <= tol
    assert graph.norm(plan(Z) - truth) <= plan.error_bound * graph.norm(Z) * (1 + 1e-6)
    spec = graph.spectrum()
    every = np.repeat(spec.eigenvalues, spec.multiplicities)
    assert np.abs(every - lam).max() < tolerance * max(1, lam.max())
    few = graph.spectrum(k=5).eigenvalues
    assert np.abs(np.sort(few) - lam[: len(few)]).max() < 1e-4 * max(1, lam.max())
    assert relative(graph.rows([3, -1]), operator(W, normalization)[[3, -1]]) < tolerance


def test_softmax_keeps_directed_edges_and_has_no_spectrum():
    X = points()
    graph = gspnl.neighbor_graph(X, K, normalization="softmax")
    M = neighbor_weights(X, K, local_rbf(7), directed=True)
    assert relative(graph.dense(), M / M.sum(1, keepdims=True)) < 1e-13
    assert (np.diff(graph.weights.sparse.indptr) == K).all()
    with pytest.raises(NonsymmetricError):
        graph.spectrum()
    with pytest.raises(InputError, match="directed edges"):
        gspnl.neighbor_graph(X, K, normalization="softmax", symmetrize="mean")


@pytest.mark.usefixtures("rows")
def test_every_verb_runs_as_on_the_same_weights_from_scipy():
    X = np.concatenate([points(2), points(2) + 4])
    graph = gspnl.neighbor_graph(X, 12)
    same = gspnl.graph_from_weights(graph.weights.sparse)
    y = np.repeat([0, 1], N)
    Z = y[:, None] + 0.3 * points(1, n=2 * N)
    known = np.arange(2 * N) % 20 == 0
    for verb in (
        lambda g: gspnl.denoise(g, Z, strength=2.0),
        lambda g: gspnl.inpaint(g, Z, known),
        lambda g: gspnl.propagate_labels(g, np.where(known, y, -1)).labels,
        lambda g: gspnl.spectral_clustering(g, 2),
        lambda g: gspnl.dirichlet_energy(g, Z),
        lambda g: gspnl.total_variation(g, Z),
        lambda g: gspnl.local_variation(g, Z),
        lambda g: gspnl.analyze(g, Z, gspnl.banks.itersine(4)),
        lambda g: gspnl.analyze(g, Z, gspnl.banks.itersine(4), order=20),
        lambda g: gspnl.localize(g, gspnl.responses.heat(2.0), 5),
        lambda g: gspnl.spectral_density(g).count(0.0, 0.5),
        lambda g: gspnl.stability.spectral_gap(g),
        lambda g: gspnl.to_networkx(g).number_of_edges(),
        lambda g: gspnl.to_pygsp(g).W.toarray(),
        lambda g: gspnl.as_linear_operator(g) @ Z,
        lambda g: g.degrees,
    ):
        assert np.allclose(verb(graph), verb(same), atol=1e-9)


def test_a_users_kernel_is_called_for_pairs_only():
    class Laplace(Kernel):
        pairs = 0

        def affinity(self, phi, psi):
            Laplace.pairs += phi.shape[-2] * psi.shape[-2] * int(np.prod(phi.shape[:-2]))
            return np.exp(-np.abs(phi[..., :, None, :] - psi[..., None, :, :]).sum(-1))

    class TwoSetsOnly(Laplace):
        def affinity(self, phi, psi):
            return np.exp(-np.abs(phi[:, None] - psi[None]).sum(-1))

    X = points(n=2000)
    truth = neighbor_weights(
        X, K, lambda D: np.exp(-np.abs(X[:, None] - X[None]).sum(-1))
    )  # fmt: skip
    for kernel in (Laplace(), TwoSetsOnly()):
        graph = gspnl.neighbor_graph(X, K, kernel)
        assert relative(graph.weights.sparse.toarray(), truth) < 1e-14
    assert Laplace.pairs < 2000 * K + 200_000  # of 4 million; some check what it declares


def test_weights_with_signs_are_kept_where_degrees_are_positive():
    X = points()
    for symmetrize in SYMMETRIZE:
        graph = gspnl.neighbor_graph(
            X, 40, "dot", feature_map=None, symmetrize=symmetrize, self_loops=True,
            normalization="symmetric",
        )  # fmt: skip
        W = neighbor_weights(X, 40, lambda D: X @ X.T, symmetrize) + np.diag((X**2).sum(1))
        assert (W < 0).any()
        assert relative(graph.dense(), normalized(W, "symmetric")[0]) < 1e-12


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_the_graph_does_not_depend_on_the_unit_of_the_features(scale):
    X = points()
    plain, scaled = (gspnl.neighbor_graph(x, K) for x in (X, scale * X))
    assert relative(scaled.weights.sparse.toarray(), plain.weights.sparse.toarray()) < 1e-10
    plain, scaled = (gspnl.neighbor_graph(x, K, "dot").dense() for x in (abs(X), scale * abs(X)))
    assert relative(scaled, plain) < 1e-10


def test_a_graph_of_two_nodes():
    graph = gspnl.neighbor_graph([[0.0], [2.0]], k=1)
    assert np.allclose(graph.weights.sparse.toarray(), [[0, np.exp(-2)], [np.exp(-2), 0]])
    assert np.allclose(graph.spectrum().eigenvalues, [0, 2])


def test_the_result_is_that_of_the_features_at_the_time():
    X = points()
    graph = gspnl.neighbor_graph(X, K)
    before = graph.dense().copy()
    X[:] = 0
    assert (graph.dense() == before).all()
    assert isinstance(graph.weights.sparse, scipy.sparse.csr_array)


def test_values_cross_edges_of_any_size():
    X = np.concatenate([points(2), points(2) + np.array([30.0, 0.0])])
    D = np.sqrt(((X[:, None] - X) ** 2).sum(-1))
    gap = D[:N, N:].min()
    graph = gspnl.neighbor_graph(X, N + 2, sigma=gap / 12)  # the groups are joined by e^-72
    known = np.arange(2 * N) < N
    assert 0 < graph.weights.sparse[:N, N:].max() < 1e-30
    filled = gspnl.inpaint(graph, np.ones(2 * N), known)
    assert np.allclose(filled, 1)
