"""Agreement of torch and the strict array API with NumPy, gradients, row blocks, threads."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading

import array_api_strict
import numpy as np
import pytest
from support.formulas import relative
from threadpoolctl import threadpool_info, threadpool_limits

import gspnl
from gspnl import responses
from gspnl._base import rows
from gspnl.affinity.kernels import KERNELS
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import STORAGES

torch = pytest.importorskip("torch", reason="torch is not installed")

X = np.random.default_rng(0).standard_normal((120, 5))
Z = np.random.default_rng(1).standard_normal((120, 3))
PAIR = tuple(np.random.default_rng(2).standard_normal((2, 5, 4)) / 2)
VECTORS = tuple(np.random.default_rng(2).standard_normal((2, 5)))


def needs(kernel):
    """Return the options that a registered kernel requires."""
    vectors = KERNELS[kernel].embedding == "vectors"
    return {"embed": VECTORS} if vectors else {"sigma": 2.0} if kernel == "rbf" else {}


GRAPHS = [
    (kernel, {"storage": storage, **needs(kernel)})
    for kernel in KERNELS
    for storage in STORAGES
    if STORAGES[storage].supports(KERNELS[kernel]())
] + [
    ("dot", {"embed": PAIR}),
    ("cosine", {"normalization": "bistochastic"}),
    ("anchors", {"anchors": 9, "normalization": "symmetric"}),
    ("embedded_gaussian", {"embed": PAIR, "storage": "tiled"}),
    ("embedded_gaussian", {"embed": PAIR, "storage": "tiled", "normalization": "bistochastic"}),
    ("gaussian", {"self_loops": False, "storage": "tiled"}),
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
def test_other_libraries_agree_with_numpy(kernel, options, convert):
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


SMALL = X[:12] / 2
SIGNAL = torch.from_numpy(Z[:12].copy())
PAIRS = [
    (kernel, storage, normalization)
    for kernel in KERNELS
    for storage in STORAGES
    if STORAGES[storage].supports(KERNELS[kernel]()) and kernel != "anchors"  # placed in NumPy
    for normalization in NORMALIZATIONS
    if normalization != "bistochastic"  # Sinkhorn stops at a tolerance: tested below
]


def graph_of(x, kernel, storage, normalization):
    options = needs(kernel) | ({"feature_map": "softplus"} if kernel == "dot" else {})
    embed = options.pop("embed", None)
    embed = None if embed is None else tuple(torch.from_numpy(w) for w in embed)
    return gspnl.feature_graph(
        x, kernel, embed, storage=storage, normalization=normalization, **options
    )


@pytest.mark.parametrize(("kernel", "storage", "normalization"), PAIRS)
def test_gradients_of_every_graph_agree_with_finite_differences(kernel, storage, normalization):
    """Check apply, the exact filter, and Chebyshev filters."""
    start = SMALL
    if kernel == "concatenation" and normalization == "chung":  # no node without edges
        start = SMALL + 4 * np.sign(np.sum(needs(kernel)["embed"], axis=0))
    x = torch.from_numpy(start.copy()).requires_grad_()
    z = SIGNAL.clone().requires_grad_()
    make = functools.partial(graph_of, kernel=kernel, storage=storage, normalization=normalization)
    heat = responses.heat(1.5)

    def applied(x, z):
        graph = make(x)
        first = graph.apply(z)  # of a tiled graph: degrees and product in one sweep
        _ = graph.degrees
        return first, graph.apply(z)

    assert torch.autograd.gradcheck(applied, (x, z))
    if normalization == "softmax":
        return
    assert torch.autograd.gradcheck(lambda x, z: make(x).filter(z, heat), (x, z))
    plain = functools.partial(make(x.detach()).filter, response=heat)
    assert torch.allclose(make(x).filter(z, heat), plain(Z=z), rtol=0, atol=1e-13)
    # [0, 2 max d] depends on the features, and its gradient is left out: a fixed interval.
    degrees = make(x.detach()).degrees
    span = (0.0, 3 * float(degrees.max())) if normalization == "combinatorial" else None
    assert torch.autograd.gradcheck(
        lambda x, z: make(x).filter(z, heat, order=3, deflate=False, interval=span), (x, z)
    )
    # The gradient treats the band of a deflated filter as constant, within its error.
    assert torch.autograd.gradcheck(lambda x, z: make(x).filter(z, heat, tol=1e-9), (x, z))


@pytest.mark.parametrize("features", ["duplicate nodes", "a zero node", "a zero column"])
@pytest.mark.parametrize("kernel", ["dot", "cosine"])
def test_gradients_where_eigenvalues_meet(kernel, features):
    """Rank-deficient factors, where the gradient of an eigendecomposition is NaN or wrong."""
    start = np.abs(SMALL) + 0.1
    if features == "duplicate nodes":
        start[6:] = start[:6]
    elif features == "a zero column":
        start[:, 2] = 0.0
    elif kernel == "dot":
        start[3] = 0.0
    x = torch.from_numpy(start).requires_grad_()
    options = {"feature_map": "square"} if kernel == "dot" else {}

    def filtered(x):
        graph = gspnl.feature_graph(x, kernel, storage="lowrank", **options)
        return graph.filter(SIGNAL, responses.tikhonov(5.0))

    if features == "a zero node" and kernel == "dot":  # isolated: its degree has no gradient
        filtered(x).sum().backward()
        assert torch.isfinite(x.grad).all()
    else:
        assert torch.autograd.gradcheck(filtered, (x,))


def test_unavailable_gradients_raise():
    x = torch.from_numpy(SMALL.copy()).requires_grad_()
    graph = gspnl.feature_graph(x, "rbf")
    with pytest.raises(gspnl.GspnlError, match="jumps or is too sharp"):
        graph.filter(SIGNAL, responses.low_pass(0.5))
    with pytest.raises(gspnl.GspnlError, match="carries no gradient"):
        graph.filter(SIGNAL, np.ones(12))
    with pytest.raises(gspnl.GspnlError, match="carries no gradient"):
        graph.filter(SIGNAL, responses.heat(1.0), order=3, deflate=2)


def test_mixed_libraries_raise():
    with pytest.raises(gspnl.errors.InputError, match="convert one of them"):
        gspnl.feature_graph(X, kernel="dot").apply(torch.from_numpy(Z))


def test_results_do_not_depend_on_blocks_and_threads(monkeypatch):
    tall = np.random.default_rng(3).standard_normal((9000, 7))

    def results():
        (total,) = rows.sum_rows(lambda a: (a.T @ a,), tall)
        return rows.map_rows(lambda a: np.cumsum(a, axis=1), tall), total

    whole = results()
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1 << 12)
    for cores in (1, 2, 5):
        monkeypatch.setattr(rows, "cores", lambda cores=cores: cores)
        mapped, total = results()
        assert np.array_equal(mapped, whole[0])
        assert np.allclose(total, whole[1], rtol=1e-13)
        first = total
        assert np.array_equal(results()[1], first)  # blocks are summed in a fixed order


def blas_threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


def test_row_blocks_limit_blas_threads_and_restore_them(monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(rows, "cores", lambda: 2)
    inside = []

    def fail(a):
        inside.append(blas_threads())
        raise ZeroDivisionError

    with threadpool_limits(2, user_api="blas"):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                rows.sum_rows(fail, np.ones((5000, 3)))
        assert {1} in inside
        assert blas_threads() == {2}
        threads = [
            threading.Thread(
                target=lambda: rows.sum_rows(lambda a: (a.sum(0),), np.ones((5000, 3)))
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert blas_threads() == {2}


def test_inputs_are_not_modified():
    x, z = X.copy(), Z.copy()
    graph = gspnl.feature_graph(x, kernel="dot", normalization="bistochastic")
    graph.filter(z, responses.heat(1.0))
    graph.filter(z, responses.heat(1.0), order=4)
    graph.spectrum().gft(z)
    assert np.array_equal(x, X)
    assert np.array_equal(z, Z)


def test_strided_views_are_accepted():
    wide = np.random.default_rng(4).standard_normal((120, 10))
    assert np.array_equal(
        gspnl.feature_graph(wide[:, ::2], kernel="dot").degrees,
        gspnl.feature_graph(wide[:, ::2].copy(), kernel="dot").degrees,
    )
    wide[3, 2] = np.nan
    with pytest.raises(gspnl.errors.InputError, match=r"index \(3, 1\)"):
        gspnl.feature_graph(wide[:, ::2], kernel="dot")


def test_importing_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, gspnl; gspnl.feature_graph; gspnl.compare; gspnl.responses; gspnl.chebyshev;"
        "print([m for m in ('torch', 'matplotlib', 'plotly', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists():
    for name in gspnl.__all__:
        assert getattr(gspnl, name) is not None
    assert set(gspnl.__all__) <= set(dir(gspnl))
    with pytest.raises(AttributeError, match="no attribute 'feature_grap'"):
        gspnl.feature_grap  # noqa: B018
