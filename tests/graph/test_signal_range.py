"""Signals near the ends of their dtype's range: scaled by powers of 2, exactly, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from support.formulas import relative

import gspnl
from gspnl.errors import InputError

RNG = np.random.default_rng(0)
X = np.abs(RNG.standard_normal((40, 3)))
Z = RNG.standard_normal((40, 2))
PAIR = tuple(np.abs(RNG.standard_normal((2, 3))))
SIZES = [("f4", s) for s in (1e-36, 1e-30, 1e20, 1e36)]
SIZES += [("f8", s) for s in (1e-290, 1e-160, 1e160, 1e300)]
MODERATE = [("f4", 1e-30), ("f4", 1e30), ("f8", 1e-200), ("f8", 1e200)]
FILLS = ({}, {"method": "tikhonov", "strength": 2.0}, {"method": "heat", "strength": 2.0})
GRAPHS = {
    "lowrank": ("dot", {}),
    "dense": ("gaussian", {"storage": "dense"}),
    "tiled": ("rbf", {"storage": "tiled", "sigma": 0.8}),
    "logarithms": ("gaussian", {"storage": "tiled"}),
    "sorted": ("concatenation", {"embed": PAIR}),
    "no self-loops": ("dot", {"self_loops": False, "storage": "lowrank"}),
    "softmax": ("gaussian", {"normalization": "softmax"}),
    "symmetric": ("dot", {"normalization": "symmetric"}),
    "bistochastic": ("rbf", {"normalization": "bistochastic"}),
    "anchors": ("anchors", {"anchors": 5}),
    "approximation": ("rbf", {"rank": 40}),
}


def build(case, dtype, features=X):
    kernel, options = GRAPHS[case]
    if "embed" in options:
        options = options | {"embed": tuple(w.astype(dtype) for w in PAIR)}
    return gspnl.feature_graph(features.astype(dtype), kernel, **options)


def tolerance(dtype):
    return 5e-6 if dtype == "f4" else 1e-12


@pytest.mark.parametrize("case", GRAPHS)
@pytest.mark.parametrize(("dtype", "size"), SIZES)
def test_products_are_homogeneous_to_the_ends_of_the_range(case, dtype, size):
    graph = build(case, dtype)
    A = graph.dense().astype("f8")
    z = (Z * size).astype(dtype)
    unit = z.astype("f8") / size
    assert relative(graph.apply(z).astype("f8") / size, A @ unit) < tolerance(dtype)
    assert relative(graph.laplacian(z).astype("f8") / size, unit - A @ unit) < tolerance(dtype)
    assert relative((graph @ z[:, 0]).astype("f8") / size, A @ unit[:, 0]) < tolerance(dtype)


@pytest.mark.parametrize(
    ("features", "signal", "dtype"),
    [(1e-10, 1e-25, "f4"), (1e10, 1e18, "f4"), (1e-80, 1e-160, "f8"), (1e80, 1e150, "f8")],
)
@pytest.mark.parametrize("case", ["lowrank", "sorted", "no self-loops", "symmetric"])
def test_signals_and_weights_far_from_1_on_the_same_side(case, features, signal, dtype):
    graph = build(case, dtype, X * features)
    A = build(case, "f8").dense()
    z = (Z * signal).astype(dtype)
    assert relative(graph.apply(z).astype("f8") / signal, A @ Z) < 3 * tolerance(dtype)
    plain = build(case, "f8").filter(Z, gspnl.responses.heat(2.0), order=6)
    got = graph.filter(z, gspnl.responses.heat(2.0), order=6).astype("f8") / signal
    assert relative(got, plain) < 10 * tolerance(dtype)


@pytest.mark.parametrize("size", [1e36, 3e38])
@pytest.mark.parametrize("case", GRAPHS)
def test_means_of_equal_values_do_not_overflow(case, size):
    graph = build(case, "f4")
    flat = np.full((40, 1), size, "f4")
    if case != "symmetric":
        assert np.abs(graph.apply(flat) / flat - 1).max() < 1e-4


@pytest.mark.parametrize("case", ["lowrank", "dense", "tiled", "symmetric", "bistochastic"])
@pytest.mark.parametrize(("dtype", "size"), SIZES)
def test_filters_and_transforms_are_homogeneous(case, dtype, size):
    graph = build(case, dtype)
    A = graph.dense().astype("f8")
    lam, U = np.linalg.eig(np.eye(40) - A)
    z = (Z * size).astype(dtype)
    unit = z.astype("f8") / size
    heat = ((U * np.exp(-2 * lam)) @ np.linalg.solve(U, unit)).real
    near = 20 * tolerance(dtype)
    g = gspnl.responses.heat(2.0)
    assert relative(graph.filter(z, g).astype("f8") / size, heat) < near
    assert relative(graph.filter(z, g, order=25).astype("f8") / size, heat) < near
    assert relative(graph.chebyshev(g, order=25)(z).astype("f8") / size, heat) < near
    assert relative(graph.filter(z, g, order=25, deflate=False).astype("f8") / size, heat) < near
    spectrum = graph.spectrum()
    assert relative(spectrum.igft(spectrum.gft(z)).astype("f8") / size, unit) < near
    T = graph.affinity.change.astype("f8")
    right = np.linalg.norm(unit / T[:, None])
    assert abs(graph.norm(z) / size / right - 1) < near


@pytest.mark.parametrize(("dtype", "size"), SIZES)
def test_banks_are_homogeneous(dtype, size):
    graph = build("lowrank", dtype)
    bank = gspnl.banks.meyer(4)
    z = (Z * size).astype(dtype)
    right = gspnl.analyze(graph, Z.astype(dtype), bank)
    C = gspnl.analyze(graph, z, bank)
    assert relative(C.astype("f8") / size, right) < 20 * tolerance(dtype)
    back = gspnl.synthesize(graph, C, bank.dual())
    assert relative(back.astype("f8") / size, Z) < 20 * tolerance(dtype)
    batch = gspnl.feature_graph(np.stack([X, X + 1]).astype(dtype), "dot")
    Zs = np.stack([z, Z.astype(dtype)])
    both = gspnl.analyze(batch, Zs, bank)
    assert relative(both[0].astype("f8") / size, right) < 20 * tolerance(dtype)
    assert relative(both[1], gspnl.analyze(batch[1], Z.astype(dtype), bank)) < 20 * tolerance(dtype)
    back = gspnl.synthesize(batch, both, bank.dual())
    assert relative(back[0].astype("f8") / size, Z) < 20 * tolerance(dtype)
    assert relative(back[1], Z) < 20 * tolerance(dtype)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_columns_and_items_of_different_sizes_are_scaled_one_by_one(name):
    z = np.stack([Z, Z]).astype("f4")
    z[0] *= np.array([1e36, 1e-30], "f4")
    z[1] *= np.array([1e-30, 1.0], "f4")
    graph, given = build("tiled", "f4"), z
    A = graph.dense().astype("f8")
    if name == "torch":
        torch = pytest.importorskip("torch")
        given = torch.tensor(z)
        graph = gspnl.feature_graph(torch.tensor(X.astype("f4")), "rbf", storage="tiled", sigma=0.8)
    got = np.asarray(graph.apply(given)).astype("f8")
    for i in range(2):
        for j in range(2):
            assert relative(got[i, :, j], A @ z[i, :, j].astype("f8")) < 3e-6


@pytest.mark.parametrize(("dtype", "size"), MODERATE)
def test_verbs_scale_with_the_signal(dtype, size):
    graph = build("tiled", dtype)
    z, unit = (Z * size).astype(dtype), Z.astype(dtype)
    near = {"rtol": 50 * tolerance(dtype), "atol": 0}
    for verb in (gspnl.total_variation, gspnl.local_variation):
        assert np.allclose(verb(graph, z).astype("f8") / size, verb(graph, unit), **near)
    assert np.allclose(gspnl.smoothness(graph, z), gspnl.smoothness(graph, unit), **near)
    known = np.arange(40) % 3 > 0
    for options in FILLS:
        got = gspnl.inpaint(graph, z, known, **options).astype("f8") / size
        right = gspnl.inpaint(graph, unit, known, **options)
        assert np.allclose(got, right, rtol=2e-3 if dtype == "f4" else 1e-6, atol=1e-6)
    assert np.allclose(
        gspnl.denoise(graph, z, strength=2.0).astype("f8") / size,
        gspnl.denoise(graph, unit, strength=2.0), **near,
    )  # fmt: skip
    for rule in ("risk", "discrepancy"):
        found = gspnl.choose_strength(graph, z, sigma=0.5 * size, rule=rule)
        assert abs(found / gspnl.choose_strength(graph, unit, sigma=0.5, rule=rule) - 1) < 0.02
    table = gspnl.compare(graph, z, gspnl.responses.heat(2.0), orders=(1, 3))
    right = gspnl.compare(graph, unit, gspnl.responses.heat(2.0), orders=(1, 3))
    assert np.allclose(table.errors, right.errors, rtol=1e-2, atol=1e-6)


def test_results_that_are_not_representable_are_refused():
    graph = build("tiled", "f4")
    with pytest.raises(InputError, match=r"entries up to 1\.0e\+25, and the result overflows"):
        gspnl.dirichlet_energy(graph, np.linspace(0, 1e25, 40, dtype="f4"))
    alternating = np.where(np.arange(40) % 2, 3.3e38, -3.3e38).astype("f4")
    with pytest.raises(InputError, match=r"overflows float32; scale Z down, or use float64"):
        graph.filter(alternating, lambda lam: 5 * lam, order=2)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("end", ["huge", "tiny"])
@pytest.mark.parametrize("sparse", [False, True])
def test_stored_weights_near_the_ends_of_the_range(dtype, end, sparse):
    W = RNG.random((20, 20)) + 0.1
    W = W + W.T
    limits = np.finfo(dtype)
    scale = limits.max / 100 if end == "huge" else limits.smallest_normal * 10
    stored = (W * float(scale)).astype(dtype)
    A = W / W.sum(1, keepdims=True)
    z = (50 * Z[:20]).astype(dtype)
    given = scipy.sparse.csr_array(stored) if sparse else stored
    graph = gspnl.graph_from_weights(given)
    assert relative(graph.apply(z), A @ z) < tolerance(dtype)
    assert relative(graph.degrees, W.sum(1) * float(scale)) < tolerance(dtype)
    lam = np.sort(np.linalg.eigvals(np.eye(20) - A).real)
    assert np.abs(graph.spectrum().eigenvalues - lam).max() < 10 * tolerance(dtype)
