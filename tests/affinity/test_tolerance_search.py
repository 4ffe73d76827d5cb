"""The search of the rank that a tolerance needs: few certificates, bounded steps, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import gspnl
from gspnl._base import effort
from gspnl._base.effort import Work
from gspnl.affinity.approximation import build, forecast, moments, residual, sample, search
from gspnl.affinity.approximation.cholesky import PivotedFactor
from gspnl.affinity.approximation.forecast import Forecast
from gspnl.affinity.approximation.points import Points
from gspnl.affinity.approximation.search import Search
from gspnl.errors import EffortError, InputError

EMBED = tuple(np.random.default_rng(2).standard_normal((2, 3, 3)) * 0.6)
CHOLESKY = {"approximation": "cholesky"}
GRAPHS = {
    "rbf": ("rbf", None, {"sigma": 0.4}),
    "bistochastic": ("rbf", None, {"sigma": 0.4, "normalization": "bistochastic"}),
    "without self-loops": ("rbf", None, {"sigma": 0.4, "self_loops": False}),
    "two embeddings": ("embedded_gaussian", EMBED, {}),
    "nystrom": ("rbf", None, {"sigma": 0.6, "approximation": "nystrom"}),
}


def cloud(n, seed=0):
    return np.random.default_rng(seed).random((n, 3))


def counted(monkeypatch, cls, name):
    """Record the arguments of every call of a method."""
    calls, fn = [], getattr(cls, name)

    def record(self, *args):
        calls.append(args)
        return fn(self, *args)

    monkeypatch.setattr(cls, name, record)
    return calls


def estimated(monkeypatch):
    """Record (rank, estimate) of every estimate."""
    found, fn = [], sample.Estimate.__call__

    def record(self, rank):
        found.append((rank, fn(self, rank)))
        return found[-1][1]

    monkeypatch.setattr(sample.Estimate, "__call__", record)
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_three_certificates_are_enough(name, monkeypatch):
    kernel, embed, options = GRAPHS[name]
    certificates = counted(monkeypatch, residual.Residual, "row_sums")
    for tol in (1e-1, 1e-2, 1e-3):
        certificates.clear()
        X = cloud(2000)
        graph = gspnl.feature_graph(X, kernel, embed, tol=tol, **CHOLESKY | options)
        assert graph.approximation.bound <= tol
        assert 1 <= len(certificates) <= 3


@pytest.mark.parametrize("name", GRAPHS)
def test_the_rank_is_close_to_the_least(name):
    kernel, embed, options = GRAPHS[name]
    X = cloud(2000, 1)
    told = gspnl.feature_graph(X, kernel, embed, tol=1e-2, **CHOLESKY | options).approximation
    less = gspnl.feature_graph(X, kernel, embed, rank=int(0.85 * told.rank), **options)
    assert less.approximation.bound > 1e-2


def test_kernel_entries_are_at_most_three_times_those_of_the_rank(monkeypatch):
    entries, cross = [], Points.cross

    def count(self, a, h, b, g):
        entries.append(len(a) * len(b))
        return cross(self, a, h, b, g)

    monkeypatch.setattr(Points, "cross", count)
    X = cloud(6000)
    told = gspnl.feature_graph(X, "rbf", sigma=0.3, tol=1e-3, **CHOLESKY).approximation
    searched = sum(entries)
    entries.clear()
    gspnl.feature_graph(X, "rbf", sigma=0.3, rank=told.rank)
    assert searched <= 3 * sum(entries)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_sample_of_all_nodes_estimates_the_bound_itself(name, monkeypatch):
    """One block, and all nodes in the sample: both are the same formula of the exact E.

    But for Sinkhorn's scale, which the sample takes from W, not from Ŵ.
    """
    kernel, embed, options = GRAPHS[name]
    found = estimated(monkeypatch)
    X = cloud(200)
    told = gspnl.feature_graph(X, kernel, embed, tol=1e-3, **CHOLESKY | options).approximation
    near = 1e-2 if name == "bistochastic" else 1e-6
    assert dict(found)[told.rank] == pytest.approx(told.bound, rel=near)
    assert told.rank > 10


@pytest.mark.parametrize("name", GRAPHS)
def test_estimates_of_many_blocks_are_near_the_bound(name, monkeypatch):
    """A tenth of the nodes, and blocks of fewer nodes than the sample."""
    kernel, embed, options = GRAPHS[name]
    monkeypatch.setattr(residual, "BLOCK", 100)
    found = estimated(monkeypatch)
    told = gspnl.feature_graph(
        cloud(3000), kernel, embed, tol=0.05, **CHOLESKY | options
    ).approximation
    estimate = dict(found)[told.rank]
    assert 0.6 < estimate / told.bound < 1.6


@pytest.mark.parametrize("self_loops", [True, False])
def test_sums_of_a_sample_equal_those_of_all_nodes_where_these_are_alike(self_loops, monkeypatch):
    """For E = c 11ᵀ every sample has the same moments, rounding included."""
    monkeypatch.setattr(residual, "BLOCK", 20)
    points, F = Points(np.zeros((100, 2)), np.zeros(100), True), np.full((100, 1), 0.8)
    every = residual.Residual(points, [F], self_loops, 1e-2, 0)
    K, loop = np.ones((7, 7)), np.eye(7) * (not self_loops)
    E = K - 0.64
    few = moments.SampledResidual([E], [K], self_loops, 1e-2, 100)
    truth = every.row_sums(np.full(100, 0.5))
    found = few.row_sums(np.full(7, 0.5), E - 0.36 * loop, K - loop)
    for name in ("own", "floor", "spread", "diagonal", "noise"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name)[:7], rel=1e-10), name
    assert found.roots == pytest.approx(truth.roots, rel=1e-10)
    assert few.norms(np.full(7, 0.5)) == [pytest.approx(every.norms(np.full(100, 0.5))[0])]


def test_the_floor_of_a_sample_does_not_exceed_its_degrees():
    """In a graph of one block the floor is the degree itself, and its estimate as often above."""
    X = np.random.default_rng(0).standard_normal((500, 3))
    told = gspnl.feature_graph(X, "rbf", sigma=1.0, tol=1e-3, **CHOLESKY).approximation
    assert (
        gspnl.feature_graph(X, "rbf", sigma=1.0, rank=int(0.85 * told.rank)).approximation.bound
        > 1e-3
    )


def test_sampled_moments_are_unbiased():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((30, 40))
    G, v = root @ root.T, rng.standard_normal(30)
    truth, rows = [], np.zeros(30)
    estimates = []
    for _ in range(4000):
        nodes = rng.permutation(30)
        few, block = nodes[:6], nodes[6:18]
        estimates.append(moments.quadratic(G[np.ix_(few, few)], v[few], 12))
        truth.append(v[block] @ G[np.ix_(block, block)] @ v[block])
        rows[few] += moments.row_sums(G[np.ix_(few, few)], v[few], 30) / 4000 * 30 / 6
    spread = math.hypot(np.std(truth), np.std(estimates)) / math.sqrt(4000)
    assert abs(np.mean(truth) - np.mean(estimates)) < 4 * spread
    assert np.abs(rows - G @ v).max() < 0.25 * np.abs(G @ v).max()


class Line:
    """Factor without columns, whose bound is 10^(−rank/40)."""

    def __init__(self, n, end=None):
        self.n, self.rank, self.steps = n, 0, []
        self.end = n if end is None else end

    def grow(self, rank):
        self.steps.append(min(rank, self.end))
        self.rank = self.steps[-1]
        return rank <= self.end

    @property
    def share_left(self):
        return 10.0 ** (-self.rank / 40)


def bound(rank):
    return 10.0 ** (-rank / 40)


def searched(estimate, tol=1e-5, n=5000, end=None, least=bound, **options):
    """Search for the rank of a tolerance; return it and the ranks that were certified."""
    grown, certified = Line(n, end), []

    def certify(rank):
        assert rank <= grown.rank
        certified.append(rank)
        return rank, least(rank)

    shown = Work("a search")
    found = Search(grown, estimate, certify, tol, n, Forecast(tol, n, shown, **options)).run()
    assert least(found) <= tol
    return found, certified, grown


@pytest.mark.parametrize("off", [0.2, 0.7, 1.0, 1.5, 5.0, 50.0])
def test_a_constant_error_of_the_estimates_costs_one_more_certificate(off):
    found, certified, _ = searched(lambda rank: off * bound(rank))
    assert 200 <= found <= 200 * (1 + 2 / search.CLOSE)
    assert len(certified) <= (2 if off < search.TRUSTED else search.TRIES)


@pytest.mark.parametrize("value", [0.0, 1e-9, 1.0, math.inf])
def test_estimates_that_say_nothing_still_end_at_a_certified_rank(value):
    found, certified, _ = searched(lambda _: value, n=1000)
    assert len(certified) < 60
    assert found in certified


def test_no_rank_is_certified_twice():
    noise = np.random.default_rng(0).uniform(0.7, 1.4, 6000)
    for tol in (1e-2, 1e-4, 1e-6):
        _, certified, _ = searched(lambda rank: noise[rank] * bound(rank), tol=tol)
        assert len(set(certified)) == len(certified)

    # Estimates just below the tolerance, but above what is aimed at.
    def near(rank):
        return {0: 10.0, 1: 0.985e-5, 2: 0.5e-5}[(rank >= 100) + (rank >= 300)]

    _, certified, _ = searched(near, least=near)
    assert len(set(certified)) == len(certified)


def test_a_tolerance_below_the_last_bound_raises_with_it():
    with pytest.raises(InputError, match=r"best bound 0.0032, at rank 100"):
        searched(bound, end=100)
    with pytest.raises(InputError, match=r"best bound 1, at rank"):
        searched(bound, least=lambda _: 1.0, n=300)


def test_no_growth_takes_more_than_its_operations(monkeypatch):
    monkeypatch.setattr(search, "STEP", 5e6)
    _, _, grown = searched(bound, n=5000)
    steps = np.array([0, *grown.steps])
    ranks = steps[1:], steps[:-1]
    small = np.maximum(np.sqrt(steps[:-1] ** 2 + 5e6 / 5000), 1 + steps[:-1] * (1 + 1 / 16))
    assert (ranks[0] <= np.ceil(small)).all()
    assert len(grown.steps) > 10


def test_a_certificate_that_would_take_too_long_is_refused_before_it(monkeypatch):
    monkeypatch.setattr(forecast, "rate", lambda: 1e6)
    monkeypatch.setattr(forecast, "QUICK", 0.0)
    certificates = counted(monkeypatch, residual.Residual, "row_sums")
    with pytest.raises(EffortError, match=r"tol=0.01 needs rank \d+ by .*patience"):
        gspnl.feature_graph(cloud(2000), "rbf", sigma=0.5, tol=1e-2, **CHOLESKY)
    assert not certificates
    with gspnl.patience(hours=1e4):
        gspnl.feature_graph(cloud(2000), "rbf", sigma=0.5, tol=1e-2, **CHOLESKY)
    assert certificates


def test_a_request_may_limit_the_seconds(monkeypatch):
    monkeypatch.setattr(forecast, "FIRST", 0.0)
    kernel = gspnl.feature_graph(cloud(10), "rbf", sigma=0.1).kernel
    request = build.make_request(None, 1e-3, None, None, 3000, "auto")
    with pytest.raises(EffortError, match=r"needs .*rank"):
        build.approximate(
            kernel, cloud(3000), None, replace(request, seconds=1e-3), "random_walk", True
        )


def test_the_limit_is_lower_once_the_forecast_is_good(monkeypatch):
    """120 s at first, 60 s between 10 and 20 s, and 120 s for what is nearly done."""
    shown = Work("a search")
    told = Forecast(1e-3, 1000, shown)
    assert [told._allowed(s) for s in (5.0, 15.0, 30.0)] == [120.0, 60.0, 120.0]
    with effort.patience(hours=2):
        assert told._allowed(15.0) == 7200.0
    assert Forecast(1e-3, 1000, shown, 3.0)._allowed(15.0) == 3.0


def test_ranks_do_not_depend_on_the_clock(monkeypatch):
    """Growth steps decide the random pivots, so they may not follow measured seconds."""
    grown = counted(monkeypatch, PivotedFactor, "grow")
    one = gspnl.feature_graph(cloud(1500), "rbf", sigma=0.3, tol=1e-3, **CHOLESKY)
    steps = list(grown)
    grown.clear()
    monkeypatch.setattr(Work, "seconds", property(lambda _: 1.9))
    same = gspnl.feature_graph(cloud(1500), "rbf", sigma=0.3, tol=1e-3, **CHOLESKY)
    assert steps == grown
    assert np.array_equal(one.dense(), same.dense())
