"""Filters of directed graphs against dense matrix functions, and their bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from support.directed import (
    DRAWS,
    attention,
    causal,
    cycle,
    lazy,
    rows_to_one,
    similar,
    stationary,
)

import gspnl
from gspnl import responses
from gspnl.errors import InputError, NonsymmetricError

HEAT = responses.heat(2.0)


def eye(A):
    return np.eye(len(A))


def dense_low_pass(L):
    """Logistic function of a matrix, by its inverse."""
    return np.linalg.inv(eye(L) + scipy.linalg.expm((L - 0.5 * eye(L)) / 0.3))


FUNCTIONS = {
    "heat": (responses.heat(2.0), lambda L: scipy.linalg.expm(-2 * L)),
    "long_heat": (responses.heat(25.0), lambda L: scipy.linalg.expm(-25 * L)),
    "tikhonov": (responses.tikhonov(4.0), lambda L: np.linalg.inv(eye(L) + 4 * L)),
    "smooth_low_pass": (responses.smooth_low_pass(0.5, 0.3), dense_low_pass),
    "band_pass": (
        responses.smooth_band_pass(0.8, 0.5),
        lambda L: scipy.linalg.expm(-np.linalg.matrix_power((L - 0.8 * eye(L)) / 0.5, 2) / 2),
    ),
    "own": (lambda lam: np.cos(3 * lam) + lam**2, lambda L: scipy.linalg.cosm(3 * L) + L @ L),
}


def graph_of(A):
    return gspnl.graph_from_weights(A, "softmax")


def operator_error(plan, truth, pi):
    """‖p(A) − g(L)‖_π, the largest relative error over all signals."""
    return np.linalg.norm(similar(plan(np.eye(len(truth))) - truth, pi), 2)


@pytest.mark.parametrize("kind", sorted(DRAWS))
def test_no_error_exceeds_its_bound_on_200_graphs(kind):
    finite = 0
    for seed in range(25):
        rng = np.random.default_rng([seed, len(kind)])
        A = DRAWS[kind](rng, int(rng.integers(4, 36)))
        A = A / A.sum(1, keepdims=True)
        graph, pi = graph_of(A), stationary(A)
        name = sorted(FUNCTIONS)[seed % len(FUNCTIONS)]
        response, function = FUNCTIONS[name]
        truth = function(np.eye(len(A)) - A)
        for order in (0, 1, 3, 8, 20):
            try:
                plan = graph.chebyshev(response, order)
            except NonsymmetricError as error:
                assert "is not below the response itself" in str(error)
                continue
            if not math.isfinite(plan.error_bound):  # up to order 1, without a certificate
                assert order <= 1
                continue
            finite += 1
            assert plan.order <= order
            error = operator_error(plan, truth, pi)
            assert error <= plan.error_bound
            Z = rng.standard_normal((len(A), 3))
            gap = graph.norm(plan(Z) - truth @ Z)
            assert gap <= plan.error_bound * graph.norm(Z)
        exact = graph.filter(np.eye(len(A)), response)
        size = np.linalg.norm(similar(truth, pi), 2)
        assert np.linalg.norm(similar(exact - truth, pi), 2) <= 1e-10 * size
        plan = graph.chebyshev(response, tol=1e-5)
        assert operator_error(plan, truth, pi) <= plan.error_bound <= 1e-5
    assert finite > 80


def test_a_bound_is_not_far_above_the_error():
    """On a normal A the disc of σ₂ is sharp up to the shape of its spectrum."""
    n = 12
    A = (cycle(n) + cycle(n).T + cycle(n) @ cycle(n)) / 3
    plan = graph_of(A).chebyshev(HEAT, 4)
    error = operator_error(plan, scipy.linalg.expm(-2 * (np.eye(n) - A)), np.full(n, 1 / n))
    assert error <= plan.error_bound <= 10 * error


def test_heat_on_a_disc_has_the_error_of_its_taylor_series():
    """σ₂ = 0.33, t = 2, order 6: Σ_{k > 6} e⁻² 0.66^k / k! = 1.5e-6."""
    rng = np.random.default_rng(0)
    A = attention(rng, 30)
    pi = stationary(A)
    second = np.linalg.svd(similar(A, pi), compute_uv=False)[1]
    A = np.ones((30, 1)) @ pi[None] + 0.33 / second * (A - np.ones((30, 1)) @ pi[None])
    assert (A > 0).all()
    from gspnl.filters.directed.expansions import Region, expand

    found = expand(HEAT, Region(0.0, 0.33, 0.33, 1.0), 1.0)
    tail = sum(math.exp(-2) * 0.66**k / math.factorial(k) for k in range(7, 40))
    assert found.tail(6) == pytest.approx(tail, rel=0.02)
    assert found.tails()[6] == pytest.approx(tail)
    plan = graph_of(A).chebyshev(HEAT, 6)
    truth = scipy.linalg.expm(-2 * (np.eye(30) - A))
    assert operator_error(plan, truth, pi) <= plan.error_bound <= 1.51e-6


def test_lazy_walks_take_a_disc_about_their_own_centre():
    A = lazy(np.random.default_rng(0), 30)
    plan = graph_of(A).chebyshev(responses.heat(5.0), 4)
    assert plan.region.centre == pytest.approx(0.8, abs=0.1)
    about_zero = 2.0  # a Taylor series about 0 has no digit at this order
    assert plan.error_bound < 1e-3 < about_zero


def test_long_filters_use_the_numerical_range_where_the_disc_is_large():
    A = DRAWS["sharp"](np.random.default_rng(3), 30)
    graph = graph_of(A)
    plan = graph.chebyshev(responses.tikhonov(4.0), 10)
    assert plan.region.constant > 1
    assert plan.region.across < graph.directed_spectrum().sigma[1]


@pytest.mark.parametrize("storage", ["dense", "lowrank", "tiled"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_storages_and_dtypes_agree_with_dense_functions(storage, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 4)).astype(dtype)
    E = tuple((rng.standard_normal((2, 4, 3)) / 2).astype(dtype))
    kernel = "embedded_gaussian" if storage == "tiled" else "dot"
    options = {} if storage == "tiled" else {"feature_map": "softplus"}
    graph = gspnl.feature_graph(
        X, kernel, embed=E, normalization="softmax", storage=storage, **options
    )
    A = np.asarray(graph.dense(), float)
    truth = scipy.linalg.expm(-2 * (np.eye(50) - A))
    Z = rng.standard_normal((50, 3)).astype(dtype)
    exact = graph.filter(Z, HEAT)
    assert exact.dtype == dtype
    assert np.abs(exact - truth @ Z).max() < (1e-12 if dtype == np.float64 else 1e-5)
    plan = graph.chebyshev(HEAT, 5)
    gap = graph.norm(plan(Z) - (truth @ Z).astype(dtype)) / graph.norm(Z)
    assert gap <= plan.error_bound < 1e-2
    assert np.array_equal(plan(Z), graph.filter(Z, HEAT, order=5))


def test_large_graphs_are_filtered_by_products():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((800, 3)) / 2
    graph = gspnl.feature_graph(X, "gaussian", normalization="softmax", storage="tiled")
    Z = rng.standard_normal((800, 2))
    A = graph.dense()
    for response, truth in (
        (HEAT, scipy.linalg.expm(-2 * (np.eye(800) - A)) @ Z),
        (responses.tikhonov(9.0), np.linalg.solve(np.eye(800) + 9 * (np.eye(800) - A), Z)),
    ):
        assert np.abs(graph.filter(Z, response) - truth).max() < 1e-11
        plan = graph.chebyshev(response, 4)
        assert graph.norm(plan(Z) - truth) <= plan.error_bound * graph.norm(Z)


def test_sparse_torch_and_batched_graphs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    A = DRAWS["sparse"](rng, 40)
    Z = rng.standard_normal((40, 2))
    truth = scipy.linalg.expm(-2 * (np.eye(40) - A)) @ Z
    assert np.abs(graph_of(scipy.sparse.csr_array(A)).filter(Z, HEAT) - truth).max() < 1e-12
    both = graph_of(torch.tensor(np.stack([A, attention(rng, 40)])))
    found = both.filter(torch.tensor(Z), HEAT)
    assert found.shape == (2, 40, 2)
    assert np.abs(found[0].numpy() - truth).max() < 1e-12
    assert graph_of(A).filter(Z[:, 0], HEAT) == pytest.approx(truth[:, 0], abs=1e-12)


def test_the_norm_is_the_stationary_one():
    A = attention(np.random.default_rng(0), 20)
    Z = np.random.default_rng(1).standard_normal((20, 3))
    expected = np.sqrt((stationary(A)[:, None] * Z**2).sum())
    assert graph_of(A).norm(Z) == pytest.approx(expected)
    assert graph_of(np.stack([A, A])).norm(np.stack([Z, Z])) == pytest.approx(2**0.5 * expected)
    with pytest.raises(NonsymmetricError, match=r"no stationary norm.*transient"):
        graph_of(causal(np.random.default_rng(0), 5)).norm(np.ones(5))


def test_compare_measures_errors_within_bounds():
    graph = graph_of(attention(np.random.default_rng(0), 40))
    Z = np.random.default_rng(1).standard_normal((40, 3))
    table = gspnl.compare(graph, Z, HEAT, orders=range(1, 12))
    assert (table.errors <= table.bounds).all()
    assert table.errors[-1] < 1e-5


@pytest.mark.parametrize(
    "response",
    [
        responses.low_pass(1.0),
        lambda lam: np.abs(lam - 1),
        lambda lam: np.maximum(lam, 0.7),
        lambda lam: np.conj(1 - lam) ** 2,
        lambda lam: np.real(1 - lam) ** 3,
        lambda lam: np.heaviside(lam - 1, 0.0),
        lambda lam: np.array([math.exp(-x) for x in lam]),
        lambda lam: np.exp(-np.asarray(lam, dtype=float)),
        lambda lam: 1 / ((lam - 1) ** 2 + 0.01),
        lambda lam: np.sin(1 / (lam - 1 + 0.3j)).real,
    ],
)
def test_responses_that_are_not_analytic_are_refused(response):
    graph = graph_of(attention(np.random.default_rng(0), 30))
    Z = np.ones((30, 1))
    for options in ({}, {"order": 6}, {"tol": 1e-3}):
        with pytest.raises((NonsymmetricError, InputError), match=r"not analytic at the complex λ"):
            graph.filter(Z, response, **options)


def test_poles_outside_the_region_are_allowed():
    A = 0.3 * attention(np.random.default_rng(0), 30) + 0.7 / 30
    Z = np.random.default_rng(1).standard_normal((30, 2))
    pole = np.linalg.inv((np.eye(30) - A - np.eye(30)) @ (-A) + 0.5 * np.eye(30))
    found = graph_of(A).filter(Z, lambda lam: 1 / ((lam - 1) ** 2 + 0.5))
    assert np.abs(found - pole @ Z).max() < 1e-11


def test_an_ideal_low_pass_that_separates_the_constant_is_its_projector():
    A = attention(np.random.default_rng(0), 30, 0.3)
    Z = np.random.default_rng(1).standard_normal((30, 2))
    found = graph_of(A).filter(Z, responses.low_pass(0.05))
    assert np.abs(found - stationary(A) @ Z).max() < 1e-12


def test_known_answers():
    Z = np.random.default_rng(0).standard_normal((6, 2))
    pi = np.arange(1.0, 7) / 21
    mean = np.ones((6, 1)) @ pi[None] @ Z
    found = graph_of(np.ones((6, 1)) @ pi[None]).filter(Z, HEAT)
    assert np.abs(found - (mean + math.exp(-2) * (Z - mean))).max() < 1e-13
    turned = scipy.linalg.expm(-2 * (np.eye(6) - cycle(6))) @ Z
    assert np.abs(graph_of(cycle(6)).filter(Z, HEAT) - turned).max() < 1e-13
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    expected = scipy.linalg.expm(-2 * (np.eye(2) - swap)) @ Z[:2]
    assert np.abs(graph_of(swap).filter(Z[:2], HEAT) - expected).max() < 1e-13
    assert np.abs(graph_of(np.ones((2, 2))).filter(Z[:2], lambda lam: 0 * lam)).max() == 0


def test_rounding_of_row_sums_is_in_the_bound():
    """Of τ = 500, whose slope at λ = 0 is that large."""
    A = rows_to_one(np.array([[0.1, 1.0], [1.0, 0.9]]))
    plan = graph_of(A).chebyshev(responses.tikhonov(500.0), 3)
    assert plan.error_bound > 500 * 2.0**-52
    with pytest.raises(InputError, match="not finite on the spectrum"):
        graph_of(A).filter(np.ones(2), lambda lam: np.where(np.real(lam) > 0.5, np.nan, lam))


def test_graphs_without_a_stationary_norm_take_linear_responses_only():
    A = causal(np.random.default_rng(0), 20)
    Z = np.random.default_rng(1).standard_normal((20, 2))
    two = np.kron(np.eye(2), np.ones((3, 3)) + np.eye(3))
    for response, truth in (
        (responses.nl(), A @ Z),
        (responses.snl(0.5, 2.0), 0.5 * Z + 2 * A @ Z),
        (responses.gsnl(1.0, 2.0, 3.0), Z + 2 * A @ Z + 3 * (2 * A @ Z - Z)),
    ):
        assert np.abs(graph_of(A).filter(Z, response) - truth).max() < 1e-13
        assert np.abs(graph_of(A).filter(Z, response, order=3) - truth).max() < 1e-13
        assert np.abs(graph_of(A).filter(Z, response, tol=1e-9) - truth).max() < 1e-13
    for options in ({}, {"order": 4}, {"tol": 1e-3}):
        with pytest.raises(NonsymmetricError, match=r"19 of 20 nodes are transient.*dobrushin"):
            graph_of(A).filter(Z, HEAT, **options)
        with pytest.raises(NonsymmetricError, match=r"closed classes"):
            graph_of(two).filter(np.ones((6, 1)), HEAT, **options)
    assert graph_of(A).chebyshev(HEAT, 1).error_bound == math.inf


def test_a_bound_above_the_response_is_refused_with_its_numbers():
    graph = graph_of(cycle(8))
    with pytest.raises(
        NonsymmetricError, match=r"order=3.*best bound.*σ₂ = 1.*allow_nonsymmetric=True"
    ):
        graph.chebyshev(lambda lam: np.cos(40 * lam), 3)
    with pytest.raises(NonsymmetricError, match=r"tol=1e-30 .*best bound"):
        graph.chebyshev(HEAT, tol=1e-30)


def test_a_series_without_a_bound_is_taken_where_it_is_asked_for():
    A = attention(np.random.default_rng(0), 20)
    graph = graph_of(A)
    theta = np.polynomial.chebyshev.chebinterpolate(lambda t: np.exp(-2 * (t + 1)), 2)
    plain = theta[0] * np.eye(20) - theta[1] * A + theta[2] * (2 * A @ A - np.eye(20))
    plan = graph.chebyshev(HEAT, 2, allow_nonsymmetric=True)
    assert plan.error_bound == math.inf
    assert np.abs(plan(np.eye(20)) - plain).max() < 1e-13
    for options in ({"interval": (0.0, 2.0)}, {"deflate": False}, {"method": "minimax"}):
        with pytest.raises(NonsymmetricError, match=r"order=2.*leave out method="):
            graph.chebyshev(HEAT, 2, **options)
    assert graph.chebyshev(HEAT, 2, deflate=True).error_bound < math.inf


def test_gradients_pass_through_signals_and_features():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = torch.tensor(rng.standard_normal((12, 3)) / 2, requires_grad=True)
    Z = torch.tensor(rng.standard_normal((12, 2)), requires_grad=True)

    def filtered(x, z):
        graph = gspnl.feature_graph(x, "gaussian", normalization="softmax", storage="dense")
        return graph.filter(z, HEAT)

    assert torch.autograd.gradcheck(filtered, (X, Z), atol=1e-6)


def test_a_filter_says_what_it_is():
    plan = graph_of(attention(np.random.default_rng(0), 30)).chebyshev(HEAT, 6)
    assert "order 6" in repr(plan)
    assert "stationary norm" in repr(plan)
    lam = np.linspace(*plan.series.interval, 50)
    assert np.abs(plan.series(lam) - np.exp(-2 * lam)).max() <= plan.error_bound
    with pytest.raises(InputError, match="Z has shape"):
        plan(np.ones((4, 1)))


def test_the_bound_of_a_small_graph_falls_with_the_order():
    rng = np.random.default_rng(5)
    graph = gspnl.graph_from_weights(rng.random((16, 16)) ** 4, normalization="softmax")
    bounds = [graph.chebyshev(gspnl.responses.heat(2.0), order=k).error_bound for k in range(1, 11)]
    assert (np.diff(bounds) < 0).all()
