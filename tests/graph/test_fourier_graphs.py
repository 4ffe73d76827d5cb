"""Every verb on a Fourier graph, against the same verb on dense weights and on dense formulas."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.linalg
from support.formulas import affinity, normalized

import gspnl
from gspnl.errors import GspnlError, NonsymmetricError

pytest.importorskip("finufft")

NORMS = ["random_walk", "symmetric", "bistochastic", "combinatorial", "softmax"]
CASES = [(d, norm, loops) for d in (1, 2) for norm in NORMS for loops in (True, False)]
CASES += [(3, norm, norm != "symmetric") for norm in NORMS if norm != "softmax"]
TOL = 1e-9
heat = gspnl.responses.heat


def features(d, n=90, seed=0):
    return np.random.default_rng([seed, d]).random((n, d))


def pair(d, norm="random_walk", loops=True, n=90, tol=TOL, **options):
    """Build a Fourier graph and the same graph with dense weights."""
    X = features(d, n)
    common = {"sigma": 0.1 + 0.1 * d, "normalization": norm, "self_loops": loops, **options}
    return (
        gspnl.feature_graph(X, "rbf", approximation="fourier", tol=tol, **common),
        gspnl.feature_graph(X, "rbf", storage="dense", **common),
    )


def dense_laplacian(d, norm, loops, n=90):
    """Compute L and T by plain formulas."""
    W = affinity("rbf", features(d, n), sigma=0.1 + 0.1 * d)
    if not loops:
        np.fill_diagonal(W, 0.0)
    if norm == "combinatorial":
        return np.diag(W.sum(1)) - W, np.ones(n)
    A, change = normalized(W, norm)
    return np.eye(n) - A, change


def signal(n=90, c=3):
    return np.random.default_rng(7).standard_normal((n, c))


def known(n=90):
    return np.random.default_rng(8).random(n) < 0.3


def labels(n=90):
    out = np.full(n, -1)
    out[:8] = [0, 1, 2, 0, 1, 2, 1, 0]
    return out


bank = gspnl.banks.meyer(3)
VERBS = {
    "apply": lambda g: g.apply(signal()),
    "apply one column": lambda g: g.apply(signal()[:, 0]),
    "laplacian": lambda g: g.laplacian(signal()),
    "degrees": lambda g: g.degrees,
    "log degrees": lambda g: g.log_degrees,
    "dense": lambda g: g.dense(),
    "rows": lambda g: g.rows([3, -1]),
    "norm": lambda g: g.norm(signal()),
    "filter": lambda g: g.filter(signal(), heat(2.0)),
    "filter, order": lambda g: g.filter(signal(), heat(2.0), order=5, interval=(0.0, 2.0 * top(g))),
    "filter, tol": lambda g: g.filter(signal(), heat(2.0), tol=1e-8),
    "filter, tikhonov": lambda g: g.filter(signal(), gspnl.responses.tikhonov(4.0)),
    "filter, values": lambda g: g.filter(signal(), np.r_[1.0, 0.5, np.full(88, 0.1)]),
    "eigenvalues": lambda g: g.spectrum().eigenvalues,
    "four least": lambda g: g.spectrum(4).eigenvalues,
    "four greatest": lambda g: g.spectrum(4, "high").eigenvalues,
    "denoise": lambda g: gspnl.denoise(g, signal(), strength=2.0),
    "inpaint": lambda g: gspnl.inpaint(g, signal(), known()),
    "inpaint, tikhonov": lambda g: gspnl.inpaint(
        g, signal(), known(), method="tikhonov", strength=1.0
    ),
    "labels": lambda g: gspnl.propagate_labels(g, labels()).scores,
    "labels, harmonic": lambda g: gspnl.propagate_labels(g, labels(), "harmonic").scores,
    "energy": lambda g: gspnl.dirichlet_energy(g, signal()),
    "smoothness": lambda g: gspnl.smoothness(g, signal()),
    "local variation": lambda g: gspnl.local_variation(g, signal()),
    "total variation": lambda g: gspnl.total_variation(g, signal()),
    "localize": lambda g: gspnl.localize(g, heat(2.0), 5),
    "strength": lambda g: gspnl.choose_strength(g, signal(), sigma=0.5),
    "response": lambda g: gspnl.choose_response(g, signal(), sigma=0.5)(np.linspace(0, 1, 9)),
    "analyze": lambda g: gspnl.analyze(g, signal(), bank),
    "synthesize": lambda g: gspnl.synthesize(g, np.stack([signal()] * len(bank)), bank),
    "analyze, order": lambda g: gspnl.analyze(g, signal(), bank, order=30),
    "synthesize, order": lambda g: gspnl.synthesize(
        g, np.stack([signal()] * len(bank)), bank, order=30
    ),
    "idempotence": lambda g: gspnl.stability.idempotence_defect(g),
    "gap": lambda g: gspnl.stability.spectral_gap(g),
    "memory": lambda g: gspnl.stability.memory(g, 3),
    "strengths": lambda g: gspnl.stability.strengths(g, powers=[1, 2]).defects,
    "density": lambda g: gspnl.spectral_density(g, moments=20, probes=4).count(0, 2 * top(g)),
    "operator": lambda g: gspnl.as_linear_operator(g) @ signal(),
    "operator, laplacian": lambda g: gspnl.as_linear_operator(g, "laplacian") @ signal(),
    "networkx": lambda g: nx_weights(g),
    "pygsp": lambda g: gspnl.to_pygsp(g).W.toarray(),
}

SLOW = ("response", "analyze, order", "synthesize, order")  # hundreds of products
LOOSE = {"strength": 1e-3, "response": 1e-3, "analyze, order": 1e-5, "synthesize, order": 1e-5}


def top(graph):
    """The largest degree of a combinatorial graph, else 1."""
    return float(graph.degrees.max()) if graph.normalization == "combinatorial" else 1.0


def nx_weights(graph):
    networkx = pytest.importorskip("networkx")
    return networkx.to_numpy_array(gspnl.to_networkx(graph))


@pytest.mark.parametrize(("d", "norm", "loops"), CASES)
def test_every_verb_equals_that_of_dense_weights(d, norm, loops):
    fast, plain = pair(d, norm, loops)
    for name, verb in VERBS.items():
        if d == 3 and name in SLOW:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = verb(plain)
        except GspnlError as error:
            with pytest.raises(type(error)):
                verb(fast)
            continue
        except ImportError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = verb(fast)
        assert type(found) is type(expected), name
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.dtype == expected.dtype, name
        assert found.shape == expected.shape, name
        scale = max(np.abs(expected).max(initial=0), 1e-300)
        loose = LOOSE.get(name, 1e-6)
        assert np.abs(found - expected).max(initial=0) <= loose * scale, name


def certificate_holds(graph, L, change, g, order, n):
    plan = graph.chebyshev(g, order=order)
    lam, V = scipy.linalg.eigh(symmetric(L, change))
    truth = V @ (g(lam)[:, None] * V.T)
    own = np.asarray(graph.affinity.change)
    found = plan(np.diag(own)) / own[:, None]
    # g(L) of the kernel's graph in the norm of the approximate one.
    ratio = change / own
    error = np.linalg.norm(ratio[:, None] * truth / ratio - found, 2)
    assert error <= plan.error_bound * (1 + 1e-9), (graph, g, order)
    assert np.isfinite(plan.error_bound)
    return plan, error


def symmetric(L, change):
    S = L / change[:, None] * change
    return (S + S.T) / 2


@pytest.mark.parametrize(("d", "norm", "loops"), [c for c in CASES if c[1] != "softmax"])
def test_certificates_hold_against_dense_formulas(d, norm, loops):
    L, change = dense_laplacian(d, norm, loops)
    unit = 1.0 if norm != "combinatorial" else np.diag(L).max()
    for tol in (1e-2, 1e-5):
        fast = pair(d, norm, loops, tol=tol)[0]
        for g in (heat(2.0 / unit), gspnl.responses.tikhonov(5.0 / unit)):
            for order in (2, 20) if d < 3 else (2,):
                plan, _ = certificate_holds(fast, L, change, g, order, 90)
                assert plan.approximation_error > 0


@pytest.mark.parametrize("norm", ["random_walk", "symmetric", "bistochastic"])
def test_certificates_of_low_rank_graphs_include_their_approximation(norm):
    L, change = dense_laplacian(2, norm, True)
    X = features(2)
    for rank in (4, 15, 40):
        graph = gspnl.feature_graph(X, "rbf", sigma=0.3, rank=rank, normalization=norm)
        if not np.isfinite(graph.approximation.bound):
            continue
        plan, error = certificate_holds(graph, L, change, heat(2.0), 25, 90)
        assert error > 1e-9
        assert plan.error_bound - plan.approximation_error < error  # the term is needed


def test_tol_on_an_approximate_graph_is_that_of_the_series():
    graph = gspnl.feature_graph(features(2), "rbf", sigma=0.3, rank=10)
    plan = graph.chebyshev(heat(2.0), tol=1e-8)
    assert plan.error_bound - plan.approximation_error <= 1.1e-8 < plan.approximation_error
    exact = gspnl.feature_graph(features(2), "rbf", sigma=0.3, storage="dense")
    assert exact.chebyshev(heat(2.0), tol=1e-8).approximation_error == 0
    loose = gspnl.feature_graph(features(2), "rbf", sigma=0.3, rank=9,
                                approximation="random_features")  # fmt: skip
    assert loose.chebyshev(heat(2.0), tol=1e-8).error_bound <= 1e-8


@pytest.mark.parametrize("norm", ["random_walk", "symmetric", "bistochastic"])
@pytest.mark.parametrize("d", [1, 2])
def test_spectra_and_filters_by_the_gram_matrix_of_modes(d, norm):
    """N = 1,500: eigenpairs, series, bands and densities against a dense eigendecomposition."""
    n = 1500
    X = features(d, n)
    graph = gspnl.feature_graph(
        X, "rbf", sigma=0.2, approximation="fourier", tol=1e-9, normalization=norm
    )
    A, change = normalized(affinity("rbf", X, sigma=0.2), norm)
    lam, V = scipy.linalg.eigh(symmetric(np.eye(n) - A, change))
    assert graph.affinity.factor is not None
    found = graph.spectrum(k=4)
    assert np.abs(found.eigenvalues - lam[:4]).max() < 1e-10
    assert found.eigenvalues[0] < 1e-14
    assert found.residuals.max() < 1e-9
    inner = found.modes() / change[:, None]
    assert np.abs(inner.T @ inner - np.eye(4)).max() < 1e-9
    assert np.abs(np.abs(V[:, :4].T @ inner) - np.eye(4)).max() < 1e-7
    Z = signal(n)
    for g in (heat(3.0), gspnl.responses.tikhonov(30.0)):
        truth = change[:, None] * (V @ (g(lam)[:, None] * (V.T @ (Z / change[:, None]))))
        size = graph.norm(Z)
        assert graph.norm(graph.filter(Z, g) - truth) < 1e-8 * size
        assert graph.norm(graph.filter(Z, g, tol=1e-6) - truth) < 1.1e-6 * size
        plan = graph.chebyshev(g, order=8)
        assert graph.norm(plan(Z) - truth) <= plan.error_bound * size
        two = graph.chebyshev(g, order=12, deflate=2)
        assert graph.norm(two(Z) - truth) <= two.error_bound * size
    low, high = graph.spectral_interval()
    assert low <= lam[1] <= lam[-1] <= high < 1.05
    density = gspnl.spectral_density(graph, probes=8)
    assert density.count(0.0, 2.0) == pytest.approx(n, rel=1e-9)
    few = int((lam < 0.8).sum())
    assert abs(density.count(0.0, 0.8) - few) < 4 * density.count_error(0.0, 0.8) + 3
    assert graph.describe().second == pytest.approx(lam[1], abs=2e-3)


def test_the_greatest_eigenvalues_of_many_nodes_are_refused():
    graph = pair(1, n=1500)[0]
    with pytest.raises(gspnl.errors.ConvergenceError, match="modes"):
        graph.spectrum(2, "high")


def test_the_same_seed_gives_the_same_modes():
    first, again = (pair(2, n=1500)[0].spectrum(3, seed=4).modes() for _ in range(2))
    assert np.array_equal(first, again)


def test_copies_and_pickles_filter_alike():
    graph = pair(2, n=1200)[0]
    Z = signal(1200)
    truth = graph.filter(Z, heat(2.0), order=6)
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert np.abs(other.filter(Z, heat(2.0), order=6) - truth).max() < 1e-12
        assert other.approximation.bound == graph.approximation.bound


@pytest.mark.parametrize("norm", ["random_walk", "bistochastic", "combinatorial"])
def test_a_batch_equals_its_graphs(norm):
    X = np.stack([features(2), features(2, seed=1)])
    options = {"sigma": 0.3, "approximation": "fourier", "tol": 1e-8, "normalization": norm}
    many = gspnl.feature_graph(X, "rbf", **options)
    Z = np.stack([signal(), 2 * signal()])
    assert many.approximation.bound.shape == (2,)
    for i in range(2):
        one = gspnl.feature_graph(X[i], "rbf", **options)
        assert np.allclose(many.apply(Z)[i], one.apply(Z[i]), rtol=1e-9, atol=1e-9)
        for how in ({}, {"order": 6}, {"tol": 1e-6}):
            mine = many.filter(Z, heat(0.5), **how)[i]
            assert np.allclose(mine, one.filter(Z[i], heat(0.5), **how), rtol=1e-7, atol=1e-7)
        plan = many[i].chebyshev(heat(0.5), order=6)
        assert plan.approximation_error == pytest.approx(
            one.chebyshev(heat(0.5), order=6).approximation_error
        )


def test_softmax_has_no_spectrum():
    with pytest.raises(NonsymmetricError):
        pair(2, "softmax")[0].spectrum(3)


def test_a_response_that_no_series_resolves_has_no_certificate():
    """A jump, and a bump at one λ that is narrower than λ may have moved."""
    X = np.random.default_rng(3).random((300, 2))
    graph = gspnl.feature_graph(X, "rbf", sigma=0.1, approximation="fourier", tol=1e-2)
    jump = graph.chebyshev(lambda lam: (lam < 0.5) * 1.0, order=4)
    assert jump.approximation_error == jump.error_bound == np.inf
    at = graph.chebyshev(gspnl.responses.heat(1.0), order=4).deflation.density[0][5]
    bump = graph.chebyshev(lambda lam: np.exp(-(((lam - at) / 1e-7) ** 2)), order=4)
    assert bump.error_bound == np.inf


def test_torch_signals_take_the_modes_as_numpy_signals_do(monkeypatch):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    X, Z = rng.random((3000, 2)), rng.standard_normal((2, 3000, 3))
    options = {"sigma": 0.1, "approximation": "fourier", "tol": 1e-8}
    mine = gspnl.feature_graph(X, "rbf", **options)
    theirs = gspnl.feature_graph(torch.tensor(X), "rbf", **options)
    g = gspnl.responses.heat(3.0)
    expected = mine.filter(Z, g, order=9)
    _ = theirs.spectral_interval()
    counted = []
    right = type(theirs.weights).matmul
    monkeypatch.setattr(
        type(theirs.weights), "matmul", lambda *args: counted.append(1) or right(*args)
    )
    found = theirs.filter(torch.tensor(Z), g, order=9)
    assert not counted
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)
