"""Nearest neighbours by each search, against sorted distances."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.spatial

import gspnl
from gspnl._base import extras
from gspnl.errors import EffortError, InputError, MissingExtraError
from gspnl.graph import neighbors
from gspnl.graph.neighbors import nearest

pytestmark = pytest.mark.filterwarnings("ignore::gspnl.errors.DisconnectedWarning")


def sorted_distances(X, k):
    D = scipy.spatial.distance.cdist(X, X)
    np.fill_diagonal(D, np.inf)
    return np.sort(D, axis=1)[:, :k]


def check(found, X, k):
    """Compare distances, which ties do not change, and those of the indices."""
    order = np.arange(len(X)) if found.order is None else found.order
    truth = sorted_distances(X, k)[order]
    Y = X[order]
    direct = np.sqrt(((Y[:, None] - Y[found.indices]) ** 2).sum(-1))
    assert found.indices.dtype == np.int32
    assert np.abs(found.distances - truth).max() <= 1e-12 * truth.max()
    assert np.abs(direct - truth).max() <= 1e-12 * truth.max()
    assert (found.indices != np.arange(len(X))[:, None]).all()
    assert all(len(set(row)) == k for row in found.indices.tolist())


@pytest.mark.parametrize("search", ["tree", "brute"])
@pytest.mark.parametrize(("n", "columns"), [(2, 1), (300, 1), (5000, 2), (700, 12), (300, 80)])
def test_exact_searches_find_the_nearest(search, n, columns):
    X = np.random.default_rng(0).standard_normal((n, columns))
    k = min(n - 1, 8)
    check(nearest(X, k, search), X, k)


@pytest.mark.parametrize("search", ["tree", "brute"])
def test_copies_and_ties_do_not_put_a_node_among_its_own_neighbours(search, monkeypatch):
    rng = np.random.default_rng(0)
    X = np.round(rng.standard_normal((400, 2)))
    X[100:130] = 0.0
    check(nearest(X, 6, search), X, 6)
    monkeypatch.setattr(neighbors, "SORTED", 2)
    check(nearest(X, 6, search), X, 6)


@pytest.mark.parametrize("search", ["tree", "brute"])
def test_groups_far_from_each_other_keep_their_digits(search):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.standard_normal((100, 12)), 1e9 + rng.standard_normal((100, 12))])
    check(nearest(X, 5, search), X, 5)


@pytest.mark.slow
def test_the_approximate_search_finds_most_and_is_the_same_for_a_seed():
    pytest.importorskip("pynndescent")
    X = np.random.default_rng(0).standard_normal((1500, 12))
    first, again = (nearest(X, 10, "approximate", seed=3) for _ in range(2))
    assert (first.indices == again.indices).all()
    truth = sorted_distances(X, 10)
    assert np.isclose(first.distances, truth).mean() > 0.9
    assert "approximate" in first.reason


def test_auto_takes_what_is_installed_and_says_so(monkeypatch):
    assert neighbors._choice(100_000, 3)[0] == "tree"
    assert neighbors._choice(100_000, 32)[0] == "brute"
    assert neighbors._choice(300, 64)[0] == "tree"  # not worth an import
    known = extras.spec
    monkeypatch.setattr(extras, "spec", lambda name: None if name == "pynndescent" else known(name))
    assert neighbors._choice(500_000, 32)[0] == "brute"
    monkeypatch.setattr(extras, "spec", lambda name: None)
    assert neighbors._choice(100_000, 32) == (
        "tree", "scikit-learn, which is faster for many columns, is not installed",
    )  # fmt: skip
    monkeypatch.setattr(extras, "spec", lambda name: object())
    assert neighbors._choice(500_000, 32)[0] == "approximate"


@pytest.mark.parametrize(
    ("search", "package", "install"),
    [
        ("brute", "sklearn", "gspnl\\[sklearn\\]"),
        ("approximate", "pynndescent", "pip install pynndescent"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, search, package, install):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=install):
        gspnl.neighbor_graph(np.eye(5), 2, search=search)


def test_an_unknown_search_is_an_error():
    with pytest.raises(InputError, match="search='ball' must be one of 'auto', 'tree'"):
        gspnl.neighbor_graph(np.eye(5), 2, search="ball")


def test_a_search_that_takes_hours_is_refused(monkeypatch):
    monkeypatch.setattr(neighbors, "PAIR", 1e15)
    X = np.random.default_rng(0).standard_normal((600, 10))
    with pytest.raises(EffortError, match="the 3 nearest neighbours of 600 nodes would take"):
        gspnl.neighbor_graph(X, 3, search="brute")


def test_progress_shows_the_search(monkeypatch):
    monkeypatch.setattr(neighbors, "rate", lambda: 1e16)
    monkeypatch.setattr("gspnl._base.effort.WAIT", 0.0)
    monkeypatch.setattr("gspnl._base.effort.EVERY", 0.001)
    monkeypatch.setattr("gspnl._base.effort.seconds_allowed", lambda: 1e12)
    seen = []
    X = np.random.default_rng(0).standard_normal((20_000, 2))
    gspnl.neighbor_graph(X, 3, progress=lambda shown: seen.append((shown.what, shown.total)))
    assert ("the 3 nearest neighbours of 20,000 nodes", 9) in seen
