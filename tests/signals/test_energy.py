"""Energies and variations against the double sums over all edges."""

from __future__ import annotations

import tracemalloc

import array_api_strict
import numpy as np
import pytest
from support.formulas import relative
from support.operator_graphs import PAIRS, X, build, pairs_of

import gspnl
from gspnl._base import rows
from gspnl.errors import InputError, NonsymmetricError

torch = pytest.importorskip("torch", reason="torch is not installed")

VERBS = [
    gspnl.dirichlet_energy,
    gspnl.total_variation,
    gspnl.smoothness,
    gspnl.local_variation,
]


def signals(n, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 3)) + np.array([0, 5, -2])


def differences(f):
    return f[:, None, :] - f[None, :, :]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)])
@pytest.mark.parametrize(("case", "normalization"), PAIRS)
def test_energies_equal_the_sums_over_edges(case, normalization, dtype, tolerance):
    graph, W, A, change = build(case, normalization, dtype)
    Z = signals(graph.n_nodes).astype(dtype)
    K, f = pairs_of(W, A, normalization, Z.astype(np.float64))
    gaps = differences(f)
    squares = (K[:, :, None] * gaps**2).sum(1)
    energy = squares.sum(0) / 2
    norm = ((Z / change[:, None]) ** 2).sum(0)
    for verb, truth in [
        (gspnl.dirichlet_energy, energy),
        (gspnl.total_variation, (K[:, :, None] * abs(gaps)).sum((0, 1)) / 2),
        (gspnl.smoothness, energy / norm),
    ]:
        value = verb(graph, Z)
        assert value.dtype == dtype
        assert value.shape == (3,)
        assert relative(value, truth) < tolerance
        assert verb(graph, Z[:, 1]).shape == ()
        assert verb(graph, Z[:, 1]) == pytest.approx(value[1], rel=tolerance)
    # a root of a difference: the square root of the tolerance is what rounding leaves
    assert relative(gspnl.local_variation(graph, Z), np.sqrt(squares)) < np.sqrt(tolerance)


@pytest.mark.parametrize(
    "normalization", ["random_walk", "symmetric", "bistochastic", "combinatorial"]
)
def test_the_energy_equals_the_quadratic_form_of_the_laplacian(normalization):
    graph, _, A, change = build("rbf", normalization)
    Z = signals(graph.n_nodes)
    form = (Z / change[:, None] ** 2 * (Z - A @ Z)).sum(0)
    assert relative(gspnl.dirichlet_energy(graph, Z), form) < 1e-12


@pytest.mark.parametrize(("case", "normalization"), PAIRS)
def test_the_constant_mode_has_no_variation(case, normalization):
    graph, W, _, _ = build(case, normalization)
    d = W.sum(1)
    mode = 1e6 * (np.sqrt(d) if normalization == "symmetric" else np.ones(len(d)))
    scale = float(((mode / np.asarray(graph.affinity.change)) ** 2).sum())
    # Taking the mean off first leaves eps², not eps, of the norm (bistochastic: its tolerance).
    assert 0 <= gspnl.dirichlet_energy(graph, mode) <= 1e-28 * scale
    assert 0 <= gspnl.smoothness(graph, mode) <= 1e-28
    assert 0 <= gspnl.total_variation(graph, mode) <= 1e-13 * scale


def test_energies_equal_pygsp():
    pygsp = pytest.importorskip("pygsp")
    graph, W, _, _ = build("hollow_rbf", "random_walk")
    Z = signals(graph.n_nodes)
    theirs = pygsp.graphs.Graph(W, lap_type="combinatorial")
    truth = [theirs.dirichlet_energy(z) for z in Z.T]
    assert relative(gspnl.dirichlet_energy(graph, Z), truth) < 1e-12
    theirs = pygsp.graphs.Graph(W, lap_type="normalized")
    truth = [theirs.dirichlet_energy(z) for z in Z.T]
    graph = build("hollow_rbf", "symmetric")[0]
    assert relative(gspnl.dirichlet_energy(graph, Z), truth) < 1e-12


def test_the_variation_of_an_indicator_is_its_cut():
    graph, W, _, _ = build("softplus")
    inside = np.arange(graph.n_nodes) < 13
    assert gspnl.total_variation(graph, inside) == pytest.approx(W[inside][:, ~inside].sum())


def test_total_variation_by_sorting_equals_that_by_blocks_of_rows(monkeypatch):
    rng = np.random.default_rng(0)
    features, Z = rng.random((3000, 4)), rng.standard_normal((3000, 2)).round(1)  # with ties
    fast = gspnl.feature_graph(features, kernel="dot", storage="lowrank", normalization="symmetric")
    slow = gspnl.feature_graph(features, kernel="dot", storage="dense", normalization="symmetric")
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1 << 18)  # many blocks, on threads
    value = gspnl.total_variation(slow, Z)
    assert relative(gspnl.total_variation(fast, Z), value) < 1e-12


def test_memory_stays_below_n_squared(monkeypatch):
    n = 2500
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1 << 17)
    points = np.random.default_rng(0).standard_normal((n, 1))
    dense = gspnl.feature_graph(points, "rbf", storage="dense")
    light = gspnl.feature_graph(points, "rbf", storage="tiled")
    known = np.arange(n) % 7 == 0
    for verb in [
        *VERBS,
        lambda g, z: gspnl.inpaint(g, z, known),
        lambda g, z: gspnl.denoise(g, z, strength=3.0, tol=1e-6),
    ]:
        tracemalloc.start()
        value = verb(light, points)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.5 * n**2  # bytes: a third of W in float64; the tiles alone are 5 MB
        assert relative(value, verb(dense, points)) < 1e-6


def test_the_energy_of_a_smooth_signal_is_nonnegative():
    """Slightly different values on clusters joined by weights of 1e-14: the energy stays ≥ 0."""
    features = np.repeat([[0.0], [8.0]], 20, axis=0)
    graph = gspnl.feature_graph(features, "rbf")
    value = np.repeat([0.0, 1.0], 20)
    truth = 400 * np.exp(-32.0)
    assert 0 <= gspnl.dirichlet_energy(graph, value) <= truth + 1e-13
    assert gspnl.total_variation(graph, value) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_energies_of_huge_and_tiny_signals(size):
    graph, _, _, _ = build("rbf")
    Z = signals(graph.n_nodes)
    for verb in (gspnl.smoothness, lambda g, z: gspnl.total_variation(g, z) / abs(z).max(),
                 lambda g, z: gspnl.local_variation(g, z) / abs(z).max()):  # fmt: skip
        assert relative(verb(graph, size * Z), verb(graph, Z)) < 1e-12


def test_energies_of_a_batch_equal_each_graph():
    stack = np.stack([X, X[::-1] * 2])
    graph = gspnl.feature_graph(stack, "rbf", normalization="bistochastic")
    Z = signals(len(X))
    for verb in VERBS:
        each = [verb(graph[i], Z) for i in range(2)]
        assert relative(verb(graph, Z), np.stack(each)) < 1e-12
        assert relative(verb(graph, np.stack([Z, Z])), np.stack(each)) < 1e-12
    single = gspnl.feature_graph(X, kernel="dot")  # one graph, two sets of signals
    for verb in VERBS:
        both = verb(single, np.stack([Z, -3 * Z]))
        assert relative(both[0], verb(single, Z)) < 1e-12
        assert relative(both[1], verb(single, -3 * Z)) < 1e-12


@pytest.mark.parametrize("convert", [torch.from_numpy, array_api_strict.asarray])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [("rbf", {}), ("dot", {}), ("cosine", {"normalization": "bistochastic", "self_loops": False})],
)
def test_energies_in_other_libraries(kernel, options, convert):
    Z = signals(len(X))
    ours = gspnl.feature_graph(X, kernel, **options)
    theirs = gspnl.feature_graph(convert(X.copy()), kernel, **options)
    for verb in VERBS:
        value = verb(theirs, convert(Z.copy()))
        assert type(value) is type(theirs.degrees)
        got = value.numpy() if hasattr(value, "numpy") else np.from_dlpack(value)
        tolerance = 1e-7 if verb is gspnl.local_variation else 1e-12
        assert relative(got, verb(ours, Z)) < tolerance


@pytest.mark.parametrize("verb", [gspnl.dirichlet_energy, gspnl.total_variation, gspnl.smoothness])
def test_energies_are_differentiable(verb):
    """Gradients in the signal and in the features, as for a regulariser of a network."""
    features = torch.from_numpy(X[:8].copy()).requires_grad_()
    Z = torch.from_numpy(signals(8)).requires_grad_()

    def loss(features, Z):
        graph = gspnl.feature_graph(features, feature_map="softplus", storage="lowrank")
        return verb(graph, Z)

    assert torch.autograd.gradcheck(loss, (features, Z))


@pytest.mark.parametrize("verb", VERBS)
def test_softmax_and_invalid_signals_raise(verb):
    soft = gspnl.feature_graph(X, kernel="dot", normalization="softmax")
    with pytest.raises(NonsymmetricError, match="softmax"):
        verb(soft, X)
    graph = gspnl.feature_graph(X, kernel="dot")
    with pytest.raises(InputError, match=r"Z has shape \(3, 2\)"):
        verb(graph, np.ones((3, 2)))
    with pytest.raises(InputError, match="not finite"):
        verb(graph, np.full(len(X), np.nan))
    with pytest.raises(InputError, match="graph is a ndarray"):
        verb(X, X)


def test_the_rayleigh_quotient_of_a_zero_column_raises():
    with pytest.raises(InputError, match="column 1 of Z is zero"):
        gspnl.smoothness(gspnl.feature_graph(X, kernel="dot"), np.eye(len(X))[:, :2] * [1, 0])


def test_energies_of_signed_weights():
    """Raw dot products with positive degrees: energies may be negative."""
    features = np.array([[1.0, 5.0], [20.0, 0.0], [1.0, -3.0]])
    graph = gspnl.feature_graph(features, feature_map="identity")
    W = features @ features.T
    assert W.min() < 0
    Z = np.array([1.0, 0.0, -1.0])
    truth = (W * np.subtract.outer(Z, Z) ** 2).sum() / 2
    assert truth < 0
    assert gspnl.dirichlet_energy(graph, Z) == pytest.approx(truth)
    truth = (W * abs(np.subtract.outer(Z, Z))).sum() / 2
    assert gspnl.total_variation(graph, Z) == pytest.approx(truth)
    with pytest.raises(InputError, match="local_variation needs non-negative weights"):
        gspnl.local_variation(graph, Z)


@pytest.mark.filterwarnings("ignore::gspnl.errors.AveragingWarning")  # 40 random points
@pytest.mark.parametrize("verb", ["local_variation", "inpaint", "propagate_labels"])
def test_the_remedy_for_negative_weights_fits_the_graph(verb):
    call = {
        "local_variation": lambda g: gspnl.local_variation(g, np.ones(40)),
        "inpaint": lambda g: gspnl.inpaint(g, np.ones(40), np.arange(40) < 5),
        "propagate_labels": lambda g: gspnl.propagate_labels(g, np.arange(40) - 1),
    }[verb]
    points = np.random.default_rng(0).random((40, 3))
    rough = gspnl.feature_graph(points, "rbf", sigma=0.4, rank=15)
    with pytest.raises(InputError, match=f"{verb} needs .* leave out rank= and tol="):
        call(rough)
    call(gspnl.feature_graph(points, "rbf", sigma=0.4, rank=15, approximation="random_features"))
    signed = np.full((40, 40), 1.0)
    signed[0, 1] = signed[1, 0] = -0.5
    with pytest.raises(InputError, match=rf"{verb} needs .* np.maximum\(W, 0\)"):
        call(gspnl.graph_from_weights(signed))
    call(gspnl.graph_from_weights(np.maximum(signed, 0)))
