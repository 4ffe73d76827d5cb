"""Chung's graph of a directed one, ½(A + Π⁻¹AᵀΠ), against its dense formula in every storage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from support.formulas import affinity, chung, relative, stationary

import gspnl
from gspnl import responses
from gspnl.errors import (
    DegreeError,
    GspnlError,
    InputError,
    NonsymmetricError,
    ReducibleError,
)
from gspnl.filters.spectrum import SMALL

N = 120
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 5))
EMBED = tuple(RNG.standard_normal((2, 5, 4)) / 2)
VECTORS = tuple(np.abs(w[:, 0]) for w in EMBED)
Z = RNG.standard_normal((N, 3))
HEAT = responses.heat(3.0)
CASES = [
    ("embedded_gaussian", {"temperature": 0.5}, EMBED, "dense"),
    ("embedded_gaussian", {"temperature": 0.5}, EMBED, "tiled"),
    ("dot", {"feature_map": "softplus"}, EMBED, "dense"),
    ("dot", {"feature_map": "softplus"}, EMBED, "lowrank"),
    ("dot", {"feature_map": "softplus"}, EMBED, "tiled"),
    ("concatenation", {}, VECTORS, "dense"),
    ("concatenation", {}, VECTORS, "sorted"),
    ("concatenation", {}, VECTORS, "tiled"),
    ("rbf", {"sigma": "adaptive"}, None, "dense"),
    ("rbf", {"sigma": "adaptive"}, None, "tiled"),
]


def walk(M):
    return M / M.sum(1, keepdims=True)


def parts_of(M):
    """(A, π, ½(A + A*), L) of a directed M ≥ 0, as the definition has them."""
    A = walk(M)
    pi = stationary(A)
    star = A.T * pi / pi[:, None]
    average = (A + star) / 2
    return A, pi, average, np.eye(len(A)) - average


def build(kernel, options, embed, storage, features=X, normalization="chung", **more):
    features = np.abs(features) if kernel == "concatenation" else features
    return gspnl.feature_graph(features, kernel, embed, normalization, storage, **options, **more)


def matrix(kernel, options, embed, features=X):
    features = np.abs(features) if kernel == "concatenation" else features
    return affinity(kernel, features, embed, **options)


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize(("kernel", "options", "embed", "storage"), CASES)
def test_graphs_equal_the_average_of_a_walk_and_its_time_reversal(
    kernel, options, embed, storage, self_loops
):
    M = matrix(kernel, options, embed)
    M = M if self_loops else M - np.diag(np.diag(M))
    assert np.abs(M - M.T).max() > 0.01 * M.max()
    _, pi, average, L = parts_of(M)
    graph = build(kernel, options, embed, storage, self_loops=self_loops)
    assert graph.normalization == "chung"
    assert graph.storage == storage
    assert relative(graph.degrees, pi) < 1e-12
    assert relative(graph.stationary, pi) < 1e-12
    assert relative(graph.apply(Z), average @ Z) < 1e-12
    assert relative(graph.laplacian(Z), L @ Z) < 1e-12
    assert relative(graph.dense(), average) < 1e-12
    assert relative(graph.rows([3, -1]), average[[3, -1]]) < 1e-12
    root = np.sqrt(pi)[:, None]
    lam, V = np.linalg.eigh(np.eye(N) - root * average / root.T)
    found = graph.spectrum()
    every = np.repeat(found.eigenvalues, found.multiplicities)
    assert np.abs(every - lam).max() < 1e-10
    assert relative(found.igft(found.gft(Z)), Z) < 1e-10
    norm = np.sqrt((pi[:, None] * Z**2).sum())
    assert abs(graph.norm(Z) / norm - 1) < 1e-12
    assert abs(np.linalg.norm(found.gft(Z)) / norm - 1) < 1e-12

    def filtered(gains):
        return V @ (gains[:, None] * (V.T @ (root * Z))) / root

    truth = scipy.linalg.expm(-3 * L) @ Z
    assert relative(filtered(HEAT(lam)), truth) < 1e-10
    assert relative(graph.filter(Z, HEAT), truth) < 1e-10
    plan = graph.chebyshev(HEAT, order=5, deflate=False)
    assert relative(plan.apply(Z), filtered(plan.series(lam))) < 1e-10
    for options_ in ({"order": 5}, {"tol": 1e-9}):
        plan = graph.chebyshev(HEAT, **options_)
        error = plan.apply(Z) - truth
        assert np.sqrt((pi[:, None] * error**2).sum()) <= plan.error_bound * norm
    assert plan.error_bound <= 1e-9


@pytest.mark.parametrize(("kernel", "options", "embed", "storage"), CASES)
def test_large_graphs_equal_their_dense_formula(kernel, options, embed, storage, monkeypatch):
    """More nodes than spectra are computed whole for, and than π is found by elimination for."""
    n = SMALL + 30
    monkeypatch.setattr("gspnl.affinity.stationary.graphs.ELIMINATED", SMALL)
    features = np.random.default_rng(1).standard_normal((n, 5))
    signal = np.random.default_rng(2).standard_normal((n, 2))
    M = matrix(kernel, options, embed, features)
    _, pi, average, L = parts_of(M)
    graph = build(kernel, options, embed, storage, features)
    assert relative(graph.degrees, pi) < 1e-10
    assert relative(graph.apply(signal), average @ signal) < 1e-10
    truth = scipy.linalg.expm(-3 * L) @ signal
    assert relative(graph.filter(signal, HEAT), truth) < 1e-10
    assert relative(graph.filter(signal, HEAT, order=30), truth) < 1e-10
    few = graph.spectrum(4)
    root = np.sqrt(pi)[:, None]
    lam = scipy.linalg.eigh(np.eye(n) - root * average / root.T, subset_by_index=(0, 3),
                            eigvals_only=True)  # fmt: skip
    assert np.abs(few.eigenvalues - lam).max() < 1e-8


@pytest.mark.parametrize(("kernel", "options", "embed", "storage"), CASES)
def test_float32_graphs_keep_their_digits(kernel, options, embed, storage):
    M = matrix(kernel, options, embed)
    _, pi, average, L = parts_of(M)
    pair = None if embed is None else tuple(w.astype(np.float32) for w in embed)
    graph = build(kernel, options, pair, storage, X.astype(np.float32))
    found = graph.apply(Z.astype(np.float32))
    assert found.dtype == np.float32
    assert relative(found, average @ Z) < 2e-5
    assert relative(graph.degrees, pi) < 2e-5
    truth = scipy.linalg.expm(-3 * L) @ Z
    assert relative(graph.filter(Z.astype(np.float32), HEAT, order=12), truth) < 5e-5


def test_batches_equal_their_graphs():
    features = np.random.default_rng(3).standard_normal((2, 2, 40, 5))
    signal = np.random.default_rng(4).standard_normal((2, 2, 40, 2))
    for kernel, options, embed, storage in CASES:
        graph = build(kernel, options, embed, storage, features)
        for key in np.ndindex(2, 2):
            one = build(kernel, options, embed, storage, features[key])
            assert relative(graph.degrees[key], one.degrees) < 1e-12
            assert relative(graph.apply(signal)[key], one.apply(signal[key])) < 1e-12
            assert relative(graph.filter(signal, HEAT)[key], one.filter(signal[key], HEAT)) < 1e-10
            assert relative(graph[key].stationary, one.degrees) < 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_directed_weights_sparse_or_dense(form, dtype):
    M = np.where(RNG.random((N, N)) < 0.1, RNG.random((N, N)), 0) + np.roll(np.eye(N), 1, 1)
    graph = gspnl.graph_from_weights(form(M.astype(dtype)), "chung")
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    _, pi, average, L = parts_of(M.astype(dtype).astype(np.float64))
    assert (graph.weights.sparse is None) == (form is np.asarray)
    assert relative(graph.degrees, pi) < tolerance
    assert relative(graph.dense(), average) < tolerance
    signal = Z.astype(dtype)
    truth = scipy.linalg.expm(-3 * L) @ Z
    assert relative(graph.filter(signal, HEAT), truth) < 100 * tolerance
    assert relative(graph.filter(signal, HEAT, order=25), truth) < 100 * tolerance
    if form is not np.asarray:
        stored = graph.weights.sparse
        assert stored.nnz <= 2 * (M > 0).sum()
        assert abs(stored - stored.T).max() == 0


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_known_graphs(form):
    """Closed forms: a cycle one way is the ring; one mixture; a reversible chain is itself."""
    ring = gspnl.graph_from_weights(form(np.roll(np.eye(12), 1, 1)), "chung")
    lam = np.sort(1 - np.cos(2 * np.pi * np.arange(12) / 12))
    found = ring.spectrum()
    assert np.abs(np.repeat(found.eigenvalues, found.multiplicities) - lam).max() < 1e-12
    pi = RNG.random(30)
    pi /= pi.sum()
    mixture = gspnl.graph_from_weights(form(np.ones((30, 1)) * pi), "chung")
    assert relative(mixture.dense(), np.ones((30, 1)) * pi) < 1e-13
    assert relative(mixture.degrees, pi) < 1e-13
    W = RNG.random((30, 30))
    W = W + W.T
    reversible = gspnl.graph_from_weights(form(walk(W)), "chung")
    assert relative(reversible.dense(), walk(W)) < 1e-12
    bipartite = np.kron([[0, 1], [1, 0]], RNG.random((6, 6)))
    found = gspnl.graph_from_weights(form(bipartite), "chung").spectrum().eigenvalues
    assert abs(found[-1] - 2) < 1e-12


@pytest.mark.parametrize("storage", ["dense", "tiled", "lowrank"])
def test_symmetric_kernels_are_random_walks(storage):
    kernel, options = ("dot", {}) if storage == "lowrank" else ("rbf", {"sigma": 1.5})
    graph = build(kernel, options, None, storage)
    plain = build(kernel, options, None, storage, normalization="random_walk")
    assert relative(graph.apply(Z), plain.apply(Z)) < 1e-13
    assert relative(graph.degrees, plain.degrees / plain.degrees.sum()) < 1e-12
    assert abs(graph.degrees.sum() - 1) < 1e-12
    assert relative(graph.filter(Z, HEAT), plain.filter(Z, HEAT)) < 1e-11
    if storage == "lowrank":
        assert graph.weights.factor.shape == plain.weights.factor.shape


def test_dirichlet_energies_are_those_of_the_directed_walk():
    """⟨x, (I − A) x⟩_π = ⟨x, L x⟩_π, though the two operators do not commute."""
    kernel, options, embed, storage = CASES[0]
    A, pi, average, _ = parts_of(matrix(kernel, options, embed))
    graph = build(kernel, options, embed, storage)
    directed = (pi[:, None] * Z * (Z - A @ Z)).sum()
    assert abs((pi[:, None] * Z * graph.laplacian(Z)).sum() / directed - 1) < 1e-12
    gap = A @ average - average @ A
    assert np.linalg.norm(gap) > 1e-3 * np.linalg.norm(A @ average)
    assert np.abs(graph.filter(Z, responses.nl(1.0)) - (A @ Z - Z)).max() > 1e-3


def test_everything_random_walk_has():
    kernel, options, embed, storage = CASES[0]
    graph = build(kernel, options, embed, storage)
    _, _, average, L = parts_of(matrix(kernel, options, embed))
    found = graph.describe()
    lam = np.sort(np.linalg.eigvals(L).real)
    assert abs(found.second - lam[1]) < 1e-10
    low, high = graph.spectral_interval()
    assert low <= lam[1]
    assert lam[-1] <= high
    assert "chung" in repr(graph)
    assert "chung" in graph._repr_html_()
    operator = gspnl.as_linear_operator(graph)
    assert relative(operator @ Z, average @ Z) < 1e-12
    assert relative(operator.T @ Z, average.T @ Z) < 1e-12
    again = gspnl.from_networkx(gspnl.to_networkx(graph))
    assert relative(again.apply(Z), average @ Z) < 1e-12
    assert abs(gspnl.stability.spectral_gap(graph, absolute=False) - lam[1]) < 1e-10


def test_nearest_neighbours_and_directed_networks():
    points = np.random.default_rng(5).standard_normal((200, 2))
    ring = np.roll(np.eye(200), 1, 1)
    M = gspnl.neighbor_graph(points, k=6, normalization="softmax").weights.sparse.toarray() + ring
    networkx = pytest.importorskip("networkx")
    graph = gspnl.from_networkx(networkx.from_numpy_array(M, create_using=networkx.DiGraph),
                                normalization="chung")  # fmt: skip
    assert relative(graph.dense(), parts_of(M)[2]) < 1e-12
    line = np.arange(50.0)[:, None] + 0.1 * np.arange(50)[:, None] ** 1.5
    with pytest.raises(ReducibleError, match="have π = 0"):
        gspnl.neighbor_graph(line, k=1, normalization="chung")
    one = gspnl.neighbor_graph(points[:60], k=30, normalization="chung")
    M = gspnl.neighbor_graph(points[:60], k=30, normalization="softmax").weights.sparse.toarray()
    assert relative(one.dense(), parts_of(M)[2]) < 1e-12


def test_operators_with_an_adjoint():
    from scipy.sparse.linalg import LinearOperator, aslinearoperator

    M = RNG.random((N, N))
    graph = gspnl.from_linear_operator(aslinearoperator(M), "chung", nonnegative=True)
    assert relative(graph.apply(Z), parts_of(M)[2] @ Z) < 1e-12
    assert relative(graph.rows([2, 5]), parts_of(M)[2][[2, 5]]) < 1e-12
    one_way = LinearOperator((N, N), matvec=lambda v: M @ v, dtype=np.float64)
    with pytest.raises(InputError, match="need its rmatvec"):
        gspnl.from_linear_operator(one_way, "chung", nonnegative=True)
    with pytest.raises(InputError, match="nonnegative=True"):
        gspnl.from_linear_operator(aslinearoperator(M), "chung")


# --- bad input ------------------------------------------------------------------------------------


def test_causal_masks_say_why_there_is_no_such_graph():
    for n in (2, 30, 2100):
        causal = np.tril(0.5 + np.random.default_rng(6).random((n, n)))
        with pytest.raises(ReducibleError, match=f"{n - 1} of {n} nodes have π = 0") as error:
            gspnl.graph_from_weights(causal, "chung")
        assert "causal mask" in str(error.value)
        assert [c.tolist() for c in error.value.classes] == [[0]]


def test_transient_nodes_are_named():
    M = RNG.random((8, 8)) + 0.1
    M[:, 3] = 0.0  # no incoming edges
    for form in (np.asarray, scipy.sparse.csr_array):
        with pytest.raises(ReducibleError, match=r"1 of 8 nodes .* leaves node 3 for good"):
            gspnl.graph_from_weights(form(M), "chung")
    M = RNG.random((8, 8)) + 0.1
    M[5] = 0.0  # no outgoing edges
    with pytest.raises(ReducibleError, match=r"7 of 8 nodes .* node 5, which has no outgoing") as e:
        gspnl.graph_from_weights(M, "chung")
    assert "softplus" in str(e.value)
    keep = e.value.classes[0]
    assert keep.tolist() == [5]
    features = np.array([[1.0, 0], [0, 1], [1, 1], [-1, 2]])
    with pytest.raises(ReducibleError, match="have π = 0"):
        gspnl.feature_graph(features, "dot", (np.eye(2), -np.eye(2)), "chung")


def test_isolated_nodes_and_several_classes_are_components():
    M = scipy.linalg.block_diag(RNG.random((5, 5)), 0.0, RNG.random((4, 4)))
    for form in (np.asarray, scipy.sparse.csr_array):
        graph = gspnl.graph_from_weights(form(M), "chung")
        parts = [parts_of(M[:5, :5])[2], np.ones((1, 1)), parts_of(M[6:, 6:])[2]]
        assert relative(graph.dense(), scipy.linalg.block_diag(*parts)) < 1e-13
        assert graph.degrees[5] == 0
        assert graph.describe().components == 3
        lam = np.repeat(graph.spectrum().eigenvalues, graph.spectrum().multiplicities)
        assert (np.abs(lam) < 1e-12).sum() == 3
        with pytest.raises(ReducibleError, match="3 closed classes"):
            _ = graph.stationary
    ring = np.roll(scipy.sparse.eye_array(3000).toarray(), 1, 1)
    both = scipy.sparse.block_diag([ring, ring, [[0.0]]], format="csr")
    graph = gspnl.graph_from_weights(both, "chung")
    assert relative(graph.degrees, np.append(np.full(6000, 1 / 6001), 0)) < 1e-10
    only = np.zeros((4, 4))
    assert np.array_equal(gspnl.graph_from_weights(only, "chung").dense(), np.eye(4))


def test_bad_weights_say_what_to_do():
    M = RNG.random((6, 6))
    for wrong, message in [
        (np.where(np.eye(6) > 0, -1.0, M), "needs non-negative weights"),
        (np.where(np.eye(6) > 0, np.nan, M), "not finite"),
        (M[:, :5], "shape"),
        (np.where(np.arange(36).reshape(6, 6) == 7, np.inf, M), "not finite"),
    ]:
        with pytest.raises(InputError, match=message):
            gspnl.graph_from_weights(wrong, "chung")
    with pytest.raises(InputError, match="needs non-negative weights; pass feature_map="):
        gspnl.feature_graph(X, "dot", EMBED, "chung", feature_map=None)
    with pytest.raises(InputError, match=r"'chung'"):
        gspnl.graph_from_weights(M, "Chung")
    with pytest.raises(NonsymmetricError, match="'chung'"):
        gspnl.graph_from_weights(M, "softmax").spectrum()
    with pytest.raises(InputError, match="'chung'"):
        gspnl.graph_from_weights(M, "random_walk")


def test_weights_of_any_size_are_taken():
    M = RNG.random((6, 6))
    truth = parts_of(M)[2]
    for size in (1e-300, 1e-20, 1e20, 1e290):
        assert relative(gspnl.graph_from_weights(M * size, "chung").dense(), truth) < 1e-12
    for size in (1e-160, 1e160):
        found = build("dot", {"feature_map": "relu"}, tuple(map(np.abs, EMBED)), "lowrank",
                      np.abs(X) * size)  # fmt: skip
        M = matrix("dot", {"feature_map": "relu"}, tuple(map(np.abs, EMBED)), np.abs(X))
        assert relative(found.apply(Z), parts_of(M)[2] @ Z) < 1e-12
    rows, columns = 1000 + 200 * RNG.random((2, N, 1))  # of all scores: exp overflows
    phi, psi = np.hstack([X, rows, 1 + 0 * rows]), np.hstack([X, 1 + 0 * rows, 0.01 * columns])
    pair = tuple(np.split(np.eye(14), 2, axis=1))
    scores = phi @ psi.T
    M = np.exp(scores - scores.max(1, keepdims=True))
    for storage in ("dense", "tiled"):
        far = gspnl.feature_graph(
            np.hstack([phi, psi]), "embedded_gaussian", pair, "chung", storage
        )
        assert relative(far.apply(Z), parts_of(M)[2] @ Z) < 1e-9
    for storage, error in (("tiled", ReducibleError), ("dense", DegreeError)):
        with pytest.raises(error, match=r"temperature="):
            build("embedded_gaussian", {}, EMBED, storage, 60 * X)


def test_approximations_of_symmetric_kernels_and_of_directed_ones():
    plain = build("rbf", {"sigma": 2.0}, None, "auto", normalization="random_walk", tol=1e-6)
    graph = build("rbf", {"sigma": 2.0}, None, "auto", tol=1e-6)
    assert graph.approximation.bound == plain.approximation.bound <= 1e-6
    assert relative(graph.apply(Z), plain.apply(Z)) < 1e-12
    M = matrix("rbf", {"sigma": 2.0}, None)
    assert relative(graph.apply(Z), parts_of(M)[2] @ Z) < 1e-5
    for request in ({"rank": 20}, {"tol": 1e-3}, {"rank": 5, "approximation": "nystrom"}):
        with pytest.raises(InputError, match="directed kernel, Φ ≠ Ψ, has no approximation"):
            gspnl.feature_graph(X, "embedded_gaussian", EMBED, "chung", **request)
    rough = gspnl.feature_graph(X, "embedded_gaussian", EMBED, "chung", rank=100,
                                approximation="random_features")  # fmt: skip
    factor = rough.weights.factor
    assert factor.shape == (N, 200)
    assert abs(rough.degrees.sum() - 1) < 1e-12
    walk_ = gspnl.feature_graph(X, "embedded_gaussian", EMBED, "softmax", rank=100,
                                approximation="random_features")  # fmt: skip
    assert relative(rough.apply(Z), parts_of(walk_.dense())[2] @ Z) < 1e-12


# --- torch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "options", "storage"),
    [
        ("embedded_gaussian", {"temperature": 2.0}, "dense"),
        ("embedded_gaussian", {"temperature": 2.0}, "tiled"),
        ("dot", {"feature_map": "softplus"}, "dense"),
        ("dot", {"feature_map": "softplus"}, "lowrank"),
        ("dot", {"feature_map": "softplus"}, "tiled"),
    ],
)
def test_gradients_equal_those_of_the_plain_formula(kernel, options, storage):
    torch = pytest.importorskip("torch")
    n, goal = 40, torch.tensor(Z[:40])
    slopes = []
    for plain in (False, True):
        x = torch.tensor(X[:n], requires_grad=True)
        pair = tuple(torch.tensor(w, requires_grad=True) for w in EMBED)
        signal = torch.tensor(Z[:n] ** 2, requires_grad=True)
        if plain:
            phi, psi = (x @ w for w in pair)
            soft = torch.nn.functional.softplus
            M = (phi @ psi.T / 2).exp() if kernel != "dot" else soft(phi) @ soft(psi).T
            A = M / M.sum(1, keepdim=True)
            ones = torch.ones(n, n, dtype=A.dtype)
            pi = torch.linalg.solve(torch.eye(n) - A.T + ones, torch.ones(n, dtype=A.dtype))
            pi = pi / pi.sum()
            average = (A + A.T * pi / pi[:, None]) / 2
            L = torch.eye(n) - average
            smooth, degrees = torch.linalg.matrix_exp(-3 * L) @ signal, pi
            once = average @ signal
        else:
            graph = gspnl.feature_graph(x, kernel, pair, "chung", storage, **options)
            smooth, degrees = graph.filter(signal, HEAT), graph.degrees
            once = graph.apply(signal)
        loss = (smooth * goal).sum() + 10 * (degrees**2).sum() + (once * goal).sum()
        loss.backward()
        slopes.append([p.grad.numpy() for p in (x, *pair, signal)])
    for found, truth in zip(*slopes, strict=True):
        assert relative(found, truth) < 1e-8


@pytest.mark.parametrize("kernel", ["rbf", "dot"])
@pytest.mark.parametrize("storage", ["dense", "tiled", "lowrank"])
def test_gradients_of_symmetric_kernels(kernel, storage):
    torch = pytest.importorskip("torch")
    if (kernel, storage) == ("rbf", "lowrank"):
        kernel = "cosine"
    slopes = []
    for normalization in ("chung", "random_walk"):
        x = torch.tensor(X[:40], requires_grad=True)
        graph = gspnl.feature_graph(x, kernel, normalization=normalization, storage=storage)
        degrees = graph.degrees / graph.degrees.sum() if normalization != "chung" else graph.degrees
        loss = (graph.apply(torch.tensor(Z[:40])) ** 2).sum() + (1000 * degrees**3).sum()
        loss.backward()
        slopes.append(x.grad.numpy())
    assert relative(*slopes) < 1e-10


def test_several_classes_carry_no_gradient():
    torch = pytest.importorskip("torch")
    M = scipy.linalg.block_diag(RNG.random((5, 5)), RNG.random((4, 4)))
    with pytest.raises(GspnlError, match="no gradient for a graph of 2 closed classes"):
        gspnl.graph_from_weights(torch.tensor(M, requires_grad=True), "chung")


def test_formula_of_the_tests_is_the_definition():
    M = RNG.random((9, 9))
    A, pi, average, _ = parts_of(M)
    assert np.abs(pi @ A - pi).max() < 1e-15
    assert relative(chung(M), np.diag(pi) @ average) < 1e-13
