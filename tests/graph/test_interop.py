"""Conversions to and from NetworkX, PyGSP and SciPy operators, against their matrices."""

from __future__ import annotations

import logging
import sys

import networkx as nx
import numpy as np
import pygsp
import pytest
import scipy.linalg
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator, cg, eigsh, lsmr
from support.formulas import (
    affinity,
    dense_filter,
    eigen,
    normalized,
    relative,
    size_of,
    weights,
)
from support.formulas import operator as product

import gspnl
from gspnl.affinity.kernels import KERNELS
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import STORAGES
from gspnl.errors import (
    DegreeError,
    GspnlError,
    InputError,
    MissingExtraError,
    NonsymmetricError,
    SizeError,
)

N = 60
X = np.random.default_rng(0).standard_normal((N, 4)) * 0.7


@pytest.fixture(autouse=True)
def quiet_pygsp():
    """PyGSP logs a line for each graph with self-loops."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def ring(n=12):
    return scipy.sparse.diags_array([1.0, 2, 2, 1], offsets=[1 - n, -1, 1, n - 1], shape=(n, n))


def build(kernel, storage, normalization, dtype=np.float64, **options):
    rng = np.random.default_rng(1)
    pairs = {"dot": (4, 3), "embedded_gaussian": (4, 3), "concatenation": (4,)}
    embed = None
    if kernel in pairs:
        embed = tuple(rng.standard_normal(pairs[kernel]).astype(dtype) for _ in range(2))
    if kernel == "anchors":
        options["anchors"] = 7
    features = X
    if normalization == "chung" and kernel in ("dot", "concatenation"):  # no transient nodes
        features, embed = np.abs(X), tuple(np.abs(w) for w in embed)
    return gspnl.feature_graph(
        features.astype(dtype),
        kernel,
        embed,
        normalization=normalization,
        storage=storage,
        **options,
    )


CASES = [
    (kernel, storage, normalization)
    for kernel in KERNELS
    for storage in STORAGES
    if STORAGES[storage].supports(KERNELS[kernel]())
    for normalization in NORMALIZATIONS
]


def adjoint_gap(operator, rng, n):
    """|⟨A x, y⟩ − ⟨x, Aᵀ y⟩| against ‖A x‖ ‖y‖, on vectors and blocks."""
    x, y = rng.standard_normal((2, n))
    gap = abs((operator @ x) @ y - x @ operator.rmatvec(y))
    blocks = rng.standard_normal((2, n, 3))
    wide = blocks[0].T @ operator.rmatmat(blocks[1]) - (operator @ blocks[0]).T @ blocks[1]
    return max(gap, np.abs(wide).max()) / (np.linalg.norm(operator @ x) * np.linalg.norm(y))


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize(("kernel", "storage", "normalization"), CASES)
def test_linear_operators_equal_their_matrices(kernel, storage, normalization, self_loops):
    graph = build(kernel, storage, normalization, self_loops=self_loops)
    A = graph.dense()  # tested against plain formulas in test_contract
    rng = np.random.default_rng(2)
    Z = rng.standard_normal((N, 3))
    of = {"affinity": A, "laplacian": np.eye(N) - A}
    if normalization == "combinatorial":  # A stands for W
        of["laplacian"] = np.diag(A.sum(1)) - A
        with pytest.raises(InputError, match="of='laplacian'"):
            gspnl.as_linear_operator(graph, of="core")
    elif normalization != "softmax":
        T = graph.affinity.change
        of["core"] = A / T[:, None] * T
    for name, matrix in of.items():
        operator = gspnl.as_linear_operator(graph, of=name)
        assert isinstance(operator, LinearOperator)
        assert operator.shape == (N, N)
        assert operator.dtype == np.float64
        # 1e-11: a hundred times below what a wrong scale or transpose would leave; the products
        # of tiles round differently from those of rows
        assert relative(operator @ Z, matrix @ Z) < 1e-11
        assert relative(operator @ Z[:, 0], matrix @ Z[:, 0]) < 1e-11
        assert relative(operator.H @ Z, matrix.T @ Z) < 1e-11
        assert relative(operator.T @ Z[:, 1], matrix.T @ Z[:, 1]) < 1e-11
        assert adjoint_gap(operator, rng, N) < 1e-12


@pytest.mark.parametrize("normalization", list(NORMALIZATIONS))
def test_linear_operators_of_sparse_graphs(normalization):
    W = scipy.sparse.random_array((N, N), density=0.1, rng=np.random.default_rng(0)).tolil()
    W[[4, 9], :] = 0
    if normalization == "softmax":  # rows without edges, but edges come in: absorbing nodes
        assert W[:, [4, 9]].sum() > 0
    else:
        W[:, [4, 9]] = 0
        W = W + W.T + scipy.sparse.diags_array(np.where(np.isin(np.arange(N), [4, 9]), 0.0, 1.0))
    A, change = normalized(W.toarray(), normalization)
    graph = gspnl.graph_from_weights(W.tocsr(), normalization)
    Z = np.random.default_rng(2).standard_normal((N, 3))
    P = product(W.toarray(), normalization)
    operator = gspnl.as_linear_operator(graph)
    assert relative(operator @ Z, P @ Z) < 1e-12
    assert relative(operator.H @ Z, P.T @ Z) < 1e-12
    laplacian = gspnl.as_linear_operator(graph, of="laplacian")
    assert relative(laplacian @ Z, Z - A @ Z) < 1e-12
    assert relative(laplacian.H @ Z, Z - A.T @ Z) < 1e-12
    if normalization not in ("softmax", "combinatorial"):
        core = gspnl.as_linear_operator(graph, of="core")
        S = A / change[:, None] * change
        assert relative(core @ np.eye(N), S) < 1e-12
        assert relative(core.H @ Z, S @ Z) < 1e-12


def test_adjoints_by_strips_of_rows_equal_the_transpose(monkeypatch):
    """Several strips, the last one shorter."""
    monkeypatch.setattr("gspnl.affinity.weights.adjoint.STRIP", 7 * N)
    graph = build("rbf", "tiled", "softmax")
    operator = gspnl.as_linear_operator(graph)
    Z = np.random.default_rng(2).standard_normal((N, 3))
    assert relative(operator.H @ Z, graph.dense().T @ Z) < 1e-12


def test_scipy_solvers_accept_the_operators():
    graph = build("rbf", "tiled", "random_walk")
    M = affinity("rbf", X)
    A, change = normalized(M, "random_walk")
    lam, _, _ = eigen(A, change)
    core = gspnl.as_linear_operator(graph, of="core")
    assert np.abs(1 - eigsh(core, k=5, return_eigenvectors=False)[::-1] - lam[:5]).max() < 1e-10
    b = np.random.default_rng(3).standard_normal(N)
    symmetric = gspnl.as_linear_operator(build("rbf", "tiled", "symmetric"), of="laplacian")
    eye = aslinearoperator(scipy.sparse.eye_array(N))
    x, failed = cg(eye + 5 * symmetric, b, rtol=1e-12)
    assert not failed
    S, one = normalized(M, "symmetric")
    assert relative(x, dense_filter(S, one, lambda lam: 1 / (1 + 5 * lam), b[:, None])[:, 0]) < 1e-9
    laplacian = gspnl.as_linear_operator(graph, of="laplacian")
    x = lsmr(eye + 5 * laplacian, b, atol=1e-13, btol=1e-13)[0]
    assert relative(x, np.linalg.solve(np.eye(N) + 5 * (np.eye(N) - A), b)) < 1e-9


def test_linear_operators_of_other_dtypes_and_libraries():
    strict = pytest.importorskip("array_api_strict")
    graph = build("rbf", "tiled", "random_walk", np.float32)
    operator = gspnl.as_linear_operator(graph)
    assert operator.dtype == np.float32
    assert (operator @ X.astype(np.float32)).dtype == np.float32
    A, _ = normalized(affinity("rbf", X), "random_walk")
    assert relative(operator @ X, A @ X) < 1e-5
    value = operator @ (X + 2j * X)
    assert np.abs(value - (1 + 2j) * (A @ X)).max() < 1e-5
    for xp in (torch, strict):
        for normalization in ("random_walk", "softmax"):
            graph = gspnl.feature_graph(xp.asarray(X), "rbf", normalization=normalization)
            operator = gspnl.as_linear_operator(graph)
            assert type(operator @ X) is np.ndarray
            assert relative(operator @ X, A @ X) < 1e-12
            assert relative(operator.H @ X, A.T @ X) < 1e-12
    graph = gspnl.feature_graph(torch.asarray(X).requires_grad_(), "rbf")
    with pytest.raises(GspnlError, match="gradient"):
        gspnl.as_linear_operator(graph) @ X


def test_invalid_operator_requests_raise():
    graph = build("rbf", "dense", "softmax")
    with pytest.raises(NonsymmetricError, match="of='affinity'"):
        gspnl.as_linear_operator(graph, of="core")
    with pytest.raises(InputError, match="did you mean 'laplacian'"):
        gspnl.as_linear_operator(graph, of="Laplacian")
    with pytest.raises(InputError, match="nan"):
        gspnl.as_linear_operator(graph) @ np.full(N, np.nan)


@pytest.mark.parametrize(
    "verb", [gspnl.as_linear_operator, gspnl.to_networkx, gspnl.to_pygsp], ids=lambda f: f.__name__
)
def test_batches_and_other_objects_raise(verb):
    with pytest.raises(InputError, match=rf"{verb.__name__}.*\(2,\).*graph\[i\]"):
        verb(gspnl.feature_graph(np.stack([X, X]), kernel="dot"))
    with pytest.raises(InputError, match="ndarray"):
        verb(X)


# --- weights by their products alone --------------------------------------------------------------


@pytest.mark.parametrize("normalization", list(NORMALIZATIONS))
def test_a_graph_of_an_operator_equals_that_of_its_matrix(normalization):
    M = affinity("gaussian", X)
    M = M if normalization != "softmax" else M * np.arange(1, N + 1)
    A, change = normalized(M, normalization)
    P = product(M, normalization)
    calls = []
    operator = LinearOperator(
        (N, N), lambda z: calls.append(0) or M @ z, rmatvec=lambda z: M.T @ z, dtype=float
    )
    graph = gspnl.from_linear_operator(operator, normalization, nonnegative=True)
    assert calls
    assert graph.storage == "operator"
    Z = np.random.default_rng(0).standard_normal((N, 2))
    assert relative(graph.apply(Z), P @ Z) < 1e-12
    assert relative(graph.apply(np.stack([Z, Z])), P @ np.stack([Z, Z])) < 1e-12
    assert relative(graph.dense(), P) < 1e-12
    assert relative(gspnl.as_linear_operator(graph).H @ Z, P.T @ Z) < 1e-12
    if normalization != "softmax":
        time = 2 / size_of(eigen(A, change)[0])
        truth = scipy.linalg.expm(-time * (np.eye(N) - A)) @ Z
        assert relative(graph.filter(Z, gspnl.responses.heat(time)), truth) < 1e-10
        assert relative(graph.filter(Z, gspnl.responses.heat(time), order=15), truth) < 1e-10
    if normalization not in ("softmax", "combinatorial"):
        back = gspnl.from_linear_operator(
            gspnl.as_linear_operator(graph, of="core"), "symmetric", nonnegative=True
        )
        if normalization == "bistochastic":  # its core is A, of degree 1
            assert relative(back.dense(), A) < 1e-10


def test_operators_of_float32_and_integers():
    M = affinity("rbf", X)
    operator = aslinearoperator(M.astype(np.float32))
    assert gspnl.from_linear_operator(operator).apply(X).dtype == np.float32
    counts = aslinearoperator(np.ones((4, 4), dtype=int))
    assert gspnl.from_linear_operator(counts).degrees.tolist() == [4.0] * 4


def test_a_nonsymmetric_operator_raises_or_needs_softmax():
    M = affinity("rbf", X)
    for i in range(20):  # one entry, a millionth: 10⁴ times what probes must see
        bent = M.copy()
        bent[3, 8] += 1e-6
        with pytest.raises(InputError, match="softmax"):
            gspnl.from_linear_operator(aslinearoperator(bent), seed=i)
        gspnl.from_linear_operator(aslinearoperator(M), seed=i)


def test_the_failure_probability_of_a_probe_is_as_stated():
    """P(|xᵀ E y| ≤ t ‖E‖₂) ≤ t, sharp for an E of rank 2, where ‖Ey‖ has two degrees of freedom."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 200_000, 2))
    values = np.abs(x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0])
    for t in (0.05, 0.2):
        share = (values <= t).mean()
        # three standard deviations of the count; P = 1 − e^{−t} here
        assert abs(share - (1 - np.exp(-t))) < 3 * np.sqrt(t / len(x))
        assert share < t


def test_invalid_operators_raise():
    with pytest.raises(InputError, match="graph_from_weights"):
        gspnl.from_linear_operator(np.ones((3, 3)))
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        gspnl.from_linear_operator(aslinearoperator(np.ones((2, 3))))
    with pytest.raises(InputError, match="complex128"):
        gspnl.from_linear_operator(aslinearoperator(np.ones((3, 3)) * 1j))
    with pytest.raises(InputError, match="nonnegative=True"):
        gspnl.from_linear_operator(aslinearoperator(np.ones((3, 3))), "bistochastic")
    with pytest.raises(DegreeError, match="1 of 3 degrees"):
        gspnl.from_linear_operator(aslinearoperator(np.diag([1.0, 2, 0])))
    one_way = LinearOperator((3, 3), lambda z: np.ones((3, 3)) @ z, dtype=float)
    with pytest.raises(InputError, match="rmatvec"):
        gspnl.from_linear_operator(one_way, "softmax").dense()


# --- networkx -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "storage", "normalization"), CASES)
def test_networkx_round_trip_keeps_the_graph(kernel, storage, normalization):
    graph = build(kernel, storage, normalization)
    G = gspnl.to_networkx(graph)
    directed = normalization == "softmax"
    assert type(G) is (nx.DiGraph if directed else nx.Graph)
    assert list(G) == list(range(N))
    back = gspnl.from_networkx(G, normalization=normalization)
    assert relative(back.dense(), graph.dense()) < 1e-12
    assert relative(back.degrees, graph.degrees) < 1e-12
    P = gspnl.to_pygsp(graph)
    assert directed or not P.is_directed()  # W equals its transpose to the last bit
    assert relative(gspnl.from_pygsp(P, normalization).dense(), graph.dense()) < 1e-12


def test_networkx_edges_have_the_weights_w():
    W = weights(affinity("rbf", X), "random_walk", self_loops=False)
    graph = gspnl.feature_graph(X, "rbf", self_loops=False)
    G = gspnl.to_networkx(graph)
    assert G.number_of_edges() == N * (N - 1) // 2
    assert relative(nx.to_numpy_array(G, nodelist=range(N)), W) < 1e-14
    G = gspnl.to_networkx(gspnl.feature_graph(X, "rbf"))
    assert nx.number_of_selfloops(G) == N
    assert relative(nx.to_numpy_array(G), affinity("rbf", X)) < 1e-14
    M = affinity("dot", X, (np.eye(4), np.diag([1.0, 2, 0, 0])))
    graph = gspnl.feature_graph(
        X, "dot", (np.eye(4), np.diag([1.0, 2, 0, 0])), normalization="softmax"
    )
    G = gspnl.to_networkx(graph)
    assert relative(nx.to_numpy_array(G), M) < 1e-14
    assert G.number_of_edges() == (M > 0).sum() < N**2


def test_networkx_export_of_a_sparse_graph():
    graph = gspnl.graph_from_weights(ring())
    G = gspnl.to_networkx(graph)
    assert sorted(dict(G.degree()).values()) == [2] * 12
    assert relative(nx.to_numpy_array(G), ring().toarray()) == 0
    back = gspnl.from_networkx(G)
    assert back.storage == "sparse"
    assert np.array_equal(back.dense(), graph.dense())
    G.edges[0, 1]["weight"] = 100.0
    P = gspnl.to_pygsp(graph)
    P.W.data[:] = 7
    assert np.array_equal(back.dense(), graph.dense())
    torched = gspnl.graph_from_weights(torch.asarray(ring().toarray()))
    assert relative(nx.to_numpy_array(gspnl.to_networkx(torched)), ring().toarray()) == 0


def test_networkx_labels_isolated_nodes_missing_weights_and_multigraphs():
    G = nx.MultiGraph()
    G.add_nodes_from(["z", "alone", (1, 2)])
    G.add_edge("z", (1, 2), weight=2.0)
    G.add_edge("z", (1, 2))  # 1
    G.add_edge("a", "z", weight=0.5)
    G.add_edge("a", "a", weight=4.0)
    order = ["z", "alone", (1, 2), "a"]
    assert list(G) == order
    W = np.array([[0, 0, 3, 0.5], [0, 0, 0, 0], [3, 0, 0, 0], [0.5, 0, 0, 4]])
    A, change = normalized(W, "random_walk")
    graph = gspnl.from_networkx(G)
    assert np.abs(graph.dense() - A).max() < 1e-15
    spectrum = graph.spectrum()
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    assert np.abs(every - eigen(A, change)[0]).max() < 1e-14
    plain = gspnl.from_networkx(G, weight=None)
    assert plain.degrees.tolist() == [3, 0, 2, 2]
    G.edges["z", "a", 0]["strength"] = 9.0
    assert gspnl.from_networkx(G, weight="strength").degrees.tolist() == [11, 0, 2, 10]
    assert gspnl.from_networkx(nx.empty_graph(3)).spectrum().multiplicities.tolist() == [3]


def test_directed_networkx_graphs_need_softmax():
    G = nx.DiGraph([(0, 1), (1, 2), (0, 2)])
    with pytest.raises(InputError, match="W = Wᵀ"):
        gspnl.from_networkx(G)
    graph = gspnl.from_networkx(G, normalization="softmax")
    # a node averages over its successors; one without any keeps its value
    assert np.array_equal(graph.apply(np.array([1.0, 10, 100])), [55, 100, 100])
    assert gspnl.from_networkx(G.to_undirected()).degrees.tolist() == [2, 2, 2]
    both = nx.DiGraph([(0, 1), (1, 0)])
    assert gspnl.from_networkx(both).degrees.tolist() == [1, 1]


def test_invalid_networkx_graphs_raise():
    with pytest.raises(InputError, match="ndarray"):
        gspnl.from_networkx(X)
    for G in (nx.Graph(), nx.empty_graph(1)):
        with pytest.raises(InputError, match="at least 2"):
            gspnl.from_networkx(G)
    G = nx.Graph()
    G.add_edge(0, 1, weight="heavy", cost=-1.0, gone=float("nan"), none=None)
    with pytest.raises(InputError, match="not numbers"):
        gspnl.from_networkx(G)
    with pytest.raises(InputError, match="nan"):
        gspnl.from_networkx(G, weight="none")
    with pytest.raises(InputError, match="no edge has an attribute 'wieght'"):
        gspnl.from_networkx(G, weight="wieght")
    with pytest.raises(DegreeError, match="negative weights"):
        gspnl.from_networkx(G, weight="cost")
    with pytest.raises(InputError, match="nan"):
        gspnl.from_networkx(G, weight="gone")
    with pytest.raises(InputError, match="unknown normalization"):
        gspnl.from_networkx(nx.path_graph(3), normalization="none")


# --- PyGSP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("storage", ["dense", "tiled", "lowrank"])
def test_pygsp_laplacians_equal_ours(storage, self_loops):
    kernel = "dot" if storage == "lowrank" else "rbf"
    points = X.copy()
    if kernel == "dot":
        points[[3, 5]] = -1.0  # isolated: relu leaves nothing
    graph = gspnl.feature_graph(
        points, kernel, normalization="symmetric", storage=storage, self_loops=self_loops
    )
    W = weights(affinity(kernel, points), "symmetric", self_loops)
    P = gspnl.to_pygsp(graph)
    assert relative(P.L.toarray(), np.eye(N) - graph.dense()) < 1e-13
    assert relative(P.L.toarray(), np.eye(N) - normalized(W, "symmetric")[0]) < 1e-13
    P.compute_fourier_basis()
    spectrum = graph.spectrum()
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    assert np.abs(P.e - every).max() < 1e-12
    walk = gspnl.feature_graph(points, kernel, storage=storage, self_loops=self_loops).spectrum()
    every = np.repeat(walk.eigenvalues, walk.multiplicities)
    assert np.abs(P.e - every).max() < 1e-12
    combinatorial = gspnl.to_pygsp(graph, lap_type="combinatorial")
    assert relative(combinatorial.L.toarray(), np.diag(W.sum(1)) - W) < 1e-13


def test_pygsp_filters_equal_ours():
    G = pygsp.graphs.Sensor(N, seed=1)
    G.compute_laplacian("normalized")
    G.compute_fourier_basis()
    graph = gspnl.from_pygsp(G, "symmetric")
    assert np.abs(graph.spectrum().eigenvalues - G.e).max() < 1e-12
    z = np.random.default_rng(0).standard_normal(N)
    theirs = pygsp.filters.Filter(G, lambda lam: np.exp(-3 * lam)).filter(z, method="exact")
    assert relative(graph.filter(z, gspnl.responses.heat(3.0)), theirs) < 1e-12
    assert relative(graph.filter(z, gspnl.responses.heat(3.0), order=25), theirs) < 1e-10


def test_pygsp_directed_sparse_and_full_graphs():
    graph = gspnl.from_pygsp(pygsp.graphs.Ring(40))
    assert graph.storage == "sparse"
    assert gspnl.from_pygsp(pygsp.graphs.FullConnected(20)).storage == "dense"
    directed = pygsp.graphs.Graph(np.array([[0.0, 1, 1], [0, 0, 1], [1, 0, 0]]))
    with pytest.raises(InputError, match="softmax"):
        gspnl.from_pygsp(directed)
    A = gspnl.from_pygsp(directed, "softmax").dense()
    assert np.array_equal(A, [[0, 0.5, 0.5], [0, 0, 1], [1, 0, 0]])


def test_invalid_pygsp_requests_raise():
    with pytest.raises(InputError, match="ndarray"):
        gspnl.from_pygsp(X)
    with pytest.raises(InputError, match="'combinatorial'"):
        gspnl.to_pygsp(gspnl.feature_graph(X, kernel="dot"), lap_type="random_walk")


# --- both -----------------------------------------------------------------------------------------


def test_exports_that_do_not_fit_raise_before_allocating():
    graph = gspnl.feature_graph(
        np.random.default_rng(0).standard_normal((300_000, 3)), kernel="dot"
    )
    for verb in (gspnl.to_networkx, gspnl.to_pygsp):
        with pytest.raises(SizeError, match=r"9e\+10 weights.*GiB"):
            verb(graph)


def test_exported_weights_that_leave_the_range_raise():
    """Scores of 900: A is finite, W overflows."""
    big = np.random.default_rng(0).standard_normal((30, 3))
    big = 30 * big / np.linalg.norm(big, axis=1, keepdims=True)
    graph = gspnl.feature_graph(big, "gaussian", storage="tiled")
    for verb in (gspnl.to_networkx, gspnl.to_pygsp):
        with pytest.raises(DegreeError, match="leave the range of float64"):
            verb(graph)


def test_exported_weights_include_the_common_factor():
    """Scores of 660: tiles store W e^{-c}, exports contain W."""
    big = np.random.default_rng(0).standard_normal((20, 3))
    big = np.sqrt(660) * big / np.linalg.norm(big, axis=1, keepdims=True)
    graph = gspnl.feature_graph(big, "gaussian", storage="tiled")
    assert float(graph.weights.log_factor) > 600
    M = affinity("gaussian", big)
    # log W is around 660 and known to 2e-16 of that
    assert relative(nx.to_numpy_array(gspnl.to_networkx(graph)), M) < 1e-11
    assert relative(gspnl.to_pygsp(graph).W.toarray(), M) < 1e-11


@pytest.mark.parametrize(
    ("package", "verbs"),
    [
        ("networkx", [gspnl.to_networkx, gspnl.from_networkx]),
        ("pygsp", [gspnl.to_pygsp, gspnl.from_pygsp]),
    ],
)
def test_a_missing_package_raises_with_the_extra_to_install(package, verbs, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for verb in verbs:
        with pytest.raises(MissingExtraError, match=rf"{package}.*gspnl\[graphs\]"):
            verb(gspnl.feature_graph(X, kernel="dot"))


@pytest.mark.parametrize("library", ["networkx", "pygsp"])
def test_a_graph_of_another_library_given_as_weights_names_its_reader(library):
    G = {"networkx": nx.path_graph, "pygsp": pygsp.graphs.Path}[library](4)
    with pytest.raises(InputError, match=rf"graph of {library}; use gspnl.from_{library}\(W\)"):
        gspnl.graph_from_weights(G)
