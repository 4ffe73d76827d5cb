"""Graphs that do not fit under a limit of the process are SizeErrors; operators can be pickled."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest

import gspnl
from gspnl._base.memory import size_error, within_memory
from gspnl.errors import SizeError

LIMITED = """
import resource, sys, numpy as np, gspnl
from gspnl.errors import SizeError
n = 9000
X = np.random.default_rng(0).standard_normal((n, 3))
Z = np.ones((n, 1))
small = gspnl.feature_graph(X, "rbf", storage="tiled")
small.apply(Z)
low = gspnl.feature_graph(X, "anchors")
gspnl.responses.heat(1.0)
work = {
    "dense": lambda: gspnl.feature_graph(X, "rbf", storage="dense"),
    "weights": lambda: gspnl.graph_from_weights(np.broadcast_to(np.float32(1), (n, n))),
    "rows": lambda: small.dense(),
    "all rows": lambda: small.rows(np.arange(n)),
    "spectrum": lambda: small.spectrum(),
    "signals": lambda: low.apply(np.broadcast_to(1.0, (n, 20_000))),
    "anchors": lambda: gspnl.feature_graph(X, "anchors", anchors=9000),
    "rank": lambda: gspnl.feature_graph(X, "rbf", rank=9000),
}[sys.argv[1]]
pages = int(open("/proc/self/statm").read().split()[0])
size = pages * resource.getpagesize() + (400 << 20)
resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    work()
except SizeError as error:
    print("SizeError", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space")
@pytest.mark.parametrize(
    "work", ["dense", "weights", "rows", "all rows", "spectrum", "signals", "anchors", "rank"]
)
def test_what_exceeds_a_limit_of_the_process_raises_size_error(work):
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, work], capture_output=True, text=True, timeout=120
    )
    assert run.stdout.startswith("SizeError"), run.stderr[-600:]
    assert "GiB" in run.stdout


def test_failed_allocations_of_numpy_and_torch_become_size_errors():
    def fail(error):
        raise error

    guarded = within_memory(fail)
    allocation = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes")
    for error in (MemoryError("Unable to allocate 9. GiB"), allocation):
        with pytest.raises(SizeError, match=r"out of memory.*use fewer nodes"):
            guarded(error)
    for error in (RuntimeError("other"), SizeError("mine")):
        with pytest.raises(type(error), match=str(error)) as caught:
            guarded(error)
        assert caught.value is error
    assert size_error(ValueError("x")) is None


# --- pickles --------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 3))
Z = RNG.standard_normal((50, 2))


def times(operator):
    """Multiply in another process."""
    return operator @ Z


@pytest.mark.parametrize("of", ["affinity", "laplacian", "core"])
def test_operators_of_a_graph_survive_pickle_copy_and_another_process(of):
    W = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1) / 2)
    d = W.sum(1)
    A = W / d[:, None]
    truth = {"affinity": A, "laplacian": np.eye(50) - A, "core": W / np.sqrt(np.outer(d, d))}[of]
    operator = gspnl.as_linear_operator(gspnl.feature_graph(X, "rbf", storage="tiled"), of)
    twins = [pickle.loads(pickle.dumps(operator)), copy.copy(operator), copy.deepcopy(operator)]
    for twin in twins:
        assert np.abs(twin @ Z - truth @ Z).max() < 1e-12
        assert np.abs(twin.rmatmat(Z) - truth.T @ Z).max() < 1e-12
        assert np.abs(twin.T @ Z[:, 0] - truth.T @ Z[:, 0]).max() < 1e-12
        assert np.abs(twin @ (Z + 2j * Z) - truth @ Z * (1 + 2j)).max() < 1e-12
        assert twin.dtype == np.float64
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.abs(pool.map(times, [operator])[0] - truth @ Z).max() < 1e-12


HEAT = gspnl.responses.heat(1.0)
KEPT = {
    "graph": (lambda: gspnl.feature_graph(X, "dot"), lambda g: g.filter(Z, HEAT)),
    "batch": (lambda: gspnl.feature_graph(X.reshape(2, 25, 3), "rbf"), lambda g: g.apply(Z[:25])),
    "spectrum": (lambda: gspnl.feature_graph(X, "rbf").spectrum(), lambda s: s.gft(Z)),
    "few modes": (lambda: gspnl.feature_graph(X, "rbf").spectrum(3), lambda s: s.eigenvalues),
    "plan": (lambda: gspnl.feature_graph(X, "rbf").chebyshev(HEAT, order=5), lambda p: p(Z)),
    "response": (lambda: HEAT, lambda g: g(np.linspace(0, 2, 9))),
    "bank": (lambda: gspnl.banks.meyer(3), lambda b: b(np.linspace(0, 2, 9))),
    "series": (lambda: gspnl.chebyshev.fit(HEAT, 5), lambda s: s(np.linspace(0, 2, 9))),
}


@pytest.mark.parametrize("name", KEPT)
def test_objects_survive_pickle_and_copy(name):
    make, use = KEPT[name]
    for used in (False, True):
        value = make()
        if used:
            use(value)
        for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
            assert np.abs(use(twin) - use(value)).max() < 1e-12
