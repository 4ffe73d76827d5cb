"""Errors for bad input name the value, the reason and a remedy."""

from __future__ import annotations

import numpy as np
import pytest

import gspnl
from gspnl import responses
from gspnl._base import array
from gspnl.errors import (
    ConvergenceError,
    DegreeError,
    InputError,
    NonsymmetricError,
    SizeError,
)

X = np.random.default_rng(0).standard_normal((40, 3))
Z = np.random.default_rng(1).standard_normal((40, 2))
HEAT = responses.heat(1.0)


def spoiled(value, *index):
    bad = X.copy()
    bad[index] = value
    return bad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_raise_with_their_index(value):
    with pytest.raises(InputError, match=r"X has 1 value\(s\) that are not finite.*index \(7, 2\)"):
        gspnl.feature_graph(spoiled(value, 7, 2))


def test_huge_finite_features_are_accepted_as_finite():
    graph = gspnl.feature_graph(X * 1e160, kernel="cosine")
    assert np.isfinite(graph.degrees).all()


def test_signals_that_are_not_finite_raise_with_their_index():
    graph = gspnl.feature_graph(X, kernel="dot")
    bad = Z.copy()
    bad[3, 1] = np.nan
    for verb in (graph.apply, graph.laplacian, lambda z: graph.filter(z, HEAT)):
        with pytest.raises(InputError, match=r"Z has 1 value.*index \(3, 1\)"):
            verb(bad)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (40, 0), (40,)])
def test_too_few_nodes_or_columns_raise(shape):
    with pytest.raises(InputError, match=r"N ≥ 2 nodes"):
        gspnl.feature_graph(np.ones(shape))


@pytest.mark.parametrize("dtype", [np.complex128, np.float16])
def test_unsupported_dtypes_raise(dtype):
    with pytest.raises(InputError, match="pass real float32 or float64"):
        gspnl.feature_graph(X.astype(dtype))
    with pytest.raises(InputError, match="not an array of numbers"):
        gspnl.feature_graph([["a", None], [1, 2]])


def test_integers_become_float64():
    assert (
        gspnl.feature_graph(np.arange(12).reshape(6, 2), kernel="dot").degrees.dtype == np.float64
    )


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (
            (np.ones((4, 2)), np.ones((4, 2))),
            r"embed\[0\] has shape \(4, 2\); features of 3 columns",
        ),
        ((np.ones((3, 2)), np.ones((3, 5))), r"widths 2 and 5; both embeddings need the same r"),
        (np.ones((3, 2)), r"must be a pair \(W_phi, W_psi\)"),
        ((np.ones(3), np.ones(3)), r"need \(3, r\)"),
        ((np.full((3, 2), np.nan), np.ones((3, 2))), r"embed\[0\] has 6 value"),
    ],
)
def test_mismatched_embeddings_raise(embed, message):
    with pytest.raises(InputError, match=message):
        gspnl.feature_graph(X, embed=embed)


def test_unexpected_and_missing_embeddings_raise():
    with pytest.raises(InputError, match="leave embed=None"):
        gspnl.feature_graph(X, "rbf", embed=(np.ones((3, 2)), np.ones((3, 2))))
    with pytest.raises(InputError, match=r"needs embed=\(w_a, w_b\)"):
        gspnl.feature_graph(X, "concatenation")


@pytest.mark.parametrize("storage", ["dense", "lowrank"])
def test_raw_dot_products_with_nonpositive_degrees_raise(storage):
    with pytest.raises(DegreeError, match=r"of 40 degrees ≤ 0.*pass feature_map= one of 'elu1'"):
        gspnl.feature_graph(X, feature_map=None, storage=storage)


def test_degrees_that_overflow_or_underflow_raise():
    with pytest.raises(DegreeError, match=r"span a factor of exp\(\d+\).*a larger temperature="):
        gspnl.feature_graph((X * 30).astype(np.float32), "gaussian")
    with pytest.raises(DegreeError, match=r"scores of this kernel overflow float64.*temperature="):
        gspnl.feature_graph(X * 1e160, "gaussian")
    with pytest.raises(DegreeError, match="loses its digits"):
        gspnl.graph_from_weights(np.full((3, 3), 1e-310))
    apart = np.zeros((40, 6))
    apart[:20, :3], apart[20:, 3:] = np.abs(X[:20]), np.abs(X[20:]) * 1e-170
    with pytest.raises(DegreeError, match="degrees of 20 nodes underflow float64"):
        gspnl.feature_graph(apart, kernel="dot")
    tiny, plain = (
        gspnl.feature_graph(np.abs(X) * 1e-160, kernel="dot"),
        gspnl.feature_graph(np.abs(X), kernel="dot"),
    )
    assert np.allclose(tiny.dense(), plain.dense(), rtol=1e-12)  # scale does not matter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "gausian"}, "unknown kernel 'gausian'; did you mean 'gaussian'"),
        ({"normalization": "randomwalk"}, "did you mean 'random_walk'"),
        ({"storage": "low_rank"}, "unknown storage 'low_rank'; did you mean 'lowrank'"),
        ({"feature_map": "rely"}, "unknown feature map 'rely'; did you mean 'relu'"),
        ({"kernel": "rbf", "sgima": 1.0}, "has no option 'sgima'; it takes 'sigma'"),
        ({"kernel": "rbf", "sigma": -1.0}, r"sigma=-1.0 must be a finite number > 0"),
        ({"kernel": "embedded_gaussian", "temperature": 0}, "temperature=0 must be"),
        ({"kernel": "anchors", "anchors": 0}, "anchors=0 must be a whole number ≥ 1"),
        (
            {"kernel": "rbf", "storage": "lowrank"},
            "cannot hold the RBF kernel; use storage='dense'",
        ),
        ({"kernel": 3}, "a registered name or a Kernel"),
        ({"normalization": "bistochastic", "feature_map": None}, "needs non-negative weights"),
    ],
)
def test_unknown_names_and_options_raise(arguments, message):
    with pytest.raises(InputError, match=message):
        gspnl.feature_graph(X, **arguments)


def test_a_pattern_without_bistochastic_scaling_raises():
    # Node 0 has weight only with nodes 1 and 2, which have weight only with node 0.
    star = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    swap = (np.eye(2), np.eye(2)[::-1].copy())
    with pytest.raises(ConvergenceError, match=r"Sinkhorn steps.*use normalization='random_walk'"):
        gspnl.feature_graph(star, embed=swap, normalization="bistochastic")


def test_a_response_that_is_not_finite_on_the_spectrum_raises():
    graph = gspnl.feature_graph(X, kernel="dot")
    with np.errstate(divide="ignore"):
        for options in ({}, {"order": 3}, {"tol": 1e-3}):
            with pytest.raises(InputError, match=r"is not finite on the spectrum: g\("):
                graph.filter(Z, lambda lam: np.where(lam < 1e-9, np.nan, 1.0), **options)
    with pytest.raises(InputError, match="must work elementwise"):
        graph.filter(Z, lambda lam: np.ones(3), order=4)


@pytest.mark.parametrize("order", [-1, 1.5, True, "3"])
def test_invalid_orders_raise(order):
    graph = gspnl.feature_graph(X, kernel="dot")
    with pytest.raises(InputError, match=r"must be a whole number from 0 to 100000"):
        graph.filter(Z, HEAT, order=order)
    with pytest.raises(InputError, match=r"must be a whole number from 0 to 100000"):
        gspnl.chebyshev.fit(HEAT, order=order)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 2, "tol": 1e-3}, "pass one of order= and tol="),
        ({"tol": 0.0}, "must be a finite number > 0"),
        ({"tol": 1e-30}, "below what rounding allows"),
        ({"order": 2, "method": "minmax"}, "did you mean 'minimax'"),
        ({"order": 2, "deflate": -1}, "a number of modes ≥ 0"),
        ({"order": 2, "deflate": 39}, "asks for more modes with λ < 1"),
        ({"order": 2, "interval": (0.9, 1.0)}, "does not cover the spectrum"),
        ({"order": 2, "interval": (1.0, 0.0)}, "does not cover|lo < hi"),
        ({"deflate": 2}, "belong to a Chebyshev filter"),
    ],
)
def test_invalid_filter_options_raise(options, message):
    with pytest.raises(InputError, match=message):
        gspnl.feature_graph(X, kernel="dot").filter(Z, HEAT, **options)


def test_tol_with_a_response_that_does_not_resolve_raises():
    with pytest.raises(InputError, match="no order is certified to a tolerance"):
        gspnl.feature_graph(X, kernel="dot").filter(Z, responses.low_pass(0.7), tol=1e-3)


def test_values_of_the_wrong_length_raise():
    graph = gspnl.feature_graph(X, kernel="dot")
    with pytest.raises(InputError, match=r"omega has shape \(40,\); this spectrum has 5 distinct"):
        graph.filter(Z, np.ones(40))
    with pytest.raises(InputError, match="not finite"):
        graph.filter(Z, np.full(graph.spectrum().eigenvalues.shape, np.nan))


@pytest.mark.parametrize("shape", [(39, 2), (2, 40), (40, 2, 2), (39,), ()])
def test_signals_of_another_shape_raise(shape):
    with pytest.raises(InputError, match=r"signals on this graph have shape \(..., 40, c\)"):
        gspnl.feature_graph(X, kernel="dot").apply(np.ones(shape))


def test_signals_of_another_batch_raise():
    graph = gspnl.feature_graph(np.stack([X, X]), kernel="dot")
    with pytest.raises(InputError, match="they must agree"):
        graph.apply(np.ones((3, 40, 2)))
    with pytest.raises(InputError, match=r"take one, graph\[i\]"):
        graph.spectrum()
    with pytest.raises(InputError, match="index each with a number"):
        graph["a"]
    with pytest.raises(InputError, match="it is a single graph"):
        graph[0][0]


@pytest.mark.parametrize("index", [40, -41, 1.5, "a", [[0]]])
def test_invalid_row_indices_raise(index):
    with pytest.raises(InputError, match="index="):
        gspnl.feature_graph(X, kernel="dot").rows(index)


def test_a_dense_matrix_that_does_not_fit_raises_before_allocating(monkeypatch):
    many = np.ones((300_000, 2))
    with pytest.raises(SizeError, match=r"would take 670.6 GiB.*use storage='tiled'"):
        gspnl.feature_graph(many, "rbf", storage="dense")
    with pytest.raises(SizeError, match=r"670.6 GiB.*use storage='lowrank'"):
        gspnl.feature_graph(many, kernel="dot", storage="dense")
    graph = gspnl.feature_graph(many, kernel="dot")
    with pytest.raises(MemoryError, match=r"670.6 GiB.*use apply\(\), rows\(\) or filter\(\)"):
        graph.dense()
    monkeypatch.setattr(array, "available_memory", lambda: 20_000)
    with pytest.raises(SizeError, match="the eigenvectors"):
        gspnl.feature_graph(X, "rbf").spectrum()


def test_spectral_methods_of_a_softmax_graph_raise():
    graph = gspnl.feature_graph(X, "embedded_gaussian", normalization="softmax")
    causal = gspnl.graph_from_weights(np.tril(graph.dense()), "softmax")  # no stationary norm
    for verb in (
        graph.spectrum,
        causal.spectrum,
        lambda: graph.filter(Z, np.ones(40)),
    ):
        with pytest.raises(
            NonsymmetricError, match=r"no real spectrum.*use normalization='random_walk'"
        ):
            verb()
    with pytest.raises(NonsymmetricError, match=r"39 of 40 nodes are transient.*dobrushin"):
        causal.filter(Z, HEAT)
    with pytest.raises(
        NonsymmetricError, match=r"order=2 on a softmax graph.*8·10⁶.*allow_nonsymm"
    ):
        causal.filter(Z, HEAT, order=2)
    with pytest.raises(NonsymmetricError, match="linear in λ"):
        causal.filter(Z, HEAT, tol=1e-3)
    A = graph.dense()
    assert np.abs(graph.filter(Z, responses.ns(), tol=1e-9) - (A @ Z - Z)).max() < 1e-12
    plan = graph.chebyshev(HEAT, order=3, allow_nonsymmetric=True)
    assert plan.error_bound == np.inf
    x = -A  # on [0, 2] the scaled Laplacian is L − I = −A
    theta = np.polynomial.chebyshev.chebinterpolate(lambda t: np.exp(-(t + 1)), 3)
    powers = theta[0] * np.eye(40) + theta[1] * x + theta[2] * (2 * x @ x - np.eye(40))
    powers += theta[3] * (4 * x @ x @ x - 3 * x)
    assert np.abs(plan(Z) - powers @ Z).max() < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: responses.heat(float("nan")), "t=nan must be a finite number"),
        (lambda: responses.heat("3"), "must be a finite number"),
        (lambda: responses.tikhonov(-0.5), "must be > -0.5"),
        (lambda: responses.band_pass(0.5, 0.2), "is above"),
        (lambda: responses.smooth_low_pass(0.5, 0.0), "width=0.0 must be a finite number > 0"),
        (lambda: responses.smooth_band_pass(0.5, -1.0), "width=-1.0 must be a finite number > 0"),
        (lambda: responses.parse("heet(3)"), "did you mean 'heat'"),
        (lambda: responses.parse("heat(3, 4)"), r"does not fit heat\(t\)"),
        (lambda: responses.parse("heat(3"), "not of the form"),
        (lambda: responses.parse("__import__('os')"), "unknown response"),
    ],
)
def test_invalid_parameters_of_responses_raise(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": (0.0, 0.0)}, "lo < hi"),
        ({"interval": (0.0, np.inf)}, "both finite"),
        ({"method": "least_squares"}, "needs spectrum="),
        ({"spectrum": [0.0, 3.0]}, r"spans \[0, 3\], outside interval"),
        ({"spectrum": [[0.0, 1.0]]}, "one-dimensional"),
        ({"response": np.ones(3)}, "needs spectrum="),
        (
            {"response": np.ones(3), "spectrum": [0.0, 1.0]},
            r"\(3,\) responses were given for \(2,\)",
        ),
        ({"response": np.ones(2), "spectrum": [0.0, 1.0]}, "use method='least_squares'"),
        ({"response": responses.low_pass(0.5), "method": "minimax"}, "no polynomial comes near"),
    ],
)
def test_invalid_arguments_of_fits_raise(arguments, message):
    arguments = {"response": HEAT, "order": 2, **arguments}
    with pytest.raises(InputError, match=message):
        gspnl.chebyshev.fit(**arguments)


def test_invalid_arguments_of_compare_and_modes_raise():
    graph = gspnl.feature_graph(X, kernel="dot")
    with pytest.raises(InputError, match="orders is empty"):
        gspnl.compare(graph, Z, HEAT, orders=[])
    for k in (0, 41, 1.5):
        with pytest.raises(InputError, match="a whole number from 1 to 40, the number of nodes"):
            graph.spectrum().modes(k)


def test_registering_a_name_twice_raises():
    with pytest.raises(InputError, match="registered already"):
        gspnl.KERNELS.register("dot")(object)
