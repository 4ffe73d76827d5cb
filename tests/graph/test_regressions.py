"""Regression tests of degenerate graphs, responses and signals."""

from __future__ import annotations

import pickle

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
from support.formulas import eigen, relative

import gspnl
from gspnl import responses
from gspnl.errors import InputError

HEAT = responses.heat(2.0)


def graphs(seed=19, n=300):
    X = np.random.default_rng(seed).standard_normal((n, 4))
    return X, gspnl.feature_graph(X, "dot"), gspnl.feature_graph(X, "dot", storage="dense")


def worst(graph, plan, g):
    """‖T⁻¹ (g(L) − F) T‖₂ by dense eigenvectors: the largest error over all signals."""
    A, change = graph.dense(), np.sqrt(np.where(graph.degrees > 0, 1 / graph.degrees, 1.0))
    lam, U, inverse = eigen(A, change)
    F = plan(np.eye(len(A)))
    truth = U @ (g(np.clip(lam, 0, 2))[:, None] * inverse)
    return np.linalg.norm((truth - F) / change[:, None] * change, 2)


@pytest.mark.parametrize(
    "g",
    [
        responses.smooth_band_pass(1.0, 1e-4),
        lambda lam: np.where(np.abs(lam - 1) < 1e-9, 1.0, 0.0),
        lambda lam: np.where(np.abs(lam - 1) < 1e-7, 1.0, lam),
    ],
)
def test_a_response_that_is_narrow_at_one_is_filtered_exactly(g):
    """Most modes of a low-rank graph have λ = 1, which samples of an interval can miss."""
    X, low, _ = graphs()
    spectrum = low.spectrum()
    gains = np.repeat(g(spectrum.eigenvalues), spectrum.multiplicities)
    truth = spectrum.igft(gains[:, None] * spectrum.gft(X))
    assert relative(low.filter(X, g), truth) < 1e-10
    for method in ("interpolate", "minimax", "jackson"):
        for order in (0, 1, 7):
            plan = low.chebyshev(g, order=order, method=method)
            assert low.norm(truth - plan(X)) <= plan.error_bound * low.norm(X)


@pytest.mark.parametrize("count", [2, 3])
def test_deflation_ends_with_the_modes_below_one(count):
    """Without self-loops λ soon exceeds 1; deflated modes must not be found again."""
    X = np.abs(np.random.default_rng(0).standard_normal((60, 2)))
    for n in (2, 3, 60):
        for storage in ("dense", "lowrank"):
            graph = gspnl.feature_graph(X[:n], kernel="dot", storage=storage, self_loops=False)
            try:
                plan = graph.chebyshev(HEAT, order=3, deflate=count)
            except InputError as error:
                assert "asks for more modes with λ < 1" in str(error)
                continue
            assert worst(graph, plan, HEAT) <= plan.error_bound


def test_a_graph_of_low_numerical_rank_deflates():
    """The Krylov space has about twenty dimensions; rounding must not extend it."""
    for n in (20, 60, 300, 1000):
        graph = gspnl.feature_graph(np.random.default_rng(0).random((n, 1)), "rbf")
        plan = graph.chebyshev(HEAT, order=6, deflate=2)
        assert np.abs(plan.deflated - graph.spectrum().eigenvalues[:2]).max() < 1e-12
        assert worst(graph, plan, HEAT) <= plan.error_bound if n <= 300 else True


def test_certificates_hold_for_all_signals():
    """The certificate bounds the largest error over all signals."""
    rng = np.random.default_rng(2)
    for _ in range(60):
        n, c = int(rng.integers(12, 90)), int(rng.integers(1, 6))
        X = rng.standard_normal((n, c))
        if rng.random() < 0.4:
            X = 0.2 * X + 3 * rng.standard_normal((3, c))[rng.integers(0, 3, n)]
        kernel, options = [
            ("dot", {"feature_map": "softplus"}),
            ("dot", {"feature_map": "exp", "storage": "dense"}),
            ("rbf", {"sigma": float(rng.uniform(0.3, 3))}),
            ("cosine", {"self_loops": False}),
            ("anchors", {"anchors": 5}),
        ][rng.integers(5)]
        graph = gspnl.feature_graph(X, kernel, **options)
        g = [
            responses.heat(float(rng.uniform(0.1, 30))),
            responses.tikhonov(float(10 ** rng.uniform(0, 9))),
            responses.smooth_low_pass(float(rng.uniform(0, 1)), 0.1),
            responses.low_pass(0.7),
        ][rng.integers(4)]
        method = ["interpolate", "least_squares", "jackson"][rng.integers(3)]
        try:
            plan = graph.chebyshev(
                g, order=int(rng.integers(0, 25)), method=method, deflate=int(rng.integers(0, 4))
            )
        except InputError as error:
            assert "asks for more modes with λ < 1" in str(error)
            continue
        if method == "least_squares" and isinstance(g, responses.low_pass):
            continue  # a jump within rounding of an eigenvalue is anyone's guess
        assert worst(graph, plan, g) <= plan.error_bound, (graph, g, plan)


def test_an_interval_that_misses_a_mode_is_refused_or_uncertified():
    rng = np.random.default_rng(10)
    for n in (300, 1100):
        X = rng.standard_normal((n, 3)) * 2
        graph = gspnl.feature_graph(X, "rbf", sigma=0.8)
        lam = graph.spectrum().eigenvalues
        g = responses.tikhonov(500.0)
        try:
            plan = graph.chebyshev(g, order=60, interval=(lam[1] + 2e-4, 1.1))
        except InputError as error:
            assert "does not cover the spectrum" in str(error)
        else:
            assert plan.error_bound == np.inf
        plan = graph.chebyshev(g, order=60, interval=(float(lam[1]), float(lam[-1])))
        assert n > 1024 or plan.error_bound < np.inf  # exact ends are good ends


def test_isolated_nodes_do_not_mix_with_the_constant_mode():
    B = np.random.default_rng(0).standard_normal((50, 3)) * 1e10
    B[[3, 9]] = -1
    for storage in ("dense", "lowrank"):
        graph = gspnl.feature_graph(B, kernel="dot", storage=storage)
        isolated = graph.degrees == 0
        heat = graph.filter(np.eye(50), HEAT)
        assert np.array_equal(heat[isolated], np.eye(50)[isolated])
        spectrum = graph.spectrum()
        assert spectrum.multiplicities[0] == isolated.sum()
        assert spectrum.eigenvalues[0] == 0


def test_the_transform_raises_for_invalid_signals():
    X, graph, _ = graphs(n=40)
    spectrum = graph.spectrum()
    z = X[:, 0]
    assert spectrum.gft(z).shape == (40,)
    assert relative(spectrum.igft(spectrum.gft(z)), z) < 1e-12
    for verb in (spectrum.gft, spectrum.igft):
        with pytest.raises(InputError, match="signals on this graph have shape"):
            verb(np.ones((39, 2)))
        with pytest.raises(InputError, match="not finite"):
            verb(np.full((40, 2), np.nan))


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (lambda lam: np.exp(-1j * lam), "this one is complex"),
        ("heat(3)", "is no response: pass a callable"),
        (None, "is no response: pass a callable"),
        (lambda lam: "x", "is no response"),
    ],
)
def test_objects_that_are_not_responses_raise(response, message):
    X, graph, _ = graphs(n=40)
    for options in ({}, {"order": 3}):
        with pytest.raises(InputError, match=message):
            graph.filter(X, response, **options)


def test_responses_are_not_evaluated_below_zero():
    for seed in range(20):
        X = np.random.default_rng(seed).standard_normal((100, 4))
        graph = gspnl.feature_graph(X, "dot", feature_map="exp", normalization="symmetric")
        for options in ({}, {"order": 12}, {"order": 4, "deflate": 2}):
            assert np.isfinite(graph.filter(X, np.sqrt, **options)).all()


def test_numpy_scalars_are_accepted_as_numbers():
    X, graph, _ = graphs(n=40)
    assert responses.heat(np.float32(2.0))(0.5) == pytest.approx(np.exp(-1))
    assert responses.low_pass(np.float64(0.5))(0.5) == 1
    assert graph.chebyshev(HEAT, tol=np.float32(1e-3)).error_bound <= 1e-3
    assert gspnl.feature_graph(X, "anchors", anchors=np.int64(5)).storage == "lowrank"
    with pytest.raises(InputError, match=r"seed=-1 must be a whole number ≥ 0"):
        gspnl.feature_graph(X, "anchors", seed=-1)


def test_anchors_of_any_size_and_number():
    X = np.random.default_rng(0).standard_normal((500, 5))
    small = gspnl.feature_graph(X, "anchors", anchors=8).spectrum().eigenvalues
    for scale in (1e-150, 1e150):
        huge = gspnl.feature_graph(X * scale, "anchors", anchors=8).spectrum().eigenvalues
        assert np.abs(huge - small).max() < 1e-10
    assert gspnl.feature_graph(X[:6], "anchors", anchors=10_000).storage == "dense"


def test_graphs_and_spectra_can_be_pickled():
    X, low, dense = graphs(n=40)
    for graph in (low, dense):
        graph.filter(X, HEAT, order=3)
        graph.spectrum().gft(X)
        back = pickle.loads(pickle.dumps(graph))
        assert np.array_equal(back.filter(X, HEAT), graph.filter(X, HEAT))
        assert pickle.loads(pickle.dumps(graph.spectrum())).n_nodes == 40


def test_a_strict_library_takes_batches():
    X = np.random.default_rng(1).standard_normal((2, 30, 3))
    graph = gspnl.feature_graph(array_api_strict.asarray(X), "rbf")
    Z = array_api_strict.asarray(X)
    for options in ({}, {"order": 4}):
        value = np.from_dlpack(graph.filter(Z, HEAT, **options))
        for i in range(2):
            truth = gspnl.feature_graph(X[i], "rbf").filter(X[i], HEAT, **options)
            assert relative(value[i], truth) < 1e-12


def test_norms_of_huge_and_tiny_signals():
    X, graph, _ = graphs(n=40)
    single = gspnl.feature_graph(X.astype(np.float32), kernel="dot")
    assert single.norm(np.full((40, 1), 1e25, np.float32)) < np.inf
    assert graph.norm(np.full((40, 1), 1e-170)) > 0
    with pytest.raises(InputError, match="not finite"):
        single.apply(np.full((40, 1), 1e39))


def test_degenerate_arguments_raise_and_degenerate_graphs_filter():
    X, graph, _ = graphs(n=40)
    softmax = gspnl.feature_graph(X, kernel="dot", normalization="softmax")
    with pytest.raises(gspnl.errors.NonsymmetricError, match="no real modes to deflate"):
        softmax.filter(X, HEAT, order=1, deflate=2)
    with pytest.raises(InputError, match="must be True or False"):
        gspnl.feature_graph(X, kernel="dot", self_loops="no")
    with pytest.raises(InputError, match="from 0 to 100000"):
        graph.filter(X, HEAT, order=10**9)
    with pytest.raises(InputError, match="masked array"):
        gspnl.feature_graph(np.ma.masked_array(X, X > 1))
    with pytest.raises(InputError, match="not an array of numbers"):
        gspnl.feature_graph([[1, 2], [3]])
    for interval in (3, ("a", "b"), (0, 1, 2), (2, 0)):
        with pytest.raises(InputError, match="must be \\(lo, hi\\)"):
            graph.filter(X, HEAT, order=2, interval=interval)
    with pytest.raises(InputError, match="orders is empty or no sequence"):
        gspnl.compare(graph, X, HEAT, orders=5)
    alone = gspnl.feature_graph(-np.ones((6, 2)), kernel="dot")
    plan = alone.chebyshev(HEAT, order=2, method="least_squares")
    assert relative(plan(np.eye(6)), np.eye(6)) < 1e-15
    on = gspnl.chebyshev.fit(responses.low_pass(0.5), 9, spectrum=[0.1, 0.4, 0.9])
    assert on.error_bound == pytest.approx(np.abs(on([0.1, 0.4, 0.9]) - [1, 1, 0]).max())
    truth = scipy.linalg.expm(-2 * (np.eye(40) - graph.dense())) @ X
    assert relative(graph.filter(X, HEAT, order=20, method="minimax"), truth) < 1e-10
