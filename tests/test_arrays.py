"""torch and the strict array API give NumPy's numbers; blocks and threads do not show."""

from __future__ import annotations

import subprocess
import sys
import threading

import array_api_strict
import numpy as np
import pytest
from helpers import relative
from threadpoolctl import threadpool_info, threadpool_limits

import gspnl
from gspnl import _rows, responses

torch = pytest.importorskip("torch", reason="torch is not installed")

X = np.random.default_rng(0).standard_normal((120, 5))
Z = np.random.default_rng(1).standard_normal((120, 3))
PAIR = tuple(np.random.default_rng(2).standard_normal((2, 5, 4)))
GRAPHS = [
    ("dot", {"embed": PAIR}),
    ("dot", {"storage": "dense"}),
    ("rbf", {"sigma": 2.0}),
    ("cosine", {"normalization": "bistochastic"}),
    ("anchors", {"anchors": 9, "normalization": "symmetric"}),
    ("dot", {"self_loops": False, "feature_map": "softplus", "storage": "lowrank"}),
]


def moved(value, convert):
    if isinstance(value, tuple):
        return tuple(convert(v) for v in value)
    return value


@pytest.mark.parametrize(
    "convert", [torch.from_numpy, array_api_strict.asarray], ids=["torch", "strict"]
)
@pytest.mark.parametrize(("kernel", "options"), GRAPHS)
def test_other_libraries_give_numpys_numbers(kernel, options, convert):
    ours = gspnl.feature_graph(X, kernel, **options)
    theirs = gspnl.feature_graph(
        convert(X.copy()), kernel, **{k: moved(v, convert) for k, v in options.items()}
    )
    z = convert(Z.copy())
    g = responses.tikhonov(20.0)
    calls = [
        lambda graph, z: graph.degrees,
        lambda graph, z: graph.apply(z),
        lambda graph, z: graph.rows([0, 5]),
        lambda graph, z: graph.filter(z, g, order=6),
        lambda graph, z: graph.filter(z, g, order=6, deflate=False),
    ]
    if options.get("self_loops", True):
        calls += [
            lambda graph, z: graph.filter(z, g),
            lambda graph, z: graph.spectrum().eigenvalues,
            lambda graph, z: graph.spectrum().igft(graph.spectrum().gft(z)),
        ]
    for call in calls:
        value = call(theirs, z)
        assert type(value) is type(z)
        assert relative(np.from_dlpack(value), call(ours, Z)) < 1e-12


def test_a_gradient_passes_or_is_refused():
    x = torch.from_numpy(X[:12].copy()).requires_grad_()
    z = torch.from_numpy(Z[:12].copy())

    def chebyshev(x):
        graph = gspnl.feature_graph(x, feature_map="softplus")
        return graph.filter(z, responses.heat(1.0), order=3, deflate=False)

    assert torch.autograd.gradcheck(chebyshev, (x,))
    assert torch.autograd.gradcheck(lambda x: gspnl.feature_graph(x, "rbf").apply(z), (x,))
    for kernel in ("dot", "rbf"):
        graph = gspnl.feature_graph(
            x, kernel, **({"feature_map": "exp"} if kernel == "dot" else {})
        )
        assert graph.filter(z, responses.heat(1.0), order=3).requires_grad
        with pytest.raises(gspnl.GspnlError, match="carries no gradient"):
            graph.filter(z, responses.heat(1.0))
        with pytest.raises(gspnl.GspnlError, match="carries no gradient"):
            graph.filter(z, responses.heat(1.0), order=3, deflate=2)


def test_libraries_are_not_mixed_silently():
    with pytest.raises(gspnl.errors.InputError, match="convert one of them"):
        gspnl.feature_graph(X).apply(torch.from_numpy(Z))


def test_blocks_and_threads_do_not_show(monkeypatch):
    tall = np.random.default_rng(3).standard_normal((9000, 7))

    def results():
        (total,) = _rows.sum_rows(lambda a: (a.T @ a,), tall)
        return _rows.map_rows(lambda a: np.cumsum(a, axis=1), tall), total

    whole = results()
    monkeypatch.setattr(_rows, "BLOCK_BYTES", 1 << 12)
    for cores in (1, 2, 5):
        monkeypatch.setattr(_rows, "_cores", lambda cores=cores: cores)
        mapped, total = results()
        assert np.array_equal(mapped, whole[0])
        assert np.allclose(total, whole[1], rtol=1e-13)
        first = total
        assert np.array_equal(results()[1], first)  # the order of the sum is fixed


def blas_threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


def test_blocks_limit_blas_and_lift_the_limit_again(monkeypatch):
    monkeypatch.setattr(_rows, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(_rows, "_cores", lambda: 2)
    inside = []

    def fail(a):
        inside.append(blas_threads())
        raise ZeroDivisionError

    with threadpool_limits(2, user_api="blas"):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                _rows.sum_rows(fail, np.ones((5000, 3)))
        assert {1} in inside
        assert blas_threads() == {2}
        threads = [
            threading.Thread(
                target=lambda: _rows.sum_rows(lambda a: (a.sum(0),), np.ones((5000, 3)))
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert blas_threads() == {2}


def test_inputs_are_left_as_they_were():
    x, z = X.copy(), Z.copy()
    graph = gspnl.feature_graph(x, normalization="bistochastic")
    graph.filter(z, responses.heat(1.0))
    graph.filter(z, responses.heat(1.0), order=4)
    graph.spectrum().gft(z)
    assert np.array_equal(x, X)
    assert np.array_equal(z, Z)


def test_a_strided_view_is_a_fine_input():
    wide = np.random.default_rng(4).standard_normal((120, 10))
    assert np.array_equal(
        gspnl.feature_graph(wide[:, ::2]).degrees, gspnl.feature_graph(wide[:, ::2].copy()).degrees
    )
    wide[3, 2] = np.nan
    with pytest.raises(gspnl.errors.InputError, match=r"index \(3, 1\)"):
        gspnl.feature_graph(wide[:, ::2])


def test_importing_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, gspnl; gspnl.feature_graph; gspnl.compare; gspnl.responses; gspnl.chebyshev;"
        "print([m for m in ('torch', 'matplotlib', 'plotly', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in gspnl.__all__:
        assert getattr(gspnl, name) is not None
    assert set(gspnl.__all__) <= set(dir(gspnl))
    with pytest.raises(AttributeError, match="no attribute 'feature_grap'"):
        gspnl.feature_grap  # noqa: B018
