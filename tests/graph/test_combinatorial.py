"""The combinatorial Laplacian L = D − W against NumPy, PyGSP, NetworkX and SciPy."""

from __future__ import annotations

import logging

import networkx as nx
import numpy as np
import pygsp
import pytest
import scipy.linalg
import scipy.sparse
import torch
from support.formulas import relative

import gspnl
from gspnl import banks, responses
from gspnl.errors import DegreeError, GspnlError, InputError
from gspnl.signals.localize import filter_row

NAME = "combinatorial"


@pytest.fixture(autouse=True)
def quiet_pygsp():
    logging.getLogger("pygsp").setLevel(logging.ERROR)


def sparse_weights(n, density, seed):
    W = scipy.sparse.random_array((n, n), density=density, rng=np.random.default_rng(seed))
    return (W + W.T).tocsr()


def laplacian(W):
    return np.diag(W.sum(1)) - W


def exact(L, g, Z):
    lam, U = np.linalg.eigh(L)
    return U @ (g(lam)[:, None] * (U.T @ Z))


# --- other libraries ------------------------------------------------------------------------------

GRAPHS = {
    "sensor": lambda: pygsp.graphs.Sensor(80, seed=3),
    "path": lambda: pygsp.graphs.Path(40),
    "comet": lambda: pygsp.graphs.Comet(50, 15),
    "scale free": lambda: pygsp.graphs.BarabasiAlbert(120, seed=2),
    "full": lambda: pygsp.graphs.FullConnected(30),
}
BANKS = {
    "heat": (lambda G: pygsp.filters.Heat(G, [3, 20.0]), lambda m: banks.heat([3, 20.0], lmax=m)),
    "meyer": (lambda G: pygsp.filters.Meyer(G, 5), lambda m: banks.meyer(5, lmax=m)),
    "itersine": (lambda G: pygsp.filters.Itersine(G, 6), lambda m: banks.itersine(6, lmax=m)),
    "hat": (lambda G: pygsp.filters.MexicanHat(G, 4), lambda m: banks.mexican_hat(4, lmax=m)),
}


@pytest.mark.parametrize("name", list(GRAPHS))
def test_pygsp_graphs_keep_their_laplacian_spectrum_and_filters(name):
    G = GRAPHS[name]()
    G.compute_fourier_basis()
    graph = gspnl.from_pygsp(G)
    assert graph.normalization == NAME
    z = np.random.default_rng(0).standard_normal((G.N, 2))
    L = G.L.toarray()
    assert relative(graph.laplacian(z), L @ z) < 1e-12
    spectrum = graph.spectrum()
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    assert np.abs(every - G.e).max() < 1e-12 * G.e[-1]
    for t in (0.05, 0.3, 4.0):
        truth = G.U @ (np.exp(-t * G.e)[:, None] * (G.U.T @ z))
        heat = responses.heat(t)
        assert relative(graph.filter(z, heat), truth) < 1e-12
        assert relative(graph.filter(z, heat, order=200), truth) < 1e-12
    for theirs, ours in BANKS.values():
        truth = np.asarray(theirs(G).filter(z[:, :, None], method="exact"))  # (N, c, F)
        bank = ours(float(G.lmax))
        assert relative(gspnl.analyze(graph, z, bank), np.moveaxis(truth, -1, 0)) < 1e-11
        plan = gspnl.plan_bank(graph, bank, order=20)
        gap = gspnl.analyze(graph, z, bank, order=20) - np.moveaxis(truth, -1, 0)
        errors = np.linalg.norm(gap, axis=(1, 2)) / np.linalg.norm(z)
        assert (errors <= plan.error_bounds).all()
    assert gspnl.to_pygsp(graph).lap_type == NAME
    assert np.abs(gspnl.to_pygsp(graph).L.toarray() - L).max() < 1e-12


def test_the_normalized_laplacian_of_pygsp_becomes_symmetric():
    G = pygsp.graphs.Sensor(50, seed=1, lap_type="normalized")
    graph = gspnl.from_pygsp(G)
    assert graph.normalization == "symmetric"
    z = np.random.default_rng(0).standard_normal((50, 2))
    assert relative(graph.laplacian(z), G.L @ z) < 1e-12
    assert gspnl.to_pygsp(graph).lap_type == "normalized"
    G.lap_type = "generalised"
    with pytest.raises(InputError, match="'normalized', 'combinatorial'"):
        gspnl.from_pygsp(G)
    assert gspnl.from_pygsp(G, "random_walk").normalization == "random_walk"


def test_networkx_and_scipy_laplacians_with_self_loops_and_isolated_nodes():
    G = nx.karate_club_graph()
    G.add_edge(4, 4, weight=7.0)
    G.add_node("alone")
    graph = gspnl.from_networkx(G, normalization=NAME)
    L = nx.laplacian_matrix(G).toarray()
    assert relative(graph.laplacian(np.eye(35)), L) < 1e-14
    W = nx.to_scipy_sparse_array(G)
    assert (
        relative(graph.laplacian(np.eye(35)), scipy.sparse.csgraph.laplacian(W).toarray()) < 1e-14
    )
    assert graph.degrees[4] == W.toarray()[4].sum()
    assert graph.degrees[34] == 0
    z = np.random.default_rng(0).standard_normal((35, 2))
    truth = scipy.linalg.expm(-0.1 * L) @ z
    assert relative(graph.filter(z, responses.heat(0.1)), truth) < 1e-12
    assert np.array_equal(graph.filter(z, responses.heat(0.1), order=9)[34], z[34])
    whole = nx.karate_club_graph()
    gap = gspnl.stability.spectral_gap(
        gspnl.from_networkx(whole, normalization=NAME), absolute=False
    )
    assert gap == pytest.approx(nx.algebraic_connectivity(whole, tol=1e-12), rel=1e-8)


# --- filters and certificates ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_errors_of_every_fit_are_within_the_certificate(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 60))
    W = sparse_weights(n, rng.uniform(0.05, 0.9), seed).toarray() * 10 ** rng.uniform(-6, 6)
    if seed % 4 == 0:  # a hub, and a weak component
        W[0] = W[:, 0] = 50 * W.max()
    L = laplacian(W)
    graph = gspnl.graph_from_weights(scipy.sparse.csr_array(W) if seed % 2 else W, NAME)
    z = rng.standard_normal((n, 3))
    size = 2 * W.sum(1).max()
    for g in (
        responses.heat(rng.uniform(0.5, 30) / size),
        responses.tikhonov(rng.uniform(1, 100) / size),
        responses.smooth_low_pass(0.3 * size, 0.1 * size),
    ):
        truth = exact(L, g, z)
        for method in ("interpolate", "minimax", "jackson", "least_squares"):
            for options in ({}, {"deflate": False}, {"interval": (0.0, 1.5 * size)}):
                plan = graph.chebyshev(g, order=int(rng.integers(0, 12)), method=method, **options)
                error = np.linalg.norm(plan(z) - truth) / np.linalg.norm(z)
                assert error <= plan.error_bound + 1e-12
        found = graph.chebyshev(g, tol=1e-7)
        assert found.error_bound <= 1e-7
        assert np.linalg.norm(found(z) - truth) <= 1e-7 * np.linalg.norm(z)


def test_series_are_in_lambda_on_an_interval_up_to_twice_the_largest_degree():
    W = sparse_weights(50, 0.3, 1).toarray()
    graph = gspnl.graph_from_weights(W, NAME)
    g = responses.heat(0.4)
    plan = graph.chebyshev(g, order=40, deflate=False)
    assert plan.series.interval == pytest.approx((0, 2 * W.sum(1).max()), rel=1e-15)
    lam = np.linalg.eigvalsh(laplacian(W))
    assert np.abs(plan.series(lam) - g(lam)).max() < 1e-10
    low, high = graph.spectral_interval()
    assert low < lam[1]
    assert lam[-1] < high < 1.05 * lam[-1]
    deflated = graph.chebyshev(g, order=3, deflate=3)
    assert np.abs(deflated.deflated - lam[:3]).max() < 1e-10
    with pytest.raises(InputError, match=rf"to {lam[-1]:.6g}; a Chebyshev series explodes"):
        graph.chebyshev(g, order=3, interval=(0, 0.9 * lam[-1]))


def test_a_jump_is_where_the_response_has_it():
    graph = gspnl.graph_from_weights(sparse_weights(40, 0.3, 5).toarray(), NAME)
    high = graph.spectral_interval()[1]
    with pytest.raises(InputError, match=r"low_pass\(.*jumps inside the interval"):
        graph.chebyshev(responses.low_pass(0.6 * high), order=5, method="minimax")
    beyond = graph.chebyshev(responses.low_pass(1.5 * high), order=0, method="minimax")
    assert beyond.error_bound < 1e-12


def test_rows_of_filters_equal_those_of_the_dense_filter():
    W = sparse_weights(40, 0.3, 5).toarray()
    graph = gspnl.graph_from_weights(W, NAME)
    for g in (responses.snl(0.3, 0.7), responses.heat(0.1)):
        row = filter_row(graph, g, 7)
        assert relative(row, exact(laplacian(W), g, np.eye(40))[7]) < 1e-12


def test_values_on_the_spectrum_and_tabulated_responses():
    W = sparse_weights(40, 0.3, 5).toarray() * 100
    graph = gspnl.graph_from_weights(W, NAME)
    z = np.random.default_rng(0).standard_normal((40, 2))
    lam = graph.spectrum().eigenvalues
    g = responses.heat(0.003)
    truth = exact(laplacian(W), g, z)
    assert relative(graph.filter(z, g(lam)), truth) < 1e-12
    table = responses.tabulated(tuple(lam.tolist()), tuple(g(lam).tolist()))
    assert relative(graph.filter(z, table), truth) < 1e-12
    modulated = banks.modulation(g, graph.spectrum(), graph.spectrum().modes(40))
    assert np.isfinite(gspnl.analyze(graph, z, modulated)).all()
    cut = float(lam[10:12].mean())
    low = graph.filter(z, responses.low_pass(cut))
    assert relative(low, exact(laplacian(W), lambda x: (x <= cut) * 1.0, z)) < 1e-10
    with pytest.raises(InputError, match=rf"g\({lam[-1]:.6g}\) = nan"):
        graph.filter(z, lambda x: np.where(x > 0.999 * lam[-1], np.nan, 1.0))


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        *((scale, np.float64) for scale in (1e-300, 1e-30, 1e-3, 1e30, 1e300)),
        *((scale, np.float32) for scale in (1e-30, 1e-3, 1e30)),
    ],
)
def test_the_size_of_the_weights_costs_no_digits(scale, dtype):
    X = np.random.default_rng(0).standard_normal((60, 3))
    W = np.exp(-((X[:, None] - X) ** 2).sum(-1) / 2) - np.eye(60)
    lam, U = np.linalg.eigh(laplacian(W))
    graph = gspnl.graph_from_weights((W * scale).astype(dtype), NAME)
    z = np.random.default_rng(1).standard_normal((60, 2)).astype(dtype)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    found = graph.spectrum().eigenvalues.astype(np.float64) / scale
    assert np.abs(found - lam).max() < tolerance * lam[-1]
    t = 3 / lam[-1]
    truth = U @ (np.exp(-t * lam)[:, None] * (U.T @ z))
    heat = responses.heat(t / scale)
    assert relative(graph.filter(z, heat), truth) < tolerance
    assert relative(graph.filter(z, heat, order=25), truth) < tolerance
    few = graph.spectrum(4)
    assert (np.abs(few.eigenvalues / scale - lam[:4]) < tolerance * lam[-1]).all()
    assert (few.residuals / scale < tolerance * lam[-1]).all()
    assert gspnl.smoothness(graph, z) / scale == pytest.approx(
        (z * (laplacian(W) @ z)).sum(0) / (z * z).sum(0), rel=1e-5
    )


@pytest.mark.parametrize(("kernel", "storage"), [("dot", "lowrank"), ("rbf", "tiled")])
def test_graphs_above_the_dense_limit(kernel, storage):
    X = np.random.default_rng(0).standard_normal((1100, 3))
    graph = gspnl.feature_graph(X, kernel, normalization=NAME, storage=storage)
    assert graph.storage == storage
    W = np.maximum(X, 0) @ np.maximum(X, 0).T if kernel == "dot" else None
    if kernel == "rbf":
        W = np.exp(-((X[:, None] - X) ** 2).sum(-1) / 2)
    lam, U = np.linalg.eigh(laplacian(W))
    z = np.random.default_rng(1).standard_normal((1100, 2))
    g = responses.heat(4 / lam[-1])
    truth = U @ (g(lam)[:, None] * (U.T @ z))
    assert relative(graph.filter(z, g), truth) < 1e-11
    assert relative(graph.filter(z, g, tol=1e-9), truth) < 1e-8
    # both ends, by Lanczos; λ = 0 repeats where the dot product leaves nodes isolated
    few = graph.spectrum(6, "both")
    assert np.abs(few.eigenvalues - np.r_[lam[:3], lam[-3:]]).max() < 1e-9 * lam[-1]
    assert few.residuals.max() < 1e-8 * lam[-1]


# --- the verbs ------------------------------------------------------------------------------------


def features_and_graph(n=150, seed=0, **options):
    X = np.random.default_rng(seed).random((n, 2))
    graph = gspnl.feature_graph(X, "rbf", sigma=0.2, normalization=NAME, **options)
    W = np.exp(-((X[:, None] - X) ** 2).sum(-1) / (2 * 0.2**2))
    return graph, W, laplacian(W)


def test_energies_use_the_plain_inner_product():
    graph, W, L = features_and_graph()
    z = np.random.default_rng(1).standard_normal((150, 2)) + 5
    gaps = z[:, None] - z
    assert gspnl.dirichlet_energy(graph, z) == pytest.approx((z * (L @ z)).sum(0), rel=1e-10)
    assert gspnl.smoothness(graph, z) == pytest.approx(
        (z * (L @ z)).sum(0) / (z * z).sum(0), rel=1e-10
    )
    assert gspnl.total_variation(graph, z) == pytest.approx(
        (W[..., None] * abs(gaps)).sum((0, 1)) / 2, rel=1e-10
    )
    local = np.sqrt((W[..., None] * gaps**2).sum(1))
    assert relative(gspnl.local_variation(graph, z), local) < 1e-7
    assert graph.norm(z) == pytest.approx(np.linalg.norm(z), rel=1e-12)


@pytest.mark.parametrize("normalization", ["random_walk", NAME])
def test_energies_have_the_factor_that_is_kept_apart_from_the_weights(normalization):
    X = np.eye(5)[0] + 0.03 * np.random.default_rng(0).standard_normal((200, 5))
    X = 26 * X / np.linalg.norm(X, axis=1, keepdims=True)  # weights around e^674

    def graph_of(dtype):
        return gspnl.feature_graph(
            X.astype(dtype), "gaussian", normalization=normalization, storage="tiled"
        )

    graph = graph_of(np.float64)
    assert np.any(graph.weights.log_factor)
    W = np.exp(X @ X.T)
    z = np.random.default_rng(1).standard_normal(200)
    gaps = abs(z[:, None] - z)
    energy = (W * gaps**2).sum() / 2
    assert gspnl.total_variation(graph, z) == pytest.approx((W * gaps).sum() / 2, rel=1e-9)
    assert gspnl.dirichlet_energy(graph, z) == pytest.approx(energy, rel=1e-9)
    norm = z @ z if normalization == NAME else z @ (W.sum(1) * z)
    assert gspnl.smoothness(graph, z) == pytest.approx(energy / norm, rel=1e-9)
    local = np.sqrt((W * gaps**2).sum(1))
    assert relative(gspnl.local_variation(graph, z), local) < 1e-7
    with pytest.raises(DegreeError, match="range of float32"):
        gspnl.total_variation(graph_of(np.float32), z.astype(np.float32))


def test_denoising_and_inpainting_solve_their_equations():
    graph, _, L = features_and_graph()
    z = np.random.default_rng(1).standard_normal((150, 2))
    eye = np.eye(150)
    smooth = gspnl.denoise(graph, z, strength=0.7)
    assert relative(smooth, np.linalg.solve(eye + 0.7 * L, z)) < 1e-10
    assert (
        relative(gspnl.denoise(graph, z, "heat", strength=0.05), scipy.linalg.expm(-0.05 * L) @ z)
        < 1e-10
    )
    known = np.arange(150) % 5 == 0
    M = np.diag(known * 1.0)
    filled = gspnl.inpaint(graph, z, known, "tikhonov", strength=0.3)
    assert relative(filled, np.linalg.solve(M + 0.3 * L, M @ z)) < 1e-8
    harmonic = gspnl.inpaint(graph, z, known)
    truth = z.copy()
    truth[~known] = np.linalg.solve(L[np.ix_(~known, ~known)], -L[np.ix_(~known, known)] @ z[known])
    assert relative(harmonic, truth) < 1e-8
    labels = np.where(known, np.arange(150) % 2, -1)
    scores = gspnl.propagate_labels(graph, labels, alpha=0.5).scores
    Y = np.stack([labels == 0, labels == 1], 1) * 1.0
    assert relative(scores, np.linalg.solve(eye + L, Y)) < 1e-10
    assert (
        relative(
            gspnl.localize(graph, responses.heat(0.02), 7),
            np.sqrt(150) * scipy.linalg.expm(-0.02 * L)[:, 7],
        )
        < 1e-10
    )


def test_harmonic_values_are_accurate_where_degrees_differ_by_orders_of_magnitude():
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-2, 2, 80)
    W = size[:, None] * size * rng.random((80, 80))
    W = W + W.T
    z = rng.standard_normal((80, 1))
    known = np.arange(80) % 4 == 0
    L = laplacian(W)
    truth = z.copy()
    # each equation divided by its diagonal, or the dense solution loses digits itself
    rows = L[~known] / np.diag(L)[~known, None]
    truth[~known] = np.linalg.solve(rows[:, ~known], -rows[:, known] @ z[known])
    filled = gspnl.inpaint(gspnl.graph_from_weights(W, NAME), z, known, max_steps=15)
    assert relative(filled, truth) < 1e-7


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_strength_of_least_risk_scales_with_the_weights(scale):
    _, W, _ = features_and_graph()
    rng = np.random.default_rng(2)
    z = np.sin(3 * np.arange(150) / 150) + 0.3 * rng.standard_normal(150)
    graph = gspnl.graph_from_weights(W * scale, NAME)
    for rule in ("risk", "discrepancy"):
        found = gspnl.choose_strength(graph, z, sigma=0.3, rule=rule) * scale
        one = gspnl.choose_strength(gspnl.graph_from_weights(W, NAME), z, sigma=0.3, rule=rule)
        assert found == pytest.approx(one, rel=0.03)


def test_ratio_cuts_find_blocks():
    W = scipy.linalg.block_diag(*[np.ones((20, 20))] * 3) + 0.01
    labels = gspnl.spectral_clustering(gspnl.graph_from_weights(W, NAME), 3)
    assert labels.tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_the_spectral_density_counts_eigenvalues():
    graph, _, L = features_and_graph(n=400)
    lam = np.linalg.eigvalsh(L)
    found = gspnl.spectral_density(graph)
    assert found.interval[1] > lam[-1]
    middle = float(np.median(lam))
    assert abs(found.count(0, middle) - 200) < 3 * found.count_error(0, middle) + 8
    area = np.trapezoid(found.density, found.lam)
    assert area == pytest.approx(399 / 400, rel=0.02)


def test_compare_measures_errors_within_their_bounds():
    graph, _, _ = features_and_graph()
    z = np.random.default_rng(1).standard_normal((150, 2))
    table = gspnl.compare(graph, z, responses.heat(0.1), orders=[1, 4, 9])
    assert (table.errors <= table.bounds).all()
    assert table.bounds[-1] < table.bounds[0]


def test_a_frame_on_the_spectrum_is_inverted_by_its_dual():
    graph, _, _ = features_and_graph()
    z = np.random.default_rng(1).standard_normal((150, 2))
    bank = banks.itersine(5, lmax=graph.spectral_interval()[1])
    C = gspnl.analyze(graph, z, bank)
    assert np.linalg.norm(C) == pytest.approx(np.linalg.norm(z), rel=1e-10)
    assert relative(gspnl.synthesize(graph, C, bank.dual()), z) < 1e-10


# --- torch ----------------------------------------------------------------------------------------


def test_gradients_through_a_weight_matrix_equal_those_of_the_matrix_exponential():
    rng = np.random.default_rng(0)
    start = torch.from_numpy(sparse_weights(20, 0.5, 3).toarray() + 0.1)
    z = torch.from_numpy(rng.standard_normal((20, 2)))

    def ours(W):
        graph = gspnl.graph_from_weights((W + W.T) / 2, NAME)
        return graph.filter(z, responses.heat(0.2)).square().sum()

    def theirs(W):
        V = (W + W.T) / 2
        return (torch.matrix_exp(-0.2 * (torch.diag(V.sum(1)) - V)) @ z).square().sum()

    grads = []
    for loss in (ours, theirs):
        W = start.clone().requires_grad_()
        loss(W).backward()
        grads.append(W.grad)
    assert relative(grads[0], grads[1].numpy()) < 1e-10


def test_gradients_are_right_where_eigenvalues_meet():
    """All edges of weight 1: λ = N but for the constant mode; eigh would give NaN."""
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((12, 2)))
    grads = []
    for ours in (True, False):
        W = (torch.ones(12, 12, dtype=torch.float64) - torch.eye(12)).requires_grad_()
        V = (W + W.T) / 2
        if ours:
            graph = gspnl.graph_from_weights(V, NAME)
            out = graph.filter(z, responses.heat(0.1))
        else:
            out = torch.matrix_exp(-0.1 * (torch.diag(V.sum(1)) - V)) @ z
        out.square().sum().backward()
        grads.append(W.grad.numpy())
    assert relative(*grads) < 1e-12
    with pytest.raises(GspnlError, match="gradient"):
        graph.filter(z, np.ones(12))


def test_a_batch_of_weights_has_a_scale_for_each_graph():
    W = np.stack([sparse_weights(30, 0.4, s).toarray() * 10.0**s for s in range(3)])
    z = np.random.default_rng(0).standard_normal((3, 30, 2))
    graph = gspnl.graph_from_weights(W, NAME)
    heat = responses.heat(0.01)
    for i in range(3):
        truth = scipy.linalg.expm(-0.01 * laplacian(W[i])) @ z[i]
        assert relative(graph.filter(z, heat)[i], truth) < 1e-11
        assert relative(graph.filter(z, heat, order=60)[i], truth) < 1e-11
        assert relative(graph.laplacian(z)[i], laplacian(W[i]) @ z[i]) < 1e-12
    assert gspnl.dirichlet_energy(graph, z) == pytest.approx(
        np.stack([(z[i] * (laplacian(W[i]) @ z[i])).sum(0) for i in range(3)]), rel=1e-10
    )
    assert gspnl.smoothness(graph, z).shape == (3, 2)


# --- errors ---------------------------------------------------------------------------------------


def test_what_the_combinatorial_laplacian_does_not_have_is_an_error():
    W = sparse_weights(30, 0.4, 1).toarray()
    X = np.random.default_rng(0).standard_normal((60, 3))
    with pytest.raises(InputError, match=r"needs W = Wᵀ.*softmax"):
        gspnl.graph_from_weights(np.triu(W), NAME)
    with pytest.raises(
        InputError, match=r"'combinatorial' needs non-negative weights, and the least"
    ):
        gspnl.graph_from_weights(W - 0.01, NAME)
    with pytest.raises(InputError, match=r"'combinatorial' needs non-negative.*feature_map="):
        gspnl.feature_graph(X, feature_map=None, normalization=NAME)
    with pytest.raises(InputError, match="nonnegative=True"):
        gspnl.from_linear_operator(scipy.sparse.linalg.aslinearoperator(W), NAME)
    with pytest.raises(InputError, match=r"approximation='random_features'"):
        gspnl.feature_graph(X, "rbf", rank=10, normalization=NAME)
    graph = gspnl.graph_from_weights(W, NAME)
    for ask in (
        gspnl.stability.idempotence_defect,
        gspnl.stability.spectral_gap,
        gspnl.stability.memory,
        gspnl.stability.strengths,
        lambda graph: gspnl.stability.cfl(graph, responses.ns()),
    ):
        with pytest.raises(InputError, match="use normalization='random_walk' or 'symmetric'"):
            ask(graph)
    far = 32 * X / np.linalg.norm(X, axis=1, keepdims=True)  # degrees of e^1024
    with pytest.raises(DegreeError, match="depends on their scale"):
        gspnl.feature_graph(far, "gaussian", normalization=NAME, storage="tiled").laplacian(X)


def test_a_graph_without_edges_has_laplacian_zero():
    graph = gspnl.graph_from_weights(np.zeros((5, 5)), NAME)
    z = np.random.default_rng(0).standard_normal((5, 2))
    assert graph.spectrum().eigenvalues.tolist() == [0.0]
    assert not graph.laplacian(z).any()
    assert relative(graph.filter(z, responses.heat(2.0)), z) < 1e-15
    assert relative(graph.filter(z, responses.heat(2.0), order=3), z) < 1e-15
