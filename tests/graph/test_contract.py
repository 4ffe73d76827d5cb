"""Every kernel × normalisation × storage against plain dense formulas, through the registries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from support.descriptions import check, described
from support.formulas import (
    FORMULAS,
    affinity,
    dense_filter,
    eigen,
    normalized,
    operator,
    relative,
    size_of,
    weights,
)

import gspnl
from gspnl.affinity.kernels import FEATURE_MAPS, KERNELS, Exponential, Kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import STORAGES

N, C, R = 200, 5, 4
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


def features(kernel, dtype=np.float64, zeros=False, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, C)) * (0.6 if kernel in ("gaussian", "embedded_gaussian") else 1)
    if zeros:  # nodes whose degree is 0: φ = ψ = 0 after the relu, or a + b below 0 for all
        X[[3, 77, 150]] = 0.0 if kernel == "dot" else -40.0
    return X.astype(dtype)


def embeddings(kernel, dtype=np.float64, zeros=False, seed=1):
    rng = np.random.default_rng(seed)
    if kernel == "concatenation":
        pair = np.abs(rng.standard_normal((2, C))) if zeros else rng.standard_normal((2, C))
    else:
        pair = rng.standard_normal((2, C, R)) / 2
    return tuple(w.astype(dtype) for w in pair)


def variants(names):
    """Return (kernel, options, embedded) of registered kernels."""
    for name in names:
        kind = KERNELS[name].embedding
        if name == "dot":
            for feature_map in FEATURE_MAPS:
                if feature_map != "identity":  # raw products: see test_bad_input
                    yield name, {"feature_map": feature_map}, True
            yield name, {}, False
        elif name == "rbf":
            yield name, {"sigma": 1.7}, False
            yield name, {"sigma": "median"}, False
            yield name, {"sigma": "local"}, False
            yield name, {"sigma": "adaptive"}, False
        elif name == "embedded_gaussian":
            yield name, {"temperature": 1.3}, True
            yield name, {}, False
        elif name == "anchors":
            yield name, {"anchors": 12, "seed": 3}, False
            yield name, {"anchors": 5, "sigma": 0.8}, False
            yield name, {"anchors": 20, "sigma": "adaptive"}, False
        else:
            yield name, {}, kind != "none"


def contract(names):
    """Return every case of these kernels: each storage that supports them, each normalisation."""
    for kernel, options, embedded in variants(names):
        for storage in STORAGES:
            if STORAGES[storage].supports(KERNELS[kernel](**options)):
                for normalization in NORMALIZATIONS:
                    yield kernel, options, embedded, storage, normalization


CASES = [
    pytest.param(k, o, e, s, n, id=f"{k}-{'-'.join(map(str, o.values()))}-{e}-{s}-{n}")
    for k, o, e, s, n in contract(KERNELS)
]


def build(kernel, options, embedded, storage, normalization, dtype=np.float64, **more):
    """Return (graph, W, A, T) of a case, by the plain formula."""
    zeros = more.pop("zeros", False)
    X = features(kernel, dtype, zeros)
    embed = embeddings(kernel, dtype, zeros) if embedded else None
    if embedded and normalization == "chung" and kernel in ("dot", "concatenation"):
        # All weights are positive, but for those of isolated nodes: other zeros make nodes
        # transient, see test_chung.
        X = np.where(X > -40, np.abs(X), X)
        embed = tuple(np.abs(w) for w in embed)
    graph = gspnl.feature_graph(
        X, kernel, embed, normalization=normalization, storage=storage, **options, **more
    )
    oracle = dict(options)
    if kernel == "anchors":
        sigma = options.get("sigma")
        fitted = float(graph.kernel._sigmas[0, 0])
        rule = sigma if isinstance(sigma, str) else fitted
        oracle = {"points": graph.kernel._points, "sigma": rule}
    wide = None if embed is None else tuple(w.astype(np.float64) for w in embed)
    W = weights(affinity(kernel, X, wide, **oracle), normalization, more.get("self_loops", True))
    return graph, W, *normalized(W, normalization)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("kernel", "options", "embedded", "storage", "normalization"), CASES)
def test_graphs_equal_their_dense_formula(kernel, options, embedded, storage, normalization, dtype):
    graph, W, A, change = build(kernel, options, embedded, storage, normalization, dtype)
    tolerance = TOLERANCE[dtype]
    Z = np.random.default_rng(2).standard_normal((N, 3)).astype(dtype)
    P = operator(W, normalization)
    for value, truth in [
        (graph.degrees, W.sum(1)),
        (graph.apply(Z), P @ Z),
        (graph @ Z, P @ Z),
        (graph.laplacian(Z), Z - A @ Z),
        (graph.dense(), P),
        (graph.rows([7, -1]), P[[7, -1]]),
        (graph.rows(5), P[5]),
    ]:
        assert np.asarray(value).dtype == dtype
        assert relative(value, truth) < tolerance
    if normalization == "softmax":
        return
    lam, _, _ = eigen(A, change)
    spectrum = graph.spectrum()
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    size = size_of(lam)
    assert np.abs(every - lam).max() < tolerance * size
    assert relative(spectrum.igft(spectrum.gft(Z)), Z) < tolerance
    coefficients = spectrum.gft(Z)
    for k in (1, 2):  # Parseval, and the moments Zᵀ T⁻² Lᵏ Z that only the right basis gives
        weighted = (every**k)[:, None] * coefficients
        truth = (Z / change[:, None]).T @ (np.linalg.matrix_power(np.eye(N) - A, k) @ Z
                                           / change[:, None])  # fmt: skip
        assert (
            np.abs(coefficients.T @ weighted - truth).max() < tolerance * np.abs(truth).max() * 10
        )
    top = spectrum.modes(4)
    assert np.abs(top - A @ top - every[:4] * top).max() < tolerance * size
    assert relative((top / change[:, None]).T @ (top / change[:, None]), np.eye(4)) < tolerance


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("kernel", "options", "embedded", "storage", "normalization"), CASES)
def test_filters_equal_their_dense_formula(
    kernel, options, embedded, storage, normalization, dtype
):
    graph, W, A, change = build(kernel, options, embedded, storage, normalization, dtype)
    tolerance = TOLERANCE[dtype]
    Z = np.random.default_rng(2).standard_normal((N, 3)).astype(dtype)
    L = np.eye(N) - A
    snl = gspnl.responses.snl(0.3, 0.7)
    assert relative(graph.filter(Z, snl, order=1), 0.3 * Z + 0.7 * A @ Z) < tolerance
    if normalization == "softmax":
        return
    lam, U, inverse = eigen(A, change)
    size = size_of(lam)
    heat = graph.filter(Z, gspnl.responses.heat(3.0 / size))
    assert heat.dtype == dtype
    assert relative(heat, scipy.linalg.expm(-3 / size * L) @ Z) < tolerance
    smooth = graph.filter(Z, gspnl.responses.tikhonov(50.0 / size))
    assert relative(smooth, np.linalg.solve(np.eye(N) + 50 / size * L, Z)) < tolerance
    isolated = int((W.sum(1) == 0).sum())
    for deflate in (False, True, 2):
        response = gspnl.responses.tikhonov(5.0 / size)
        plan = graph.chebyshev(response, order=4, deflate=deflate)
        # The polynomial's values, but the response itself on deflated modes and isolated nodes.
        gains = plan.series(lam)
        first = isolated + int(deflate) if deflate else 0
        gains[:first] = response(lam[:first])
        value = graph.filter(Z, response, order=4, deflate=deflate)
        assert relative(value, U @ (gains[:, None] * (inverse @ Z))) < tolerance
        found = plan.deflated - lam[first - int(deflate) : first]
        assert np.abs(found).max(initial=0) < tolerance * size


@pytest.mark.parametrize(("kernel", "options", "embedded", "storage", "normalization"), CASES)
def test_descriptions_equal_their_dense_formula(kernel, options, embedded, storage, normalization):
    graph, W, A, change = build(kernel, options, embedded, storage, normalization)
    check(graph.describe(), described(W, normalization, A, change), 1e-8)


@pytest.mark.parametrize("normalization", [n for n in NORMALIZATIONS if n != "softmax"])
@pytest.mark.parametrize(
    ("kernel", "storage", "embedded"),
    [
        ("dot", "dense", True),
        ("dot", "lowrank", True),
        ("dot", "lowrank", False),
        ("concatenation", "dense", True),
    ],
)
def test_nodes_of_degree_zero_are_components_of_their_own(kernel, storage, embedded, normalization):
    graph, W, A, change = build(kernel, {}, embedded, storage, normalization, zeros=True)
    assert (W.sum(1) == 0).sum() >= 3
    assert (graph.degrees[[3, 77, 150]] == 0).all()
    Z = np.random.default_rng(2).standard_normal((N, 3))
    P = operator(W, normalization)
    assert relative(graph.apply(Z), P @ Z) < 1e-10
    assert relative(graph.dense(), P) < 1e-10
    spectrum = graph.spectrum()
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    lam, _, _ = eigen(A, change)
    size = size_of(lam)
    assert np.abs(every - lam).max() < 1e-10 * size
    assert relative(spectrum.igft(spectrum.gft(Z)), Z) < 1e-10
    modes = spectrum.modes(6)
    assert np.abs(modes - A @ modes - every[:6] * modes).max() < 1e-10 * size
    truth = scipy.linalg.expm(-2 / size * (np.eye(N) - A)) @ Z
    heat = gspnl.responses.heat(2.0 / size)
    assert relative(graph.filter(Z, heat), truth) < 1e-10
    assert relative(graph.filter(Z, heat, order=30), truth) < 1e-10
    plan = graph.chebyshev(heat, order=3, deflate=False)
    value = graph.filter(Z, heat, order=3, deflate=False)
    assert relative(value, dense_filter(A, change, plan.series, Z)) < 1e-10


@pytest.mark.parametrize("normalization", list(NORMALIZATIONS))
@pytest.mark.parametrize(
    ("kernel", "storage"),
    [("rbf", "dense"), ("dot", "dense"), ("dot", "lowrank"), ("cosine", "lowrank")],
)
def test_graphs_without_self_loops_equal_their_dense_formula(kernel, storage, normalization):
    graph, W, A, change = build(kernel, {}, False, storage, normalization, self_loops=False)
    Z = np.random.default_rng(2).standard_normal((N, 3))
    assert np.abs(np.diag(W)).max() == 0
    assert relative(graph.degrees, W.sum(1)) < 1e-10
    P = operator(W, normalization)
    assert relative(graph.apply(Z), P @ Z) < 1e-10
    assert relative(graph.rows([0, 9]), P[[0, 9]]) < 1e-10
    if normalization != "softmax":
        size = size_of(eigen(A, change)[0])
        g = gspnl.responses.heat(1.0 / size)
        truth = scipy.linalg.expm(-(np.eye(N) - A) / size) @ Z
        assert relative(graph.filter(Z, g, order=30), truth) < 1e-10


@pytest.mark.parametrize("normalization", list(NORMALIZATIONS))
@pytest.mark.parametrize("kernel", list(KERNELS))
def test_a_batch_equals_its_graphs(kernel, normalization):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((2, 3, 50, C)) * 0.7
    if kernel == "dot":
        X[0, 1, [4, 9]] = -1  # isolated nodes in one item only
    embed = embeddings(kernel) if kernel == "concatenation" else None
    if embed and normalization == "chung":
        X, embed = np.abs(X), tuple(np.abs(w) for w in embed)
    Z = rng.standard_normal((2, 3, 50, 2))
    graph = gspnl.feature_graph(X, kernel, embed, normalization=normalization)
    heat = gspnl.responses.heat(1.5)
    assert graph.shape == (2, 3, 50, 50)
    for i, j in np.ndindex(2, 3):
        one = gspnl.feature_graph(X[i, j], kernel, embed, normalization=normalization,
                                  storage=graph.storage)  # fmt: skip
        assert relative(graph.degrees[i, j], one.degrees) < 1e-12
        assert relative(graph.apply(Z)[i, j], one.apply(Z[i, j])) < 1e-12
        assert relative(graph.dense()[i, j], one.dense()) < 1e-12
        assert (
            relative(graph.filter(Z, heat, order=1)[i, j], one.filter(Z[i, j], heat, order=1))
            < 1e-12
        )
        if normalization != "softmax":
            assert relative(graph.filter(Z, heat)[i, j], one.filter(Z[i, j], heat)) < 1e-12
            assert (
                relative(graph.filter(Z, heat, order=3)[i, j], one.filter(Z[i, j], heat, order=3))
                < 1e-10
            )
            ours, its = graph[i, j].spectrum(), one.spectrum()
            assert relative(ours.eigenvalues, its.eigenvalues) < 1e-12
            assert relative(ours.igft(ours.gft(Z[i, j])), Z[i, j]) < 1e-12


def test_a_single_signal_keeps_its_shape():
    graph = gspnl.feature_graph(features("dot"), kernel="dot")
    z = np.random.default_rng(0).standard_normal(N)
    assert graph.apply(z).shape == (N,)
    assert np.array_equal(graph.apply(z), graph.apply(z[:, None])[:, 0])
    stack = np.random.default_rng(0).standard_normal((2, 3, N, 4))
    assert graph.filter(stack, gspnl.responses.heat(1.0)).shape == stack.shape


@pytest.mark.parametrize("kernel", ["rbf", "anchors"])
def test_features_far_from_the_origin_lose_no_digits(kernel):
    """Distances do not depend on the mean of the features; |x|² + |y|² − 2⟨x, y⟩ cancels them."""
    X = np.random.default_rng(0).standard_normal((N, C)) + 1e7
    graph = gspnl.feature_graph(X, kernel, **({"anchors": 6} if kernel == "anchors" else {}))
    options = {}
    if kernel == "anchors":
        options = {"points": graph.kernel._points, "sigma": float(graph.kernel._sigmas[0, 0])}
    M = affinity(kernel, X, **options)
    assert relative(graph.degrees, M.sum(1)) < 1e-7  # the features themselves are known to 1e-9


def test_each_graph_of_a_signed_batch_has_its_own_band():
    """Raw dot products with positive degrees: λ leaves [0, 2], and the bands must cover it."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((3, 60, 4)) + np.array([1.2, 1.3, 1.4])[:, None, None]
    graph = gspnl.feature_graph(X, feature_map=None)
    Z = rng.standard_normal((3, 60, 2))
    g = gspnl.responses.heat(1.0)
    value = graph.filter(Z, g, order=12)
    plain = graph.filter(Z, g, order=20, deflate=False)
    for i in range(3):
        W = X[i] @ X[i].T
        assert W.min() < 0 < W.sum(1).min()
        A, _ = normalized(W, "random_walk")
        truth = scipy.linalg.expm(-(np.eye(60) - A)) @ Z[i]
        assert relative(value[i], truth) < 1e-10
        assert relative(plain[i], truth) < 1e-10


# --- a kernel that a user adds --------------------------------------------------------------------


@dataclass(frozen=True)
class Laplacian(Kernel):
    """exp(−‖x_i − x_j‖₁ / scale), with its own method ``affinity``."""

    scale: float = 2.0

    def affinity(self, phi, psi):
        return np.exp(-abs(phi[..., :, None, :] - psi[..., None, :, :]).sum(-1) / self.scale)


@dataclass(frozen=True)
class Quadratic(Kernel):
    """⟨x_i, x_j⟩², by an embedding only."""

    def embed(self, X, weights):
        points = (X[..., :, None] * X[..., None, :]).reshape(*X.shape[:-1], -1)
        return points, points


@dataclass(frozen=True)
class Spherical(Exponential):
    """exp(κ cos(x_i, x_j)): its scores are an inner product."""

    kappa: float = 2.0

    def embed(self, X, weights):
        points = self.kappa**0.5 * X / np.linalg.norm(X, axis=-1, keepdims=True)
        return points, points


def unit(X):
    return X / np.sqrt((X**2).sum(-1, keepdims=True))


ADDED = {
    "laplacian": (
        Laplacian,
        lambda X: np.exp(-scipy.spatial.distance.cdist(X, X, "cityblock") / 2.0),
        {"dense", "tiled"},
    ),
    "quadratic": (Quadratic, lambda X: (X @ X.T) ** 2, {"dense", "lowrank", "tiled"}),
    "spherical": (Spherical, lambda X: np.exp(2.0 * unit(X) @ unit(X).T), {"dense", "tiled"}),
}


@pytest.fixture
def added(request, monkeypatch):
    """Register a kernel with its plain formula, and remove both afterwards."""
    name = request.param
    kernel, formula, storages = ADDED[name]
    monkeypatch.setitem(FORMULAS, name, formula)
    KERNELS.register(name)(kernel)
    yield name, storages
    KERNELS.unregister(name)


@pytest.mark.parametrize("added", list(ADDED), indirect=True)
def test_a_newly_registered_kernel_passes_the_contract(added):
    name, storages = added
    cases = list(contract([name]))
    assert {case[3] for case in cases} == storages
    assert {case[4] for case in cases} == set(NORMALIZATIONS)
    for case in cases:
        for dtype in (np.float64, np.float32):
            test_graphs_equal_their_dense_formula(*case, dtype)
            test_filters_equal_their_dense_formula(*case, dtype)
        test_descriptions_equal_their_dense_formula(*case)
        test_graphs_without_self_loops_equal_their_dense_formula(name, case[3], case[4])
    for normalization in NORMALIZATIONS:
        test_a_batch_equals_its_graphs(name, normalization)


@pytest.mark.parametrize("added", list(ADDED), indirect=True)
def test_a_wrong_kernel_fails_the_contract(added, monkeypatch):
    name, _ = added
    right = FORMULAS[name]
    # Off by one part in a hundred, in one entry and its mirror image.
    factor = np.ones((N, N))
    factor[3, 7] = factor[7, 3] = 1.01
    monkeypatch.setitem(FORMULAS, name, lambda X: right(X) * factor)
    for case in contract([name]):
        with pytest.raises(AssertionError):
            test_graphs_equal_their_dense_formula(*case, np.float64)
        with pytest.raises(AssertionError):
            test_filters_equal_their_dense_formula(*case, np.float64)
