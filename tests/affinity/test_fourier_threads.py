"""Fourier sums on several threads, in copies and in forked processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gspnl
from gspnl.affinity.approximation.fourier.plans import Plans

pytest.importorskip("finufft")


@pytest.fixture(scope="module")
def graph():
    # Large enough for several threads to share the work.
    X = np.random.default_rng(0).random((20_000, 2))
    return gspnl.feature_graph(X, "rbf", sigma=0.05, approximation="fourier", tol=1e-6)


@pytest.fixture(scope="module")
def Z():
    return np.random.default_rng(1).standard_normal((20_000, 5))


@pytest.mark.parametrize("columns", [1, 3, 4])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shared_sums_agree_with_exact_ones(columns, workers):
    rng = np.random.default_rng([columns, workers])
    x = [rng.uniform(-3, 3, 50) for _ in range(2)]
    z = rng.standard_normal((columns, 50)) + 1j * rng.standard_normal((columns, 50))
    k, m = np.arange(-3, 4), np.arange(-2, 3)
    waves = np.exp(-1j * (k[:, None, None] * x[0] + m[None, :, None] * x[1]))
    plans = Plans(x, (7, 5), 1e-12, columns, workers)
    modes = np.einsum("kmn,cn->ckm", waves, z)
    np.testing.assert_allclose(plans.modes_of(z), modes, atol=1e-9)
    back = np.einsum("kmn,ckm->cn", waves.conj(), modes)
    np.testing.assert_allclose(plans.at_points(modes), back, atol=1e-8)


def test_threads_that_share_a_graph_get_the_numbers_of_one(graph, Z):
    columns = [1, 2, 5, 1, 5, 3] * 2
    alone = [graph.apply(Z[:, :c]) for c in columns]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda c: graph.apply(Z[:, :c]), columns))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_copies_give_the_same_products(graph, Z, copied):
    assert np.array_equal(copied(graph).apply(Z), graph.apply(Z))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_computes_products_with_a_graph_that_was_used_before(graph, Z):
    expected = graph.apply(Z)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(bool((graph.apply(Z) == expected).all())))
    child.start()
    try:
        assert queue.get(timeout=30)
    finally:
        child.kill()
        child.join()
