"""Low-rank spectra: rank-deficient factors, wide factors, responses that jump."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from support.formulas import affinity, dense_filter, eigen, normalized, relative, weights

import gspnl
from gspnl import responses
from gspnl._base.qr import Reflection, tall_qr


def pair(rng, c=6, r=5, kind="random"):
    w_phi, w_psi = rng.standard_normal((2, c, r))
    if kind == "duplicate":
        w_phi[:, 1], w_psi[:, 1] = w_phi[:, 0], w_psi[:, 0]
    if kind == "zero":
        w_phi[:, 2] = w_psi[:, 3] = 0
    if kind == "equal":
        w_psi = w_phi.copy()
    if kind == "unequal scales":
        w_phi, w_psi = w_phi * 300, w_psi / 300
    return w_phi, w_psi


@pytest.mark.parametrize("kind", ["random", "duplicate", "zero", "equal", "unequal scales"])
def test_rank_deficient_factors_give_the_exact_filter(kind):
    rng = np.random.default_rng(0)
    X, Z = rng.standard_normal((150, 6)), rng.standard_normal((150, 3))
    embed = pair(rng, kind=kind)
    graph = gspnl.feature_graph(X, embed=embed, feature_map="softplus")
    W = weights(affinity("dot", X, embed, feature_map="softplus"), "random_walk")
    A, change = normalized(W, "random_walk")
    lam, _, _ = eigen(A, change)
    spectrum = graph.spectrum()
    every = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    tolerance = 1e-10
    assert np.abs(every - lam).max() < tolerance
    assert relative(spectrum.igft(spectrum.gft(Z)), Z) < tolerance
    for g in (responses.heat(3.0), responses.tikhonov(200.0), responses.low_pass(0.9)):
        assert relative(graph.filter(Z, g), dense_filter(A, change, g, Z)) < tolerance
        series = graph.chebyshev(g, order=12, deflate=False).series
        value = graph.filter(Z, g, order=12, deflate=False)
        assert relative(value, dense_filter(A, change, series, Z)) < tolerance


def test_rank_and_multiplicity_are_exact():
    rng = np.random.default_rng(1)
    X = np.abs(rng.standard_normal((500, 3)))
    spectrum = gspnl.feature_graph(X, "dot").spectrum()
    assert spectrum.multiplicities.tolist() == [1, 1, 1, 497]
    X[:, 2] = X[:, 0]
    spectrum = gspnl.feature_graph(X, "dot").spectrum()
    assert spectrum.multiplicities.tolist() == [1, 1, 498]
    assert spectrum.eigenvalues[-1] == 1
    assert "500 nodes" in repr(spectrum)


def test_a_factor_with_as_many_columns_as_nodes():
    rng = np.random.default_rng(2)
    X, Z = rng.standard_normal((7, 6)), rng.standard_normal((7, 2))
    embed = pair(rng)
    graph = gspnl.feature_graph(X, embed=embed, feature_map="exp", storage="lowrank")
    A = graph.dense()
    assert graph.spectrum().multiplicities.sum() == 7
    truth = scipy.linalg.expm(-(np.eye(7) - A)) @ Z
    assert relative(graph.filter(Z, responses.heat(1.0)), truth) < 1e-10
    assert relative(graph.filter(Z, responses.heat(1.0), order=25), truth) < 1e-10
    assert gspnl.feature_graph(X, embed=embed).storage == "dense"  # "auto" sees it gains nothing


def test_a_response_that_jumps_at_one_uses_eigenvectors():
    """The Gram form needs a derivative at λ = 1, where N − r modes are; this response has none."""
    rng = np.random.default_rng(3)
    X, Z = rng.standard_normal((120, 6)), rng.standard_normal((120, 2))
    embed = pair(rng, r=3)
    graph = gspnl.feature_graph(X, embed=embed, feature_map="softplus")
    spectrum = graph.spectrum()
    value = graph.filter(Z, responses.low_pass(1.0))
    A = graph.dense()
    change = 1 / np.sqrt(graph.degrees)
    lam, U, inverse = eigen(A, change)
    keep = (lam < 1 + 1e-9).astype(float)  # λ = 1 itself passes, rounding or not
    assert relative(value, U @ (keep[:, None] * (inverse @ Z))) < 1e-10
    # |1 − λ| has a kink there, and no derivative.
    value = graph.filter(Z, lambda x: np.abs(1 - x))
    assert relative(value, U @ (np.abs(1 - lam)[:, None] * (inverse @ Z))) < 1e-10
    assert spectrum.multiplicities.max() == 114


def test_free_values_on_the_spectrum_filter_exactly():
    rng = np.random.default_rng(4)
    X, Z = rng.standard_normal((90, 4)), rng.standard_normal((90, 2))
    graph = gspnl.feature_graph(X, "cosine")
    spectrum = graph.spectrum()
    omega = rng.standard_normal(spectrum.eigenvalues.shape)
    A = graph.dense()
    lam, U, inverse = eigen(A, 1 / np.sqrt(graph.degrees))
    gains = np.repeat(omega, spectrum.multiplicities)
    assert relative(graph.filter(Z, omega), U @ (gains[:, None] * (inverse @ Z))) < 1e-10
    # Enough freedom in the polynomial interpolates every ω.
    full = graph.filter(Z, omega, order=len(omega) - 1)
    assert relative(full, graph.filter(Z, omega)) < 1e-8
    fitted = graph.filter(Z, omega, order=2)
    p = np.polyfit(lam, gains, 2)
    assert relative(fitted, U @ (np.polyval(p, lam)[:, None] * (inverse @ Z))) < 1e-8


def test_modes_within_the_repeated_eigenspace_are_eigenvectors():
    graph = gspnl.feature_graph(
        np.abs(np.random.default_rng(5).standard_normal((80, 3))), kernel="dot"
    )
    d = graph.degrees[:, None]
    modes = graph.spectrum().modes(80)
    assert np.abs(modes.T @ (d * modes) - np.eye(80)).max() < 1e-12
    lam = np.repeat(graph.spectrum().eigenvalues, graph.spectrum().multiplicities)
    assert np.abs(graph.laplacian(modes) - lam * modes).max() < 1e-12
    constant = graph.spectrum().modes(1)[:, 0]
    assert np.abs(constant - 1 / np.sqrt(graph.degrees.sum())).max() < 1e-14
    assert graph.spectrum().modes().shape == (80, 3)


@pytest.mark.parametrize("n", [5, 10, 500, 4096, 5000])
@pytest.mark.parametrize("kind", ["plain", "deficient", "graded", "zero", "float32"])
def test_tall_qr_is_orthonormal_and_reproduces_the_matrix(n, kind):
    B = np.random.default_rng(6).standard_normal((n, 6))
    if kind == "deficient":
        B[:, 3], B[:, 4] = B[:, 0], 0
    if kind == "graded":
        B *= 10.0 ** -np.arange(0, 12, 2)
    if kind == "zero":
        B *= 0
    if kind == "float32":
        B = B.astype(np.float32)
    tolerance = 1e-5 if kind == "float32" else 1e-12
    qr = tall_qr(B, np.ones(n, B.dtype))
    Q = qr.times(np.eye(qr.R.shape[0], dtype=B.dtype))
    assert np.abs(Q @ qr.R - B).max() < tolerance
    assert np.abs(Q.T @ Q - np.eye(Q.shape[1])).max() < tolerance
    assert np.abs(np.tril(qr.R, -1)).max() < tolerance


def test_the_block_reflection_maps_the_first_axes_to_the_modes():
    V = np.linalg.qr(np.random.default_rng(7).standard_normal((50, 4)))[0]
    for columns in (V, np.eye(50)[:, :4], -np.eye(50)[:, :4], np.eye(50)[:, [3, 9, 0, 2]]):
        H = Reflection.onto_first_axes(columns)
        dense = H.apply(np.eye(50))
        assert np.abs(dense @ dense - np.eye(50)).max() < 1e-14
        assert np.abs(dense - dense.T).max() < 1e-14
        assert np.abs((dense @ columns)[4:]).max() < 1e-14


@pytest.mark.parametrize("storage", ["lowrank", "dense"])
def test_filters_of_a_graph_without_edges_scale_by_g_of_zero(storage):
    graph = gspnl.feature_graph(
        -np.ones((6, 2)), kernel="dot", storage=storage
    )  # relu leaves nothing
    Z = np.random.default_rng(0).standard_normal((6, 2))
    assert (graph.degrees == 0).all()
    assert relative(graph.apply(Z), Z) < 1e-15
    every = np.repeat(graph.spectrum().eigenvalues, graph.spectrum().multiplicities)
    assert np.abs(every).max() == 0
    assert len(every) == 6
    assert relative(graph.spectrum().igft(graph.spectrum().gft(Z)), Z) < 1e-15
    for options in ({}, {"order": 3}, {"tol": 1e-6}):
        assert relative(graph.filter(Z, responses.heat(1.0), **options), Z) < 1e-15
    assert relative(graph.filter(Z, responses.snl(2.0, 1.0)), 3 * Z) < 1e-14


def test_a_graph_of_two_nodes_equals_its_closed_form():
    graph = gspnl.feature_graph(np.ones((2, 1)), kernel="dot")
    heat = graph.filter(np.eye(2), responses.heat(1.0))
    e = np.exp(-1)
    assert relative(heat, np.array([[1 + e, 1 - e], [1 - e, 1 + e]]) / 2) < 1e-15


def test_an_exact_filter_uses_eigenpairs_that_exist(monkeypatch):
    X = np.random.default_rng(0).standard_normal((1100, 3))
    Z = np.random.default_rng(1).standard_normal((1100, 2))
    heat = gspnl.responses.heat(3.0)
    by_series = gspnl.feature_graph(X, "rbf").filter(Z, heat)
    graph = gspnl.feature_graph(X, "rbf")
    graph.spectrum()

    def no_series(*_):
        raise AssertionError("a series of products, beside eigenpairs")

    monkeypatch.setattr("gspnl.filters.exact.resolved_series", no_series)
    by_eigenpairs = graph.filter(Z, heat)
    assert np.abs(by_eigenpairs - by_series).max() < 1e-11
    truth = scipy.linalg.expm(-3.0 * (np.eye(1100) - graph.dense())) @ Z
    assert np.abs(by_eigenpairs - truth).max() < 1e-11
