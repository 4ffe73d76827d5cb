"""Graphs from precomputed weights, sparse and dense, against dense formulas."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import torch
from scipy.spatial import cKDTree
from support.formulas import eigen, normalized, operator, relative, size_of

import gspnl
from gspnl.errors import DegreeError, InputError, NonsymmetricError, SizeError

N = 240
SYMMETRIC = ["random_walk", "symmetric", "bistochastic", "combinatorial"]


def neighbours(k=8, isolated=(), seed=0, directed=False, n=N):
    """W of a typical k-nearest-neighbour graph: a kd-tree, Gaussian weights, the larger
    of the two directions."""
    X = np.random.default_rng(seed).random((n, 2))
    distance, index = cKDTree(X).query(X, k + 1)
    weight = np.exp(-((distance[:, 1:] / distance[:, 1:].mean()) ** 2))
    rows = np.repeat(np.arange(n), k)
    W = scipy.sparse.csr_array((weight.ravel(), (rows, index[:, 1:].ravel())), shape=(n, n))
    if not directed:
        W = W.maximum(W.T).tolil()
        W[list(isolated), :] = 0
        W[:, list(isolated)] = 0
    return W.tocsr()


def with_loops(W):
    """Add self-loops: without them a sparse pattern may have no bistochastic scaling."""
    return (W + scipy.sparse.eye_array(W.shape[0])).tocsr()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("hold", [scipy.sparse.csr_array, lambda W: W.toarray()])
@pytest.mark.parametrize("normalization", [*SYMMETRIC, "softmax"])
def test_a_neighbour_graph_equals_its_dense_formula(normalization, hold, dtype):
    W = with_loops(neighbours()).astype(dtype)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4  # as in the contract tests
    graph = gspnl.graph_from_weights(hold(W), normalization)
    full = W.toarray().astype(np.float64)
    A, change = normalized(full, normalization)
    Z = np.random.default_rng(1).standard_normal((N, 3)).astype(dtype)
    P = operator(full, normalization)
    assert graph.storage == ("sparse" if hold is scipy.sparse.csr_array else "dense")
    for value, truth in [
        (graph.degrees, full.sum(1)),
        (graph.apply(Z), P @ Z),
        (graph.apply(Z[:, 0]), P @ Z[:, 0]),
        (graph.laplacian(Z), Z - A @ Z),
        (graph.dense(), P),
        (graph.rows([7, -1]), P[[7, -1]]),
        (graph.rows(5), P[5]),
    ]:
        assert value.dtype == dtype
        assert relative(value, truth) < tolerance
    if normalization == "softmax":
        return
    spectrum = graph.spectrum()
    lam, _, _ = eigen(A, change)
    size = size_of(lam)
    assert np.abs(spectrum.eigenvalues - lam).max() < tolerance * size
    assert relative(spectrum.igft(spectrum.gft(Z)), Z) < tolerance
    truth = scipy.linalg.expm(-3 / size * (np.eye(N) - A)) @ Z
    heat = gspnl.responses.heat(3.0 / size)
    assert relative(graph.filter(Z, heat), truth) < tolerance
    for plan in (
        graph.chebyshev(heat, order=6),
        graph.chebyshev(heat, tol=1e-3),
        graph.chebyshev(heat, order=6, deflate=False),
        graph.chebyshev(heat, order=6, deflate=3),
    ):
        error = np.linalg.norm((plan(Z) - truth) / change[:, None])
        assert error <= plan.error_bound * np.linalg.norm(Z / change[:, None]) + tolerance
    table = gspnl.compare(graph, Z, heat, orders=[2, 5, 9])
    assert (table.errors <= table.bounds).all()
    assert table.bounds[-1] < 0.01 * table.bounds[0]


def test_signals_with_leading_dimensions_equal_the_dense_product():
    W = neighbours()
    graph = gspnl.graph_from_weights(W)
    Z = np.random.default_rng(1).standard_normal((2, 3, N, 4))
    A, _ = normalized(W.toarray(), "random_walk")
    assert relative(graph.apply(Z), A @ Z) < 1e-12
    assert graph[()].n_nodes == N


def test_a_batch_of_dense_weights_equals_its_graphs():
    W = np.stack([neighbours(seed=s).toarray() for s in range(3)])
    graph = gspnl.graph_from_weights(W, "symmetric")
    Z = np.random.default_rng(1).standard_normal((3, N, 2))
    assert graph.shape == (3, N, N)
    for i in range(3):
        A, change = normalized(W[i], "symmetric")
        assert relative(graph.apply(Z)[i], A @ Z[i]) < 1e-12
        lam, _, _ = eigen(A, change)
        assert np.abs(graph[i].spectrum().eigenvalues - lam).max() < 1e-10


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "combinatorial"])
def test_isolated_nodes_and_components_have_eigenvalue_zero(normalization):
    alone = [3, 77, 150]
    W = scipy.sparse.block_diag([neighbours(isolated=alone), neighbours(seed=5)], format="csr")
    graph = gspnl.graph_from_weights(W, normalization)
    A, change = normalized(W.toarray(), normalization)
    assert (graph.degrees[alone] == 0).all()
    Z = np.random.default_rng(2).standard_normal((2 * N, 2))
    assert relative(graph.apply(Z), operator(W.toarray(), normalization) @ Z) < 1e-12
    assert relative(graph.laplacian(Z), Z - A @ Z) < 1e-12
    lam, _, _ = eigen(A, change)
    spectrum = graph.spectrum()
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    assert np.abs(every - lam).max() < 1e-12 * size_of(lam)
    assert (every < 1e-10).sum() == 5  # three nodes alone, two components
    truth = scipy.linalg.expm(-2 * (np.eye(2 * N) - A)) @ Z
    heat = gspnl.responses.heat(2.0)
    assert relative(graph.filter(Z, heat), truth) < 1e-10
    assert relative(graph.filter(Z, heat, order=30), truth) < 1e-10
    assert relative(graph.filter(Z, heat, order=30, deflate=2), truth) < 1e-10


def test_a_large_sparse_graph_is_not_made_dense():
    """A ring of 200,000 nodes: 320 GB if stored. Its A is circulant, with a known filter."""
    n = 200_000
    W = scipy.sparse.diags_array([1.0, 1, 1, 1], offsets=[1, -1, n - 1, 1 - n], shape=(n, n))
    graph = gspnl.graph_from_weights(W)
    wave = np.cos(2 * np.pi * 500 * np.arange(n) / n)
    lam = 1 - np.cos(2 * np.pi * 500 / n)
    plan = graph.chebyshev(gspnl.responses.heat(4.0), order=14, deflate=False)
    assert np.abs(plan(wave) - np.exp(-4 * lam) * wave).max() <= 2 * plan.error_bound < 1e-5
    with pytest.raises(SizeError, match="GiB"):
        graph.spectrum()
    with pytest.raises(SizeError, match="GiB"):
        graph.dense()


def test_a_graph_of_two_nodes_equals_its_closed_form():
    graph = gspnl.graph_from_weights(scipy.sparse.csr_array([[0.0, 3.0], [3.0, 0.0]]))
    assert np.abs(graph.spectrum().eigenvalues - [0, 2]).max() < 1e-15
    z = np.array([1.0, 0.0])
    # g(0) on the mean, g(2) on the difference
    truth = (1 + np.exp(-2) * np.array([1, -1])) / 2
    assert np.abs(graph.filter(z, gspnl.responses.heat(1.0)) - truth).max() < 1e-15
    assert np.abs(graph.filter(z, gspnl.responses.heat(1.0), order=20) - truth).max() < 1e-14


@pytest.mark.parametrize("make", [scipy.sparse.csr_array((5, 5)), np.zeros((5, 5))])
def test_weights_without_edges(make):
    graph = gspnl.graph_from_weights(make)
    Z = np.arange(10.0).reshape(5, 2)
    assert np.array_equal(graph.apply(Z), Z)
    assert graph.spectrum().eigenvalues.tolist() == [0.0]
    assert graph.spectrum().multiplicities.tolist() == [5]
    assert np.array_equal(graph.filter(Z, gspnl.responses.heat(1.0), order=3), Z)
    assert np.array_equal(graph.dense(), np.eye(5))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_sparse_format_is_accepted(form, kind):
    W = neighbours(n=30)
    made = getattr(scipy.sparse, f"{form}_{kind}")(W)
    graph = gspnl.graph_from_weights(made)
    A, _ = normalized(W.toarray(), "random_walk")
    assert relative(graph.dense(), A) < 1e-15
    assert type(made).__name__ == f"{form}_{kind}"


def test_duplicate_entries_add_up_and_explicit_zeros_are_dropped():
    rows, columns = [0, 1, 0, 1, 0, 2, 2, 1], [1, 0, 1, 0, 2, 0, 1, 2]
    W = scipy.sparse.coo_array(([1.0, 1, 2, 2, 4, 4, 0, 0], (rows, columns)), shape=(3, 3))
    graph = gspnl.graph_from_weights(W)
    truth, _ = normalized(np.array([[0.0, 3, 4], [3, 0, 0], [4, 0, 0]]), "random_walk")
    assert np.abs(graph.dense() - truth).max() < 1e-15
    assert graph.weights.matrix.nnz == 4
    assert W.nnz == 8  # the input is as it was


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint16])
@pytest.mark.parametrize("hold", [np.asarray, scipy.sparse.csr_array])
def test_integer_weights_become_float64(hold, dtype):
    W = (neighbours(n=40).toarray() > 0).astype(dtype)
    graph = gspnl.graph_from_weights(hold(W))
    assert graph.degrees.dtype == np.float64
    assert np.array_equal(graph.degrees, W.astype(int).sum(1))


def test_lists_and_np_matrix_are_accepted():
    with warnings.catch_warnings(action="ignore"):
        matrix = np.matrix([[0, 1], [1, 0]])
    for W in ([[0, 1], [1, 0]], matrix):
        assert np.array_equal(gspnl.graph_from_weights(W).dense(), [[0, 1], [1, 0]])


def test_weights_are_copied():
    for W in (neighbours(), neighbours().toarray()):
        graph = gspnl.graph_from_weights(W)
        before = graph.dense()
        W *= 0
        assert np.array_equal(graph.dense(), before)


def test_only_asymmetry_of_rounding_is_averaged():
    W = neighbours(n=50).toarray()
    W[:, :25] *= 1e-9  # nodes of small weights have a small scale of their own
    W = np.minimum(W, W.T)
    i, j = np.argwhere(W[:25, :25] > 0)[0]
    for factor, fits in [(1 + 8e-16, True), (1 + 1e-12, False)]:
        bent = W.copy()
        bent[i, j] *= factor
        for hold in (np.asarray, scipy.sparse.csr_array):
            if fits:
                held = gspnl.graph_from_weights(hold(bent)).weights.matrix
                assert abs(held - held.T).max() == 0
                assert abs(held[i, j] - W[i, j]) <= 8e-16 * W[i, j]
            else:
                with pytest.raises(InputError, match=r"1 pair.*\(W \+ W.T\)/2.*softmax"):
                    gspnl.graph_from_weights(hold(bent))


def test_directed_edges_need_softmax():
    W = neighbours(directed=True)
    for hold in (W, W.toarray()):
        with pytest.raises(InputError, match="softmax"):
            gspnl.graph_from_weights(hold)
        graph = gspnl.graph_from_weights(hold, "softmax")
        A, _ = normalized(W.toarray(), "softmax")
        Z = np.random.default_rng(0).standard_normal((N, 2))
        assert relative(graph.apply(Z), A @ Z) < 1e-12
        assert relative(graph.filter(Z, gspnl.responses.ns(), order=1), A @ Z - Z) < 1e-12
        with pytest.raises(NonsymmetricError):
            graph.spectrum()
        assert gspnl.graph_from_weights((hold + hold.T) / 2).n_nodes == N


def test_negative_weights_with_positive_degrees():
    W = neighbours(n=60).toarray()
    np.fill_diagonal(W, 2.0)
    i, j = np.argwhere(W * (1 - np.eye(60)) > 0)[0]
    W[i, j] = W[j, i] = -0.3
    A, change = normalized(W, "random_walk")
    lam, _, _ = eigen(A, change)
    Z = np.random.default_rng(0).standard_normal((60, 2))
    truth = scipy.linalg.expm(-(np.eye(60) - A)) @ Z
    for hold in (W, scipy.sparse.csr_array(W)):
        graph = gspnl.graph_from_weights(hold)
        assert repr(graph).startswith("FeatureGraph(60 nodes, kernel Precomputed(signed=True)")
        assert np.abs(graph.spectrum().eigenvalues - lam).max() < 1e-12
        assert relative(graph.filter(Z, gspnl.responses.heat(1.0), order=20), truth) < 1e-10
        with pytest.raises(InputError, match=r"bistochastic.*-0.3.*maximum"):
            gspnl.graph_from_weights(hold, "bistochastic")


@pytest.mark.parametrize("hold", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize(
    ("W", "message"),
    [
        ([[1.0, -2.0], [-2.0, 5.0]], r"1 of 2 degrees are ≤ 0.*node 0: -1.*abs\(W\)"),
        ([[0.1, 0.2, -0.3], [0.2, 5, 0], [-0.3, 0, 5]], "node 0: 5.55e-17"),
        ([[-1.0, 0.0], [0.0, 1.0]], "degrees are ≤ 0"),
        ([[1e308, 1e308], [1e308, 1e308]], "overflow float64; divide W"),
        ([[1e-320, 1e-320], [1e-320, 1e-320]], "multiply W by a constant"),
    ],
)
def test_invalid_degrees_raise(hold, W, message):
    with pytest.raises(DegreeError, match=message):
        gspnl.graph_from_weights(hold(W))


@pytest.mark.parametrize("hold", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize(
    ("W", "message"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\).*\(\.\.\., N, N\)"),
        (np.ones((1, 1)), "N ≥ 2"),
        (np.ones((2, 2)) * 1j, "complex128"),
        (np.array([[1, 1], [1, np.nan]]), r"nan at index \(1, 1\)"),
        (np.array([[1, np.inf], [np.inf, 1]]), r"inf at index \(0, 1\)"),
    ],
)
def test_invalid_weights_raise(hold, W, message):
    with pytest.raises(InputError, match=message):
        gspnl.graph_from_weights(hold(W))


@pytest.mark.parametrize("W", ["W", None, [[1, 2], [3]], np.ones(4), np.ones((0, 0)), object()])
def test_objects_that_are_not_matrices_raise(W):
    with pytest.raises(InputError):
        gspnl.graph_from_weights(W)


def test_a_dense_copy_that_does_not_fit_raises(monkeypatch):
    monkeypatch.setattr("gspnl._base.array.available_memory", lambda: 3 * 8 * 100**2)
    with pytest.raises(SizeError, match="aslinearoperator"):
        gspnl.graph_from_weights(np.ones((100, 100)))


def test_invalid_arguments_raise():
    with pytest.raises(InputError, match="random_walk"):
        gspnl.graph_from_weights(np.ones((3, 3)), "random-walk")
    with pytest.raises(InputError, match="masked"):
        gspnl.graph_from_weights(np.ma.masked_array(np.ones((3, 3))))
    with pytest.raises(InputError, match="to_dense"):
        gspnl.graph_from_weights(torch.eye(3).to_sparse())
    with pytest.raises(InputError, match="features"):
        gspnl.feature_graph(np.ones((3, 3)), gspnl.graph_from_weights(np.ones((3, 3))).kernel)
    graph = gspnl.graph_from_weights(neighbours())
    with pytest.raises(InputError, match="convert"):
        graph.apply(torch.ones(N, 2))


@pytest.mark.parametrize("normalization", SYMMETRIC)
def test_dense_weights_of_other_libraries(normalization):
    strict = pytest.importorskip("array_api_strict")
    W = with_loops(neighbours(n=60)).toarray()
    W[3, 4] = W[4, 3] * (1 + 2e-16)
    Z = np.random.default_rng(0).standard_normal((60, 2))
    A, _ = normalized(W, normalization)
    truth = scipy.linalg.expm(-(np.eye(60) - A)) @ Z
    heat = gspnl.responses.heat(1.0)
    for xp in (torch, strict):
        graph = gspnl.graph_from_weights(xp.asarray(W), normalization)
        value = graph.filter(xp.asarray(Z), heat)
        assert type(value) is type(xp.asarray(Z))
        assert relative(value, truth) < 1e-12
        assert relative(graph.filter(xp.asarray(Z), heat, order=20), truth) < 1e-10


def test_gradients_reach_the_weights():
    w = torch.rand(6, 6, dtype=torch.float64, generator=torch.manual_seed(0), requires_grad=True)
    Z = torch.ones(6, 2, dtype=torch.float64) * torch.arange(6)[:, None]

    def smooth(w):
        graph = gspnl.graph_from_weights(w + w.T)
        return graph.filter(Z, gspnl.responses.heat(1.0), order=3, deflate=False)

    assert torch.autograd.gradcheck(smooth, (w,))


def test_sparse_float32_weights_that_differ_by_rounding_stay_float32():
    rng = np.random.default_rng(0)
    W = scipy.sparse.random_array((40, 40), density=0.3, rng=rng).tocsr()
    W = (W + W.T).astype(np.float32).tolil()
    i, j = (int(each[0]) for each in W.nonzero())
    W[i, j] = np.nextafter(W[i, j], np.float32(np.inf))
    W = W.tocsr()
    assert W.dtype == np.float32
    assert (W != W.T).nnz
    assert gspnl.graph_from_weights(W).degrees.dtype == np.float32
