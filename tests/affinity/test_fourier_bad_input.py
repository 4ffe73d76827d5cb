"""Bad input of Fourier sums: a right answer, or an error with what was given and what to do."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest

import gspnl
from gspnl.affinity.approximation.fourier.device import check_device
from gspnl.errors import GspnlError, InputError, MissingExtraError, ToleranceError

pytest.importorskip("finufft")

X = np.random.default_rng(0).random((300, 3))


def graph_of(X=X[:, :2], kernel="rbf", **options):
    own = {"sigma": 0.2, "tol": 1e-6} if kernel == "rbf" else {"tol": 1e-6}
    return gspnl.feature_graph(X, kernel, **{"approximation": "fourier", **own, **options})


@pytest.mark.parametrize("tol", [0, -1e-6, np.nan, np.inf, "small", True])
def test_tolerances_that_are_no_positive_numbers_are_refused(tol):
    with pytest.raises(InputError, match="tol="):
        graph_of(tol=tol)


@pytest.mark.parametrize("tol", [1e-15, 1e-40])
def test_tolerances_below_rounding_are_refused(tol):
    with pytest.raises(InputError, match=f"tol={tol:g} is below.*raise tol="):
        graph_of(tol=tol)


def test_tolerances_below_those_of_float32_are_refused():
    with pytest.raises(InputError, match=r"float32.*float64 features"):
        graph_of(X[:, :2].astype(np.float32), tol=1e-8)


@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_the_default_tolerance_follows_the_dtype(dtype, tol):
    graph = graph_of(X[:, :2].astype(dtype), tol=None)
    assert tol / 1e4 < graph.approximation.bound <= tol


@pytest.mark.parametrize(("dims", "sigma"), [(3, 1e-4), (1, 1e-12), (2, 1e-9)])
def test_sigmas_too_small_for_positions_in_float64_are_refused_with_the_extent(dims, sigma):
    with pytest.raises(InputError, match=r"extend over .* widths .*raise tol= or sigma="):
        graph_of(X[:, :dims], sigma=sigma, tol=1e-9)


@pytest.mark.filterwarnings("error")
def test_scores_beyond_the_range_are_refused_without_warnings():
    with pytest.raises(ToleranceError, match=r"widths \(sigma\) of the kernel, which costs digits"):
        graph_of(X[:, :1], sigma=1e-300)


@pytest.mark.parametrize("value", [0.0, 0.3, 1e8])
def test_equal_points_are_joined_by_equal_weights(value):
    A = graph_of(np.full((7, 2), value), tol=1e-9).apply(np.eye(7))
    np.testing.assert_allclose(A, 1 / 7, atol=1e-9)


def test_two_nodes():
    A = graph_of(np.array([[0.0], [1.0]]), sigma=1.0, tol=1e-9).apply(np.eye(2))
    a = np.exp(-0.5)
    np.testing.assert_allclose(A, np.array([[1, a], [a, 1]]) / (1 + a), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 5}, "no rank; pass tol="),
        ({"storage": "tiled"}, "leave out storage='tiled'"),
        ({"sigma": "local"}, "sigma='median'"),
        ({"sigma": "adaptive"}, "sigma='median'"),
        ({"kernel": "dot"}, "leave rank= and tol= out"),
        ({"kernel": "cosine"}, "leave rank= and tol= out"),
        ({"kernel": "embedded_gaussian", "embed": (np.eye(2), 2 * np.eye(2))}, "one embedding"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        graph_of(**options)


def test_the_median_is_a_sigma():
    assert graph_of(sigma="median").approximation.bound <= 1e-6


def test_the_automatic_kernel_is_one_that_can_be_approximated():
    assert gspnl.feature_graph(X, approximation="fourier").approximation.bound <= 1e-9


@pytest.mark.filterwarnings("error")
def test_degrees_of_too_wide_a_span_are_refused():
    with pytest.raises(InputError, match="raise tol= or sigma="):
        graph_of(10 * np.random.default_rng(1).standard_normal((300, 2)), "gaussian")


def test_a_node_without_neighbours_is_named_where_self_loops_are_left_out():
    lone = np.concatenate([X[:, :2], [[50.0, 0.0]]])
    with pytest.raises(InputError, match=r"no neighbours.*keep the self-loops"):
        graph_of(lone, self_loops=False)


def test_a_missing_finufft_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingExtraError, match=r"finufft; pip install 'gspnl\[fourier\]'"):
        graph_of()


def test_a_finufft_that_is_too_old_is_named_with_its_version(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.3.1")
    with pytest.raises(GspnlError, match=r"2\.5 or later, and 2\.3\.1 .*pip install -U"):
        graph_of()


def test_features_on_another_device_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(MissingExtraError, match=r"'meta' needs cufinufft; pip install cufinufft"):
        check_device(torch.empty((3, 2), device="meta"))


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_products_keep_library_and_dtype(library):
    xp = pytest.importorskip(library)
    for dtype, tol in ((xp.float64, 1e-9), (xp.float32, 1e-4)):
        Z = xp.asarray(X, dtype=dtype)
        out = graph_of(xp.asarray(X[:, :2], dtype=dtype), tol=tol).apply(Z)
        assert (type(out), out.dtype) == (type(Z), dtype)
        W = np.exp(-((X[:, None, :2] - X[None, :, :2]) ** 2).sum(-1) / 0.08)
        np.testing.assert_allclose(np.asarray(out), W @ X / W.sum(1)[:, None], atol=tol)


def test_columns_of_very_different_sizes_keep_their_digits():
    graph, z = graph_of(), X[:, :1]
    both = graph.apply(np.concatenate([z, np.full_like(z, 1e14)], axis=1))
    np.testing.assert_allclose(both[:, :1], graph.apply(z), rtol=1e-12)


def test_importing_the_package_does_not_import_finufft():
    code = "import sys, gspnl, gspnl.cli; gspnl.feature_graph; print('finufft' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
