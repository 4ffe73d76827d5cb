"""Tiled storage: exact products without stored weights, scores of any size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.special
from support.formulas import affinity, dense_filter, normalized, relative, weights

import gspnl
from gspnl.affinity.kernels import KERNELS, Kernel
from gspnl.affinity.weights import STORAGES, TiledExponential, tiles
from gspnl.affinity.weights.tiles import Pattern
from gspnl.errors import DegreeError

RNG = np.random.default_rng(0)


def attention(scores, self_loops=True, symmetrize=True):
    """Compute (A, log d) of W = ½(e^S + e^Sᵀ) by scipy's log-sum-exp in float64."""
    S = np.array(scores, dtype=np.float64)
    T = S.T.copy()
    if not self_loops:
        np.fill_diagonal(S, -np.inf)
        np.fill_diagonal(T, -np.inf)
    logs = np.logaddexp(S, T) - np.log(2) if symmetrize else S
    d = scipy.special.logsumexp(logs, axis=1)
    return np.exp(logs - d[:, None]), d


def wild(n=1300, high=750.0, spread=20.0, dtype=np.float64, seed=1):
    """Draw features and embeddings whose scores lie around ``high``."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6))
    X[:, 0] = np.sqrt(high) + spread / np.sqrt(high) * rng.standard_normal(n) / 6
    pair = np.stack([np.eye(6), np.eye(6)])
    pair[:, 1:, 1:] += 0.3 * rng.standard_normal((2, 5, 5))
    return X.astype(dtype), tuple(w.astype(dtype) for w in pair)


@pytest.mark.parametrize("n", [2, 3, 511, 512, 513, 1300])
@pytest.mark.parametrize("kernel", ["rbf", "embedded_gaussian", "concatenation", "cosine"])
@pytest.mark.parametrize("normalization", ["random_walk", "softmax"])
def test_products_by_whole_and_partial_tiles_equal_the_dense_ones(n, kernel, normalization):
    """One tile, exactly two, and a last one of a single node; with and without self-loops."""
    rng = np.random.default_rng(n)
    X, Z = rng.standard_normal((n, 4)), rng.standard_normal((n, 3))
    embed = None
    if kernel == "embedded_gaussian":
        embed = tuple(rng.standard_normal((2, 4, 3)) / 2)
    if kernel == "concatenation":
        embed = tuple(np.abs(rng.standard_normal((2, 4))))
        X = np.abs(X)
    M = affinity(kernel, X, embed)
    for self_loops in (True, False):
        W = weights(M, normalization, self_loops)
        graph = gspnl.feature_graph(
            X, kernel, embed, normalization, storage="tiled", self_loops=self_loops
        )
        A = normalized(W, normalization)[0]
        first = graph.apply(Z)  # degrees and product in one sweep, where the storage is lazy
        assert relative(first, A @ Z) < 1e-12
        assert relative(graph.degrees, W.sum(1)) < 1e-12
        assert relative(graph.apply(Z), A @ Z) < 1e-12
        assert np.abs(graph.log_degrees - np.log(W.sum(1))).max() < 1e-12


# Degrees span many decades; λ and the norm of T⁻¹ keep their digits.
@pytest.mark.filterwarnings("ignore:degrees of this graph span")
@pytest.mark.parametrize("storage", ["tiled", "dense"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 5e-4)])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic", "softmax"])
def test_scores_around_750_do_not_overflow(storage, dtype, tolerance, normalization):
    """The exponential overflows at 709 in float64 and 88 in float32; scores round to 750 eps."""
    X, pair = wild(n=700, dtype=dtype)
    S = (X.astype(np.float64) @ pair[0]) @ (X.astype(np.float64) @ pair[1]).T
    assert S.max() > 740
    assert S.min() > 680
    graph = gspnl.feature_graph(
        X, "embedded_gaussian", pair, normalization=normalization, storage=storage
    )
    A, d = attention(S, symmetrize=normalization != "softmax")
    Z = RNG.standard_normal((700, 3)).astype(dtype)
    W = A * np.exp(d - d.mean())[:, None]
    if normalization == "symmetric":
        A = normalized(W, normalization)[0]
    if normalization == "bistochastic":
        for _ in range(2000):  # rows, then columns: the bistochastic matrix D₁ W D₂
            A = A / A.sum(0)
            A = A / A.sum(1, keepdims=True)
    assert relative(graph.apply(Z), A @ Z) < tolerance
    assert relative(graph.dense(), A) < tolerance
    assert np.abs(np.asarray(graph.log_degrees) - d).max() < max(1e-9, 1e-6 * 750)
    with pytest.raises(DegreeError, match="take log_degrees"):
        _ = graph.degrees
    if normalization == "softmax":
        return
    lam = graph.spectrum().eigenvalues
    truth = np.sort(1 - np.linalg.eigvals(A).real)
    assert np.abs(lam - truth).max() < tolerance
    g = gspnl.responses.heat(2.0)
    plan = graph.chebyshev(g, order=12)
    gap = graph.norm(plan(Z) - graph.filter(Z, g)) / graph.norm(Z)
    assert gap <= plan.error_bound * 1.01


def test_a_degree_beyond_the_range_raises_and_its_logarithm_does_not():
    X = np.array([[30.0], [29.0], [28.0]])  # exp(900) on the diagonal
    graph = gspnl.feature_graph(X, "gaussian", storage="tiled")
    d = scipy.special.logsumexp(X @ X.T, axis=1)
    assert np.allclose(graph.log_degrees, d, rtol=1e-14)
    with pytest.raises(DegreeError, match=r"exp\(870\) leave the range of float64"):
        _ = graph.degrees


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("case", ["gaussian", "embedded", "softmax"])
def test_nodes_of_very_small_degree_are_accurate(case, self_loops):
    """Log-degrees span thousands: averages are accurate, a change of basis raises."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((600, 3))
    X[:, 0] += np.linspace(0, 45, 600)
    pair = None
    if case != "gaussian":
        pair = tuple(np.eye(3) + 0.2 * rng.standard_normal((2, 3, 3)))
    kernel = "gaussian" if case == "gaussian" else "embedded_gaussian"
    normalization = "softmax" if case == "softmax" else "random_walk"
    options = {"normalization": normalization, "self_loops": self_loops}
    graph = gspnl.feature_graph(X, kernel, pair, storage="tiled", **options)
    S = X @ X.T if pair is None else (X @ pair[0]) @ (X @ pair[1]).T
    A, d = attention(S, self_loops, case != "softmax")
    assert d.max() - d.min() > 1500
    Z = rng.standard_normal((600, 2))
    assert relative(graph.apply(Z), A @ Z) < 1e-10
    with pytest.raises(DegreeError, match=r"span a factor of exp\(\d+\).*apply\(\) of a tiled"):
        graph.filter(Z, gspnl.responses.heat(1.0), order=3)
    with pytest.raises(DegreeError, match="span a factor"):
        gspnl.feature_graph(X, kernel, pair, storage="dense", **options)
    assert np.allclose(graph.log_degrees, d, rtol=1e-12)
    assert relative(graph.apply(Z), A @ Z) < 1e-10  # after the errors


def test_rows_that_underflow_in_a_tile_take_two_sweeps(monkeypatch):
    """One exponential a pair underflows in rows 200 below the largest score of float64."""
    from gspnl.affinity.weights import logsums

    rng = np.random.default_rng(6)
    X = rng.standard_normal((600, 3)).astype(np.float32)
    X[300:] *= 0.01
    X[:300] *= 12.0
    S = X.astype(np.float64) @ X.T.astype(np.float64)
    A, _ = attention(S)
    careful = []
    two = logsums._two_sweeps
    monkeypatch.setattr(logsums, "_two_sweeps", lambda *a: careful.append(1) or two(*a))
    Z = rng.standard_normal((600, 2)).astype(np.float32)
    graph = gspnl.feature_graph(X, "gaussian", storage="tiled")
    assert relative(graph.apply(Z), A @ Z) < 1e-4
    assert careful == [1]


def test_an_outlier_without_self_loops_is_not_silently_isolated():
    X = np.vstack([RNG.standard_normal((40, 2)), [[200.0, 0.0]]])
    Z = RNG.standard_normal((41, 2))
    A, _ = attention(-((X[:, None] - X[None]) ** 2).sum(-1) / 2, self_loops=False)
    graph = gspnl.feature_graph(X, "rbf", storage="tiled", self_loops=False)
    assert relative(graph.apply(Z), A @ Z) < 1e-9
    with pytest.raises(DegreeError, match="span a factor"):
        graph.spectrum()
    near = np.vstack([X[:-1], [[20.0, 0.0]]])  # exp(-150) away: within float64's range
    graph = gspnl.feature_graph(near, "rbf", storage="tiled", self_loops=False)
    A, d = attention(-((near[:, None] - near[None]) ** 2).sum(-1) / 2, self_loops=False)
    assert relative(graph.dense(), A) < 1e-9
    assert np.allclose(graph.log_degrees, d, rtol=1e-10)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_memory_is_linear(kernel, monkeypatch):
    """Twice the nodes take twice the memory, far below the N² floats of W."""
    from gspnl._base import rows

    monkeypatch.setattr(rows, "cores", lambda: 2)  # every core has its own tiles
    n, options = 3000, {}
    if KERNELS[kernel].embedding == "vectors":
        options["embed"] = tuple(np.abs(RNG.standard_normal((2, 4))))
    X = np.abs(RNG.standard_normal((n, 4)))
    Z = np.ones((n, 2))
    tracemalloc.start()
    graph = gspnl.feature_graph(X, kernel, storage="tiled", **options)
    graph.apply(Z)
    graph.filter(Z, gspnl.responses.heat(1.0), order=3, deflate=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * n * 8 / 2


def test_results_do_not_depend_on_tiles_and_cores(monkeypatch):
    """Compare sizes of tiles and numbers of cores, to rounding."""
    from gspnl._base import rows

    X, pair = wild(n=300)
    Z = RNG.standard_normal((300, 2))
    make = [("embedded_gaussian", pair), ("rbf", None), ("concatenation", (pair[0][0], pair[1][1]))]
    whole = [gspnl.feature_graph(X, k, e, storage="tiled").apply(Z) for k, e in make]
    for tile, cores in ((7, 1), (64, 3), (299, 2), (300, 16)):
        monkeypatch.setattr(tiles, "TILE", tile)
        monkeypatch.setattr("gspnl.affinity.weights.logsums.TILE", tile)
        monkeypatch.setattr(rows, "cores", lambda cores=cores: cores)
        for value, (k, e) in zip(whole, make, strict=True):
            assert relative(gspnl.feature_graph(X, k, e, storage="tiled").apply(Z), value) < 1e-10


def test_a_product_costs_one_pass_over_the_tiles(monkeypatch):
    """A Chebyshev filter of order K makes K products, of half the tiles where M is symmetric."""
    passes = []
    cut = Pattern.tiles
    monkeypatch.setattr(
        Pattern, "tiles", lambda self, n, w, ws: passes.append((self, w)) or cut(self, n, w, ws)
    )
    X, pair = RNG.standard_normal((900, 4)), tuple(RNG.standard_normal((2, 4, 3)) / 3)
    Z = RNG.standard_normal((900, 2))
    g = gspnl.responses.heat(1.0)
    for kernel, embed, pattern in [
        ("embedded_gaussian", pair, Pattern.BOTH),
        ("rbf", None, Pattern.HALF),
    ]:
        graph = gspnl.feature_graph(X, kernel, embed, storage="tiled")
        assert not passes  # building a graph computes no tile
        graph.apply(Z)
        assert [w for _, w in passes].count(0) == 1
        graph.filter(Z, g, order=3)
        passes.clear()
        plan = graph.chebyshev(g, order=10)
        plan(Z)
        assert [w for _, w in passes].count(0) == 10
        assert {p for p, _ in passes} == {pattern}
        passes.clear()


def test_a_batch_equals_its_single_graphs():
    X, Z = RNG.standard_normal((2, 3, 30, 4)), RNG.standard_normal((2, 3, 30, 2))
    for kernel in ("gaussian", "cosine"):
        graph = gspnl.feature_graph(X, kernel, storage="tiled")
        value = graph.apply(Z)
        assert graph.shape == (2, 3, 30, 30)
        for key in np.ndindex(2, 3):
            A = normalized(affinity(kernel, X[key]), "random_walk")[0]
            assert relative(value[key], A @ Z[key]) < 1e-12
            assert relative(graph[key].apply(Z[key]), A @ Z[key]) < 1e-12
            assert relative(graph.degrees[key], affinity(kernel, X[key]).sum(1)) < 1e-12
        many = graph[0, 1].apply(Z[:, 0])  # signals with batch dimensions
        assert relative(many[1], graph[0, 1].apply(Z[1, 0])) < 1e-14


@pytest.mark.parametrize("storage", ["tiled", "dense"])
def test_scores_without_digits_raise(storage):
    """Differences of 1 between scores of 1e18 vanish in the rounding of inner products."""
    X = 1e9 * RNG.standard_normal((20, 2))
    with pytest.raises(DegreeError, match=r"rounding, up to .*e\+0[23], leaves them no digits"):
        gspnl.feature_graph(X, "gaussian", storage=storage)
    assert relative(gspnl.feature_graph(X, "rbf", storage=storage).dense(), np.eye(20)) == 0
    near = 1e6 + RNG.standard_normal((20, 2))  # the mean is subtracted first
    A, _ = attention(-((near[:, None] - near[None]) ** 2).sum(-1) / 2)
    Z = RNG.standard_normal((20, 2))
    assert relative(gspnl.feature_graph(near, "rbf", storage=storage).apply(Z), A @ Z) < 1e-8


def test_scores_that_overflow_raise_when_the_graph_is_built():
    with pytest.raises(DegreeError, match="scores of this kernel overflow float64"):
        gspnl.feature_graph(1e200 * np.ones((4, 2)), "gaussian", storage="tiled")


def test_custom_kernels_are_tiled_and_custom_exponentials_use_logarithms():
    from dataclasses import dataclass

    from gspnl.affinity.kernels import Exponential

    @dataclass(frozen=True)
    class Laplace(Kernel):
        def affinity(self, phi, psi):
            return np.exp(-np.abs(phi[..., :, None, :] - psi[..., None, :, :]).sum(-1))

    @dataclass(frozen=True)
    class Sharp(Exponential):
        def scores(self, phi, psi):
            return 100 * phi, psi

    X, Z = RNG.standard_normal((200, 2)), RNG.standard_normal((200, 2))
    W = np.exp(-np.abs(X[:, None] - X[None]).sum(-1))
    graph = gspnl.feature_graph(X, Laplace(), storage="tiled")
    assert relative(graph.apply(Z), normalized(W, "random_walk")[0] @ Z) < 1e-13
    graph = gspnl.feature_graph(X, Sharp(), storage="tiled")
    assert isinstance(graph.weights, TiledExponential)
    assert relative(graph.apply(Z), attention(100 * X @ X.T)[0] @ Z) < 1e-10


def test_storage_reason_explains_the_automatic_choice():
    def pick(n, kernel="rbf", **options):
        return gspnl.feature_graph(np.ones((n, 2)) + RNG.random((n, 2)), kernel, **options)

    assert pick(500).storage == "dense"
    assert pick(500).storage_reason.startswith("dense: 1.9 MiB")
    large = pick(20_000)
    assert large.storage == "tiled"
    assert "dense: 3.0 GiB" in large.storage_reason
    assert pick(300, "concatenation", embed=(np.ones(2), np.ones(2))).storage == "sorted"
    assert pick(500, "dot").storage == "lowrank"
    assert pick(500, storage="tiled").storage_reason == "asked for"
    for name in ("dense", "tiled"):
        assert STORAGES[name].supports(KERNELS["rbf"]())


@pytest.mark.parametrize("storage", ["tiled", "dense"])
@pytest.mark.parametrize(
    ("kernel", "options", "scale", "shift"),
    [
        ("rbf", {"sigma": 1.0}, 300.0, 1e3),  # pixels of a large picture: |x|²/σ² around 1e5
        ("rbf", {"sigma": 10.0}, 2000.0, 0.0),
        ("gaussian", {}, 6.0, 0.0),  # scores around 100
    ],
)
def test_float32_is_accurate_where_scores_cancel(storage, kernel, options, scale, shift):
    rng = np.random.default_rng(8)
    X = np.round(scale * rng.random((700, 3)) + shift, 1).astype(np.float32)
    X[350:] = X[:350] + np.float32(options.get("sigma", 0.1)) * rng.random((350, 3)).astype("f4")
    Z = rng.standard_normal((700, 2)).astype(np.float32)
    wide = X.astype(np.float64)
    if kernel == "rbf":
        S = -((wide[:, None] - wide[None]) ** 2).sum(-1) / (2 * options["sigma"] ** 2)
    else:
        S = wide @ wide.T
    graph = gspnl.feature_graph(X, kernel, storage=storage, **options)
    # Rounding of the float32 features, 6e-8 of |x|, times the slope of s.
    assert relative(graph.apply(Z), attention(S)[0] @ Z) < 2e-4
    assert graph.apply(Z).dtype == np.float32
    if storage == "tiled" and kernel == "rbf":
        assert np.abs(np.diag(graph.dense()) * graph.degrees - 1).max() < 1e-6


@pytest.mark.parametrize("kernel", ["rbf", "cosine"])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
def test_exact_filters_of_many_nodes_need_no_eigenvectors(kernel, normalization):
    """Beyond 1,024 nodes smooth responses are applied as series, discontinuous ones are not."""
    X = np.random.default_rng(0).standard_normal((1100, 3))
    X[1050:] = X[:50]  # repeated eigenvalues
    Z = np.random.default_rng(1).standard_normal((1100, 2))
    graph = gspnl.feature_graph(X, kernel, normalization=normalization, storage="tiled")
    A, change = normalized(weights(affinity(kernel, X), normalization), normalization)
    laplacian = np.eye(1100) - A
    # The error of eigenvectors is up to 3e-12 here, depending on the BLAS and its threads.
    for g, expected in (
        (gspnl.responses.heat(4.0), scipy.linalg.expm(-4.0 * laplacian) @ Z),
        (gspnl.responses.tikhonov(20.0), np.linalg.solve(np.eye(1100) + 20.0 * laplacian, Z)),
    ):
        assert relative(graph.filter(Z, g), expected) < 2e-13
    assert "spectrum" not in graph.caches.item().__dict__
    jump = gspnl.responses.low_pass(0.4)
    assert relative(graph.filter(Z, jump), dense_filter(A, change, jump, Z)) < 1e-10


def test_an_isolated_node_among_many_keeps_its_signal():
    X = np.abs(np.random.default_rng(0).standard_normal((1100, 2)))
    X[7] = -50.0
    pair = (np.ones(2), np.ones(2))
    graph = gspnl.feature_graph(X, "concatenation", pair, storage="sorted")
    Z = np.random.default_rng(1).standard_normal((1100, 2))
    g = gspnl.responses.tikhonov(3.0)
    A, change = normalized(
        weights(affinity("concatenation", X, pair), "random_walk"), "random_walk"
    )
    value = graph.filter(Z, lambda lam: 2 * g(lam))
    assert relative(value, dense_filter(A, change, lambda lam: 2 * g(lam), Z)) < 1e-11
    assert np.allclose(value[7], 2 * Z[7], rtol=1e-14)


def test_rows_of_the_least_degree_do_not_underflow():
    """Degrees span exp(130) in float32: both scales must be multiplied first."""
    X = np.array([[11.6, 0.0], [0.1, 0.5], [-0.1, 0.3]], dtype=np.float32)
    S = X.astype(np.float64) @ X.T.astype(np.float64)
    for storage, normalization in [
        ("tiled", "random_walk"), ("dense", "random_walk"), ("dense", "softmax")
    ]:  # fmt: skip
        graph = gspnl.feature_graph(X, "gaussian", None, normalization, storage)
        A, d = attention(S)
        assert d.max() - d.min() > 100
        assert relative(graph.dense(), A) < 1e-4
        assert np.abs(graph.log_degrees - d).max() < 1e-4


@pytest.mark.parametrize("storage", ["tiled", "dense"])
def test_self_loops_that_are_left_out_may_overflow(storage, recwarn):
    """Entries are exp(1600) on the diagonal, exp(±40) elsewhere."""
    X = np.array([[40.0, 0.0], [1.0, 1.0], [0.5, -1.0]])
    Z = RNG.standard_normal((3, 2))
    A, d = attention(X @ X.T, self_loops=False)
    graph = gspnl.feature_graph(X, "gaussian", storage=storage, self_loops=False)
    assert relative(graph.dense(), A) < 1e-12
    assert relative(graph.laplacian(Z), Z - A @ Z) < 1e-12
    assert np.abs(graph.log_degrees - d).max() < 1e-12
    assert not recwarn.list
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True)
    graph = gspnl.feature_graph(x, "gaussian", storage=storage, self_loops=False)
    (graph.rows([0, 1]) ** 2).sum().backward()
    assert bool(torch.isfinite(x.grad).all())


def test_signals_without_columns_or_without_graphs():
    X = RNG.standard_normal((6, 2))
    for kernel in ("gaussian", "rbf", "cosine"):
        for shape in ((6, 0), (2, 6, 0), (0, 6, 2)):
            graph = gspnl.feature_graph(X, kernel, storage="tiled")
            assert graph.apply(np.zeros(shape)).shape == shape
            assert graph.laplacian(np.zeros(shape)).shape == shape


@pytest.mark.parametrize("kernel", ["gaussian", "embedded_gaussian", "rbf", "dot", "cosine"])
def test_features_changed_afterwards_do_not_change_the_graph(kernel):
    X, Z = np.abs(RNG.standard_normal((30, 3))), RNG.standard_normal((30, 2))
    options = {"feature_map": "identity"} if kernel == "dot" else {}
    expected = gspnl.feature_graph(X.copy(), kernel, storage="tiled", **options).apply(Z)
    graph = gspnl.feature_graph(X, kernel, storage="tiled", **options)
    X[:] = 1.0
    assert np.array_equal(graph.apply(Z), expected)


@pytest.mark.parametrize("storage", ["tiled", "dense"])
@pytest.mark.parametrize("self_loops", [True, False])
def test_gradients_hold_where_the_square_of_a_degree_leaves_the_range(storage, self_loops):
    """Compare with the softmax of the scores, for degrees up to exp(500)."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    X, Z, C = (torch.tensor(rng.standard_normal((9, c))) for c in (3, 2, 2))
    X *= 22.0 / float(torch.linalg.norm(X, axis=1).max())
    x = X.clone().requires_grad_()
    S = x @ x.T
    if not self_loops:
        S = S.masked_fill(torch.eye(9, dtype=torch.bool), -torch.inf)
    (truth,) = torch.autograd.grad((torch.softmax(S, -1) @ Z * C).sum(), x)
    x = X.clone().requires_grad_()
    graph = gspnl.feature_graph(x, "gaussian", storage=storage, self_loops=self_loops)
    _ = graph.log_degrees  # from now on A Z is l∘(W Z)
    (found,) = torch.autograd.grad((graph.apply(Z) * C).sum(), x)
    assert float((found - truth).abs().max()) < 1e-9 * float(truth.abs().max())


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("n", [40, 1300])
def test_row_and_column_maxima_may_lie_more_than_the_range_apart(library, dtype, swapped, n):
    """S_i0 = 2000 for most i, and S_0j = 0: the logarithms of W = ½(e^S + e^Sᵀ) need both."""
    rng = np.random.default_rng(12)
    q, k = np.ones(n), rng.standard_normal(n)
    q[:2], k[:2] = 0.0, (2000.0, 0.0)
    X = np.stack([k, q] if swapped else [q, k], axis=1).astype(dtype)
    wide = X.astype("f8")
    A, logs = attention(wide[:, :1] * wide[:, 1])
    Z = rng.standard_normal((n, 2)).astype(dtype)
    pair = tuple(np.eye(2, dtype=dtype)[:, i, None] for i in range(2))
    given = [X, *pair, Z]
    if library == "torch":
        torch = pytest.importorskip("torch")
        given = [torch.tensor(part) for part in given]
    graph = gspnl.feature_graph(given[0], "embedded_gaussian", tuple(given[1:3]), storage="tiled")
    near = 2e-5 if dtype == "f4" else 1e-11
    assert np.abs(np.asarray(graph.apply(given[3])) - A @ Z).max() < near
    assert np.allclose(np.asarray(graph.log_degrees), logs, rtol=1e-6 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("pattern", ["one tile", "many tiles"])
@pytest.mark.parametrize("normalization", ["random_walk", "softmax"])
def test_blocks_whose_largest_score_grows_from_tile_to_tile(pattern, normalization):
    """Sums so far are rescaled whenever a later tile has a larger score."""
    n = 300 if pattern == "one tile" else 1800
    rng = np.random.default_rng(13)
    X = np.linspace(0.0, 6.0, n)[:, None] + 0.1 * rng.standard_normal((n, 1))
    Z = rng.standard_normal((n, 2))
    A, logs = attention(X @ X.T, symmetrize=normalization != "softmax")
    for order in (slice(None), slice(None, None, -1), rng.permutation(n)):
        graph = gspnl.feature_graph(
            X[order], "gaussian", normalization=normalization, storage="tiled"
        )
        assert relative(graph.apply(Z[order]), (A @ Z)[order]) < 1e-11
        assert np.allclose(graph.log_degrees, logs[order], rtol=1e-12)
