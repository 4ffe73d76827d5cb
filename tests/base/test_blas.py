"""The limit of BLAS to one thread: nesting, concurrent users, and the operations that set it."""

from __future__ import annotations

import os
import threading
from functools import partial

import numpy as np
import pytest
import scipy.linalg  # loads a BLAS of its own
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

import gspnl
from gspnl._base import blas, rows
from gspnl._base.blas import OneThread, on_one_thread, one_thread
from gspnl.affinity.approximation.points import Points

RNG = np.random.default_rng(0)
LIBRARIES = blas._libraries(True)[0]


def counts():
    return [get() for get, _ in LIBRARIES]


@pytest.fixture(autouse=True)
def two_threads():
    before = counts()
    for _, set_ in LIBRARIES:
        set_(2)
    yield
    for (_, set_), count in zip(LIBRARIES, before, strict=True):
        set_(count)


TWO, ONE = [2] * len(LIBRARIES), [1] * len(LIBRARIES)


def test_numpy_and_scipy_are_limited():
    names = [lib.filepath for lib in blas.ThreadpoolController().lib_controllers]
    if any("numpy.libs" in name for name in names) and any("scipy.libs" in name for name in names):
        assert len(LIBRARIES) >= 2
    assert scipy.linalg.blas is not None


def test_the_limit_is_nested_and_lifted_after_an_error():
    with one_thread:
        assert counts() == ONE
        with one_thread:
            assert counts() == ONE
        assert counts() == ONE
    assert counts() == TWO
    with pytest.raises(ZeroDivisionError), one_thread:
        _ = 1 / 0
    assert counts() == TWO

    @on_one_thread
    def inside(x, *, y):
        return x, y, counts()

    assert inside(1, y=2) == (1, 2, ONE)
    assert counts() == TWO


def test_the_last_of_several_threads_lifts_the_limit():
    """threadpoolctl's limits would stay for ever: only the thread that set one can lift it."""
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_thread:
            entered.set()
            leave.wait(10)

    with one_thread:
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(10)
    assert counts() == ONE  # the other thread needs it
    leave.set()
    thread.join()
    assert counts() == TWO


def test_many_threads_at_once_leave_the_number_of_threads_as_it_was():
    X = RNG.standard_normal((400, 3))
    truth = gspnl.feature_graph(X, "rbf").apply(X)
    wrong = []

    def work():
        for _ in range(5):
            out = gspnl.feature_graph(X, "rbf", storage="tiled").apply(X)
            if not np.allclose(out, truth, atol=1e-12):
                wrong.append(out)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert counts() == TWO


def test_a_number_of_threads_that_somebody_sets_meanwhile_stays():
    with one_thread:
        LIBRARIES[0][1](3)
    assert counts() == [3, *TWO[1:]]


def test_the_limit_is_lifted_for_a_large_computation_unless_another_thread_needs_it():
    with one_thread.lifted():
        assert counts() == TWO
    with one_thread, one_thread:
        with one_thread.lifted():
            assert counts() == TWO
        assert counts() == ONE
        entered, leave = threading.Event(), threading.Event()

        def other():
            with one_thread:
                entered.set()
                leave.wait(10)

        thread = threading.Thread(target=other)
        thread.start()
        entered.wait(10)
        with one_thread.lifted():
            assert counts() == ONE
        leave.set()
        thread.join()
        with pytest.raises(KeyError), one_thread.lifted():
            raise KeyError
        assert counts() == ONE
    assert counts() == TWO


def test_a_child_process_does_not_wait_for_threads_it_does_not_have():
    state = OneThread()
    state._holders, state._before = 1, [(lib, 2) for lib in LIBRARIES]  # as in another thread
    for _, set_ in LIBRARIES:
        set_(1)
    state._after_fork()
    assert counts() == TWO
    with state:
        assert counts() == ONE
        state._after_fork()  # the forking thread was inside
        assert counts() == ONE
    assert counts() == TWO


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forking_beside_a_limit_leaves_the_child_its_threads():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_thread:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    child = os.fork()
    if not child:
        os._exit(0 if counts() == TWO else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    leave.set()
    thread.join()


def test_an_error_in_a_block_of_rows_leaves_no_limit(monkeypatch):
    monkeypatch.setattr(rows, "cores", lambda: 2)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1 << 10)
    X = np.ones((5000, 4))

    def fail(x):
        raise ValueError(counts())

    for apply in (rows.map_rows, rows.sum_rows):
        with pytest.raises(ValueError, match="1"):
            apply(fail, X)
        assert counts() == TWO
    with pytest.raises(ValueError, match="1"):
        rows.map_columns(fail, X.T)
    with pytest.raises(ValueError, match="shape"):  # of the totals
        rows.sum_rows(lambda x: (np.ones(len(x)),), np.ones((5001, 4)))
    assert counts() == TWO


X, Z = np.abs(RNG.standard_normal((150, 4))), RNG.standard_normal((150, 3))
PAIR = tuple(np.abs(RNG.standard_normal((2, 4, 3))))
LABELS = np.where(np.arange(150) < 30, np.arange(150) % 3, -1)
HEAT = gspnl.responses.heat(2.0)
KINDS = {
    "dot": partial(gspnl.feature_graph, X, "dot", embed=PAIR),
    "dense": partial(gspnl.feature_graph, X, "rbf", storage="dense"),
    "tiled": partial(gspnl.feature_graph, X, "rbf", storage="tiled"),
    "sorted": partial(gspnl.feature_graph, X, "concatenation", embed=(PAIR[0][:, 0],) * 2),
    "cholesky": partial(gspnl.feature_graph, X, "rbf", rank=20),
    "bistochastic": partial(gspnl.feature_graph, X, "rbf", normalization="bistochastic"),
    "sparse": lambda: gspnl.graph_from_weights(scipy.sparse.csr_array(np.exp(X @ X.T))),
    "batch": lambda: gspnl.feature_graph(np.stack([X, X + 1]), "rbf"),
}
OPERATIONS = {
    "degrees": lambda g: g.degrees,
    "apply": lambda g: g.apply(Z),
    "dense": lambda g: g.dense(),
    "rows": lambda g: g.rows([0, 3]),
    "order": lambda g: g.filter(Z, HEAT, order=5),
    "modes": lambda g: g.filter(Z, HEAT, order=5, deflate=2),
    "exact": lambda g: g.filter(Z, HEAT),
    "least squares": lambda g: g.filter(Z, HEAT, order=5, method="least_squares"),
    "plan": lambda g: g.chebyshev(HEAT, tol=1e-3),
    "interval": lambda g: g.spectral_interval(),
    "spectrum": lambda g: g.spectrum().modes(3),
    "partial": lambda g: g.spectrum(4).gft(Z),
    "density": lambda g: gspnl.spectral_density(g),
    "clusters": lambda g: gspnl.spectral_clustering(g, 2),
    "labels": lambda g: gspnl.propagate_labels(g, LABELS),
    "inpaint": lambda g: gspnl.inpaint(g, Z, LABELS >= 0),
    "denoise": lambda g: gspnl.denoise(g, Z, strength=1.0),
    "strength": lambda g: gspnl.choose_strength(g, Z, sigma=1.0),
    "variation": lambda g: gspnl.total_variation(g, Z),
    "energy": lambda g: gspnl.dirichlet_energy(g, Z),
    "bank": lambda g: gspnl.analyze(g, Z, gspnl.banks.mexican_hat(3)),
    "gap": lambda g: gspnl.stability.spectral_gap(g),
}
# Degrees are known once a graph is built, total variation of low rank is sorted, and a plan of a
# sparse graph may need no band: nothing to watch.
WITHOUT_PRODUCTS = {
    *((kind, "degrees") for kind in ("batch", "bistochastic", "cholesky", "dense", "dot")),
    *((kind, "degrees") for kind in ("sorted", "sparse")),
    ("cholesky", "variation"),
    ("dot", "variation"),
    ("sparse", "plan"),
}
SINGLE = {"plan", "interval", "spectrum", "partial", "density", "clusters", "labels", "gap"}


@pytest.mark.filterwarnings("ignore::gspnl.errors.AveragingWarning")  # of random features
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_products_and_factorisations_run_on_one_thread(kind, name, monkeypatch):
    if kind == "batch" and name in SINGLE | {"strength"}:
        pytest.skip("takes one graph")
    if kind == "cholesky" and name in ("inpaint", "labels"):
        pytest.skip("takes non-negative weights")
    if kind == "sorted" and name in ("modes", "clusters"):
        pytest.skip("has one mode with λ < 1")
    seen = []

    def watched(fn):
        def run(*args, **kwargs):
            seen.append(counts())
            return fn(*args, **kwargs)

        return run

    for function in ("eigh", "eigvalsh", "eigvals", "qr", "svd", "cholesky", "inv", "lstsq"):
        monkeypatch.setattr(np.linalg, function, watched(getattr(np.linalg, function)))
    graph = KINDS[kind]()
    kept = type(graph.weights)
    monkeypatch.setattr(kept, "matmul", watched(kept.matmul))
    monkeypatch.setattr(kept, "rows", watched(kept.rows))
    OPERATIONS[name](graph)
    assert all(count == ONE for count in seen)
    assert counts() == TWO
    assert bool(seen) == ((kind, name) not in WITHOUT_PRODUCTS)


def test_building_a_graph_runs_on_one_thread(monkeypatch):
    seen = []
    cross = Points.cross
    monkeypatch.setattr(Points, "cross", lambda *a: (seen.append(counts()), cross(*a))[1])
    KINDS["cholesky"]()
    assert seen
    assert all(count == ONE for count in seen)
    assert counts() == TWO


def test_a_large_eigendecomposition_keeps_its_threads(monkeypatch):
    from gspnl.filters import spectrum

    seen, eigh = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda S: (seen.append(counts()), eigh(S))[1])
    monkeypatch.setattr(spectrum, "LARGE", 100)
    KINDS["dense"]().spectrum()
    assert seen == [TWO]
    assert counts() == TWO


def test_an_operator_of_the_user_keeps_its_threads():
    W, seen = np.exp(X @ X.T / 9), []

    def product(v):
        seen.append(counts())
        return W @ v

    operator = LinearOperator(W.shape, matvec=product, matmat=product, dtype=float)
    graph = gspnl.from_linear_operator(operator, nonnegative=True)
    out = graph.filter(Z, HEAT, order=4)
    assert seen
    assert all(count == TWO for count in seen[2:])
    assert np.allclose(out, gspnl.graph_from_weights(W).filter(Z, HEAT, order=4))
