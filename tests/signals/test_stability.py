"""Stability against dense formulas: powers of matrices, Kronecker products, bisection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.formulas import affinity, normalized, weights

import gspnl
from gspnl import responses, stability
from gspnl.errors import InputError, NonsymmetricError, SizeError

NORMALIZATIONS = ("random_walk", "symmetric", "bistochastic")
TOLERANCE = 1e-10  # float64 rounding over sums of 60 nodes is near 1e-14


def make(kernel="dot", normalization="random_walk", n=60, seed=0, **options):
    """Return a graph, with dense A and change of basis by plain formulas."""
    X = np.random.default_rng(seed).standard_normal((n, 4))
    graph = gspnl.feature_graph(X, kernel, normalization=normalization, **options)
    return graph, *normalized(weights(affinity(kernel, X, **options), normalization), normalization)


def core(A, change):
    return A / change[:, None] * change


# --- the stable hypothesis ------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("kernel", "options"), [("dot", {"feature_map": "softplus"}), ("rbf", {})])
@pytest.mark.parametrize("power", [2, 3, 5])
def test_the_defect_equals_the_distance_of_matrices(normalization, kernel, options, power):
    graph, A, change = make(kernel, normalization, **options)
    S = core(A, change)
    truth = np.linalg.norm(np.linalg.matrix_power(S, power) - S) / np.linalg.norm(S)
    assert abs(stability.idempotence_defect(graph, power) - truth) < TOLERANCE
    assert truth > 1e-3


def test_the_defect_counts_multiplicities():
    """Isolated nodes give μ = 1 a high multiplicity, and make A nearly the identity."""
    X = np.zeros((40, 4))
    X[:4] = np.random.default_rng(0).random((4, 4))
    graph = gspnl.feature_graph(X, "dot")
    A = np.asarray(graph.dense())
    change = np.sqrt(1 / np.where(A.diagonal() == 1, 1, np.asarray(graph.degrees)))
    S = core(A, change)
    truth = np.linalg.norm(S @ S - S) / np.linalg.norm(S)
    assert abs(stability.idempotence_defect(graph) - truth) < TOLERANCE
    assert stability.spectral_gap(graph) == 0  # several components forget nothing
    assert stability.memory(graph, 50) == 1


def test_the_defect_of_softmax_equals_that_of_the_dense_matrix():
    X = np.random.default_rng(0).standard_normal((50, 4))
    pair = np.random.default_rng(1).standard_normal((2, 4, 3))
    graph = gspnl.feature_graph(X, "embedded_gaussian", (pair[0], pair[1]), normalization="softmax")
    E = np.exp(X @ pair[0] @ (X @ pair[1]).T)
    A = E / E.sum(1, keepdims=True)
    truth = np.linalg.norm(A @ A - A) / np.linalg.norm(A)
    assert abs(stability.idempotence_defect(graph) - truth) < TOLERANCE
    second = np.sort(np.abs(np.linalg.eigvals(A)))[-2]
    assert abs(stability.spectral_gap(graph) - (1 - second)) < TOLERANCE
    channels = [-np.eye(2), 0.5 * np.eye(2)]
    radius = np.abs(1 - 1 + 0.5 * np.linalg.eigvals(A)).max()
    assert abs(stability.cfl(graph, channels).radius - radius) < TOLERANCE
    with pytest.raises(NonsymmetricError, match=r"pass the channel matrices \[W1, W2\]"):
        stability.cfl(graph, responses.nl())


@pytest.mark.parametrize("n", [2, 3, 50])
def test_equal_features_give_global_pooling(n):
    graph = gspnl.feature_graph(np.ones((n, 3)), "rbf")
    assert stability.idempotence_defect(graph) < TOLERANCE
    assert abs(stability.spectral_gap(graph) - 1) < TOLERANCE
    assert stability.memory(graph, [0, 1]).tolist() == pytest.approx([1, 0], abs=TOLERANCE)


# --- the gap --------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("self_loops", [True, False])
def test_both_spectral_gaps_equal_the_dense_ones(normalization, self_loops):
    X = np.random.default_rng(3).random((30, 4)) + 0.1
    graph = gspnl.feature_graph(
        X, "dot", normalization=normalization, self_loops=self_loops, storage="dense"
    )
    W = weights(affinity("dot", X), normalization, self_loops)
    A, change = normalized(W, normalization)
    mu = np.linalg.eigvalsh(core(A, change))
    assert abs(stability.spectral_gap(graph) - (1 - np.sort(np.abs(mu))[-2])) < TOLERANCE
    assert abs(stability.spectral_gap(graph, absolute=False) - (1 - mu[-2])) < TOLERANCE
    if not self_loops:  # one of these is 1 − |μ_N|, so the two differ
        assert abs(mu[0]) > 0
    norm = np.linalg.norm(np.linalg.matrix_power(core(A, change), 3) - projection(change, A), 2)
    assert abs(stability.memory(graph, 3) - norm) < TOLERANCE


def projection(change, A):
    _, V = np.linalg.eigh(core(A, change))
    return np.outer(V[:, -1], V[:, -1])


def test_the_memory_of_a_bipartite_graph_does_not_decay():
    X = np.eye(4)[np.arange(20) % 2]
    graph = gspnl.feature_graph(X, "dot", (np.eye(4)[:, :2], np.eye(4)[:, [1, 0]]))
    assert stability.spectral_gap(graph) < TOLERANCE
    assert stability.spectral_gap(graph, absolute=False) > 0.5
    assert abs(stability.memory(graph, 1000) - 1) < 1e-9


# --- units ----------------------------------------------------------------------------------------


def bisected(rates, top=1e6):
    """The largest h with |1 + h z| ≤ 1 for all rates, by bisection from below."""
    low, high = 0.0, top
    for _ in range(200):
        h = (low + high) / 2
        low, high = (h, high) if np.abs(1 + h * rates).max() <= 1 + 1e-13 else (low, h)
    return low


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_step_limit_of_the_nonlocal_stage(normalization):
    graph, A, change = make("rbf", normalization)
    lam = np.linalg.eigvalsh(np.eye(60) - core(A, change))
    found = stability.cfl(graph, responses.ns(), step=0.5, units=3)
    assert abs(found.limit - 2 / lam[-1]) < 1e-9
    assert found.stable
    assert abs(found.radius - np.abs(1 - 0.5 * lam).max()) < TOLERANCE
    assert abs(found.growth - found.radius**3) < TOLERANCE
    assert not stability.cfl(graph, responses.ns(), step=1.001 * found.limit).stable
    assert stability.cfl(graph, responses.ns(), step=found.limit).stable


def test_step_limits_of_zero_and_infinity():
    graph, *_ = make("rbf")
    growing = stability.cfl(graph, responses.nl(), step=0.1, units=10)
    assert (growing.limit, growing.stable) == (0.0, False)
    assert abs(growing.radius - 1.1) < TOLERANCE
    assert abs(growing.mode - 1) < TOLERANCE
    still = stability.cfl(graph, responses.snl(0.0, 0.0), step=1e9)
    assert (still.limit, still.stable, still.radius) == (np.inf, True, 1.0)
    huge = stability.cfl(graph, responses.nl(), step=1e3, units=1000)
    assert huge.growth == np.inf


@pytest.mark.parametrize("count", [2, 3])
def test_channel_matrices_equal_the_kronecker_operator(count):
    graph, A, _ = make("dot", n=20, feature_map="softplus")
    rng = np.random.default_rng(0)
    W = [-np.eye(3) + 0.2 * rng.standard_normal((3, 3)), 0.3 * rng.standard_normal((3, 3))]
    W += [0.1 * rng.standard_normal((3, 3))] * (count - 2)
    F = np.kron(W[0].T, np.eye(20)) + np.kron(W[1].T, A)
    if count == 3:
        F = F + np.kron(W[2].T, 2 * A - np.eye(20))
    rates = np.linalg.eigvals(F)
    found = stability.cfl(graph, W, step=0.3)
    assert abs(found.radius - np.abs(1 + 0.3 * rates).max()) < 1e-8  # of a general eigensolver
    assert abs(found.limit - bisected(rates)) < 1e-6
    assert found.limit > 0
    # And in time: bounded below the limit, growing above it.
    for factor, grows in ((0.95, False), (1.05, True)):
        power = np.linalg.matrix_power(np.eye(60) + factor * found.limit * F, 2048)
        assert (np.linalg.norm(power) > 1e3) == grows


def test_one_channel_equals_a_scalar_response():
    graph, *_ = make("dot", feature_map="softplus")
    scalar = stability.cfl(graph, responses.snl(-1.0, 0.4), step=0.7)
    matrix = stability.cfl(graph, [np.array([[-1.0]]), np.array([[0.4]])], step=0.7)
    assert abs(scalar.radius - matrix.radius) < TOLERANCE
    assert abs(scalar.limit - matrix.limit) < TOLERANCE


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.5,), {}, "must be a callable"),
        (([np.eye(2)],), {}, "not list of 1"),
        (([np.eye(2), np.eye(3)],), {}, "of one size"),
        (([np.ones((2, 3))] * 2,), {}, "square"),
        (([np.eye(2), np.eye(2) * np.nan],), {}, "not finite"),
        ((responses.ns(),), {"step": 0.0}, "step=0.0 must be a finite number > 0"),
        ((responses.ns(),), {"step": np.inf}, "step=inf"),
        ((responses.ns(),), {"units": 0}, "units=0 must be a whole number ≥ 1"),
        ((responses.ns(),), {"units": 1.5}, "units=1.5"),
        ((lambda lam: lam * np.nan,), {}, "finite"),
    ],
)
def test_invalid_units_raise(arguments, options, message):
    graph, *_ = make("dot", feature_map="softplus")
    with pytest.raises(InputError, match=message):
        stability.cfl(graph, *arguments, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: stability.idempotence_defect(g, 1), "power=1 must be a whole number ≥ 2"),
        (lambda g: stability.idempotence_defect(g, 2.0), "power=2.0"),
        (lambda g: stability.idempotence_defect(g, True), "power=True"),
        (lambda g: stability.memory(g, -1), "depth=-1 must be"),
        (lambda g: stability.memory(g, 1.5), "depth=1.5 must be"),
        (lambda g: stability.memory(g, [1, -2]), "depth=\\[1, -2\\] must be"),
    ],
)
def test_invalid_depths_raise(call, message):
    graph, *_ = make("dot", feature_map="softplus")
    with pytest.raises(InputError, match=message):
        call(graph)


@pytest.mark.parametrize(
    "call",
    [
        stability.idempotence_defect,
        stability.spectral_gap,
        stability.memory,
        lambda A: stability.cfl(A, responses.ns()),
    ],
)
def test_a_matrix_in_place_of_a_graph_raises(call):
    with pytest.raises(InputError, match=r"graph is a ndarray; make one with"):
        call(np.eye(3))


def test_a_batch_raises():
    X = np.random.default_rng(0).random((3, 10, 2))
    for normalization in ("random_walk", "softmax"):
        graph = gspnl.feature_graph(X, "rbf", normalization=normalization)
        for call in (stability.idempotence_defect, stability.spectral_gap, stability.strengths):
            with pytest.raises(InputError, match=r"take one|one graph|graphs"):
                call(graph)
            call(graph[1])


# --- damping --------------------------------------------------------------------------------------


def test_damping_bounds_the_growth_of_a_block():
    rng = np.random.default_rng(0)
    W_g, W = rng.standard_normal((12, 5)), rng.standard_normal((5, 12))
    found = stability.damping(W_g, W)
    x = rng.standard_normal((2000, 12))
    quotients = np.einsum("ni,ij,nj->n", x, W_g @ W, x) / (x**2).sum(1)
    assert found.eigenvalues[-1] <= quotients.min() < 0 < quotients.max() <= found.eigenvalues[0]
    assert abs(found.eigenvalues.sum() - np.trace(W_g @ W)) < 1e-12
    assert found.rank == 10  # 2c at most, C = 12
    assert found.negative == (found.eigenvalues < -1e-9).mean()
    top = found.top(3)
    assert np.abs(top).min() >= np.sort(np.abs(found.eigenvalues))[-3]
    assert (np.diff(top) <= 0).all()
    assert len(found.top()) == 12


def test_damping_of_zero_weights():
    found = stability.damping(np.zeros((4, 2)), np.zeros((2, 4)))
    assert (found.negative, found.rank) == (0.0, 0)


@pytest.mark.parametrize(
    ("W_g", "W", "message"),
    [
        (np.ones((4, 2)), np.ones((4, 2)), r"pass \(C, c\) and \(c, C\)"),
        (np.ones(4), np.ones((1, 4)), "pass a matrix"),
        (np.ones((4, 2)), np.full((2, 4), np.nan), "W has 8 value"),
        (np.full((2, 2), 1e200), np.full((2, 2), 1e200), "W_g W has"),
        (np.ones((0, 2)), np.ones((2, 0)), "pass a matrix"),
    ],
)
def test_invalid_channel_weights_raise(W_g, W, message):
    with pytest.raises(InputError, match=message):
        stability.damping(W_g, W)


# --- histograms -----------------------------------------------------------------------------------


def test_strengths_equal_a_plain_loop():
    graph, A, _ = make("rbf", n=30)
    found = stability.strengths(graph, (1, 2, 4), bins=7)
    powers = [A, A @ A, A @ A @ A @ A]
    low, high = min(p.min() for p in powers), max(p.max() for p in powers)
    np.testing.assert_allclose(found.edges, np.linspace(low, high, 8), rtol=1e-12)
    counts = np.zeros((3, 7), int)
    for i, matrix in enumerate(powers):
        for value in matrix.ravel():
            counts[i, min(int((value - low) / (high - low) * 7), 6)] += 1
    # An entry at an end of a bin may round to either side.
    assert np.abs(found.counts - counts).sum() <= 4
    assert (found.counts.sum(1) == 900).all()
    expected = [np.abs(found.counts[i] - found.counts[0]).sum() / 1800 for i in range(3)]
    np.testing.assert_allclose(found.distances, expected)
    gaps = [np.linalg.norm(p - A) / np.linalg.norm(A) for p in powers]
    np.testing.assert_allclose(found.defects, gaps, atol=1e-12)


def test_strengths_of_any_normalisation_and_of_equal_entries():
    X = np.ones((6, 2))
    for normalization in (*NORMALIZATIONS, "softmax"):
        found = stability.strengths(gspnl.feature_graph(X, "rbf", normalization=normalization))
        assert found.counts.sum() == 4 * 36
        assert found.defects.max() < 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)),), r"shape \(2, 3\)"),
        ((np.full((2, 2), np.inf),), "not finite"),
        ((np.eye(2), ()), "powers is empty"),
        ((np.eye(2), 2), "powers=2 must be a sequence"),
        ((np.eye(2), (0,)), "powers=0"),
        ((np.eye(2), (1,), 0), "bins=0"),
    ],
)
def test_invalid_strengths_arguments_raise(arguments, message):
    with pytest.raises(InputError, match=message):
        stability.strengths(*arguments)


def test_powers_that_do_not_fit_in_memory_raise(monkeypatch):
    graph = gspnl.feature_graph(np.random.default_rng(0).random((300_000, 2)), kernel="dot")
    with pytest.raises(SizeError, match="take a sample of the nodes"):
        stability.strengths(graph)


# --- libraries, dtypes, sizes ---------------------------------------------------------------------


def test_torch_and_float32_give_the_same_numbers():
    X = np.random.default_rng(0).standard_normal((50, 4))
    truth = gspnl.feature_graph(X, "dot", feature_map="softplus")
    for other, tolerance in ((torch.asarray(X), 1e-12), (X.astype(np.float32), 1e-5)):
        graph = gspnl.feature_graph(other, "dot", feature_map="softplus")
        for call in (
            stability.idempotence_defect,
            stability.spectral_gap,
            lambda g: stability.memory(g, 3),
            lambda g: stability.cfl(g, responses.ns()).limit,
            lambda g: stability.cfl(g, [-np.eye(2), np.eye(2) / 2]).radius,
            lambda g: stability.strengths(g).defects[1],
        ):
            assert isinstance(call(graph), float)
            assert abs(call(graph) - call(truth)) < tolerance


def test_stability_in_the_strict_array_api():
    strict = pytest.importorskip("array_api_strict")
    X = np.random.default_rng(0).standard_normal((30, 3))
    graph = gspnl.feature_graph(strict.asarray(X), "rbf")
    truth = gspnl.feature_graph(X, "rbf")
    assert stability.spectral_gap(graph) == pytest.approx(stability.spectral_gap(truth), abs=1e-12)
    W = strict.asarray(np.eye(2))
    assert stability.cfl(graph, [-1.0 * W, 0.5 * W]).stable


def test_a_large_low_rank_graph_needs_no_dense_matrix():
    X = np.random.default_rng(0).random((200_000, 3))
    graph = gspnl.feature_graph(X, kernel="dot")
    assert 0 < stability.idempotence_defect(graph) < 1
    assert 0 < stability.spectral_gap(graph) < 1


@pytest.mark.parametrize("kernel", ["rbf", "cosine", "concatenation"])
def test_the_gap_of_a_large_graph_comes_from_the_ends_of_its_spectrum(kernel, monkeypatch):
    from gspnl.signals.stability import depth

    rng = np.random.default_rng(3)
    X = rng.random((90, 3))
    options = {"embed": (rng.random(3), -rng.random(3))} if kernel == "concatenation" else {}
    for storage in ("dense", "tiled"):
        graph = gspnl.feature_graph(X, kernel, storage=storage, **options)
        mu = np.sort(np.linalg.eigvals(graph.dense()).real)
        monkeypatch.setattr(depth, "MANY", 10)
        gap, algebraic = (stability.spectral_gap(graph, absolute=a) for a in (True, False))
        assert abs(gap - (1 - max(abs(mu[0]), abs(mu[-2])))) < 1e-9
        assert abs(algebraic - (1 - mu[-2])) < 1e-9
