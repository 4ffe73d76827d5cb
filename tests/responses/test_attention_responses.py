"""Responses of self-attention equal their matrix formulas on a dense graph."""

from __future__ import annotations

import numpy as np
import pytest

import gspnl
from gspnl import responses
from gspnl.errors import InputError

N = 40
RNG = np.random.default_rng(7)
X, Z = RNG.standard_normal((N, 6)), RNG.standard_normal((N, 3))
ONE, MEAN = np.eye(N), np.full((N, N), 1 / N)


def graphs():
    for normalization in ("random_walk", "symmetric", "bistochastic"):
        for kernel, options in (("rbf", {"sigma": 2.0}), ("dot", {"feature_map": "relu"})):
            graph = gspnl.feature_graph(X, kernel, normalization=normalization, **options)
            yield pytest.param(graph, id=f"{kernel}-{normalization}")


FILTERS = {
    "gfsa": (
        responses.gfsa(0.3, 0.9, -0.4, order=5),
        lambda A: 0.3 * ONE + 0.9 * A - 0.4 * (A + 4 * (A @ A - A)),
    ),
    "gfsa of order 2": (responses.gfsa(0.0, 0.0, 1.0, order=2), lambda A: A @ A),
    "gfsa of order 1": (responses.gfsa(0.0, 0.0, 1.0, order=1), lambda A: A),
    "chebyshev": (
        responses.chebyshev((0.5, -1.0, 2.0, 0.25)),
        lambda A: 0.5 * ONE + A + 2 * (2 * A @ A - ONE) + 0.25 * (3 * A - 4 * A @ A @ A),
    ),
    "chebyshev of order 0": (responses.chebyshev((2.0,)), lambda A: 2 * ONE),
    "featscale": (responses.featscale(0.5, -2.0), lambda A: ONE + 0.5 * A - 2 * (ONE - A)),
    "contranorm": (responses.contranorm(0.2), lambda A: ONE - 0.2 * A),
}


@pytest.mark.parametrize("graph", list(graphs()))
@pytest.mark.parametrize("name", FILTERS)
def test_filters_equal_the_matrix_formula(name, graph):
    g, formula = FILTERS[name]
    expected = formula(graph.dense()) @ Z
    assert np.abs(graph.filter(Z, g) - expected).max() < 1e-12
    assert np.abs(graph.filter(Z, g, order=5) - expected).max() < 1e-12


@pytest.mark.parametrize("kernel", ["rbf", "dot"])
def test_attnscale_is_the_papers_matrix_where_columns_sum_to_1(kernel):
    graph = gspnl.feature_graph(X, kernel, normalization="bistochastic")
    expected = (MEAN + 1.5 * (graph.dense() - MEAN)) @ Z
    assert np.abs(graph.filter(Z, responses.attnscale(0.5)) - expected).max() < 1e-12
    A = gspnl.feature_graph(X, kernel).dense()  # columns do not sum to 1: the eigenvalues agree
    mu = np.sort(np.linalg.eigvals(MEAN + 1.5 * (A - MEAN)).real)
    lam = np.sort(1 - np.linalg.eigvals(A).real)
    lam[0] = max(lam[0], 0.0)
    assert np.abs(np.sort(responses.attnscale(0.5)(lam)) - mu).max() < 1e-12


def test_attnscale_with_omega_0_is_nl():
    lam = np.linspace(0, 2, 101)
    assert np.array_equal(responses.attnscale()(lam), responses.nl()(lam))
    assert responses.attnscale().jumps == ()
    assert responses.attnscale(0.5).jumps == (1e-9,)


def test_featscale_scales_mean_and_remainder():
    graph = gspnl.graph_from_weights(np.ones((N, N)))
    mean = Z.mean(0)
    filtered = graph.filter(Z, responses.featscale(0.5, 2.0))
    assert np.abs(filtered - (1.5 * mean + 3 * (Z - mean))).max() < 1e-12


def test_gfsa_starts_as_nl():
    lam = np.linspace(0, 2, 101)
    assert np.array_equal(responses.gfsa()(lam), responses.nl()(lam))


def test_chebyshev_equals_numpys_series():
    theta = RNG.standard_normal(31)
    lam = np.linspace(0, 2, 101)
    expected = np.polynomial.chebyshev.chebval(lam - 1, theta)
    assert np.abs(responses.chebyshev(tuple(theta))(lam) - expected).max() < 1e-13


@pytest.mark.parametrize("order", [0, -1, 2.5, None])
def test_gfsa_takes_orders_from_1(order):
    with pytest.raises(InputError, match="gfsa: order"):
        responses.gfsa(order=order)
    assert responses.gfsa(order=3.0).order == 3
