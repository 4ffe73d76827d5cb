"""Denoising, inpainting and localisation against dense solutions of their equations."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
from support.averaging import second_of, stated
from support.formulas import dense_filter, eigen, relative
from support.operator_graphs import PAIRS, X, build

import gspnl
from gspnl.errors import ConvergenceError, InputError, NonsymmetricError

torch = pytest.importorskip("torch", reason="torch is not installed")
N = len(X)


def signals(n, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 2)) + np.array([3, 0])


def reaching(n, W=None):
    """A mask that leaves no component without a known node, isolated nodes included."""
    known = np.random.default_rng(2).random(n) < 0.4
    known[0] = True
    return known if W is None else known | (W.sum(1) == 0)


def minimiser(A, change, known, Z, tau):
    """(M + τ L)⁻¹ M Z; for τ = None the Dirichlet problem, by blocks of L."""
    L = np.eye(len(A)) - A
    if tau is not None:
        M = np.diag(known.astype(float))
        return scipy.linalg.solve(M + tau * L, M @ Z)
    out = Z.copy()
    out[~known] = scipy.linalg.solve(L[np.ix_(~known, ~known)], A[np.ix_(~known, known)] @ Z[known])
    return out


# --- denoising --------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-3)])
@pytest.mark.parametrize(("case", "normalization"), PAIRS)
def test_denoising_solves_its_equation(case, normalization, dtype, tolerance):
    graph, W, A, change = build(case, normalization, dtype)
    L = np.eye(len(A)) - A
    Z = signals(len(A)).astype(dtype)
    with stated(second_of(W, A, change, normalization)):
        value = gspnl.denoise(graph, Z, strength=7.0)
    assert value.dtype == dtype
    assert relative(value, np.linalg.solve(np.eye(len(A)) + 7 * L, Z)) < tolerance
    value = gspnl.denoise(graph, Z[:, 0], "heat", strength=2.0)
    assert relative(value, scipy.linalg.expm(-2 * L) @ Z[:, 0]) < tolerance


def test_denoising_by_chebyshev_meets_its_tolerance():
    graph, *_ = build("rbf")
    Z = signals(N)
    exact = gspnl.denoise(graph, Z, strength=20.0)
    for options in ({"tol": 1e-6}, {"order": 12}):
        gap = graph.norm(gspnl.denoise(graph, Z, strength=20.0, **options) - exact)
        assert 0 < gap <= 1e-6 * graph.norm(Z)


def test_strength_zero_leaves_the_signal_unchanged():
    graph, *_ = build("lowrank")
    for method in ("tikhonov", "heat"):
        assert relative(gspnl.denoise(graph, X, method, strength=0), X) < 1e-13


@pytest.mark.parametrize("strength", [-1.0, np.nan, np.inf, "strong", True])
def test_invalid_strengths_raise(strength):
    with pytest.raises(InputError, match=r"strength=.* must be a finite number ≥ 0"):
        gspnl.denoise(gspnl.feature_graph(X, kernel="dot"), X, strength=strength)


def test_unknown_methods_suggest_the_nearest():
    graph = gspnl.feature_graph(X, kernel="dot")
    with pytest.raises(InputError, match="unknown method 'tikhonow'; did you mean 'tikhonov'"):
        gspnl.denoise(graph, X, "tikhonow", strength=1.0)
    with pytest.raises(InputError, match="did you mean 'harmonic'"):
        gspnl.inpaint(graph, X, X[:, 0] > 0, "harmonics")


# --- the choice of a strength -----------------------------------------------------------------


def line(n=300, noise=0.5):
    rng = np.random.default_rng(3)
    x = np.sort(rng.random((n, 1)), axis=0)
    clean = np.stack([np.sin(6 * x[:, 0]), x[:, 0] > 0.5], axis=1)
    return x, clean, clean + noise * rng.standard_normal(clean.shape)


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
@pytest.mark.parametrize("method", ["tikhonov", "heat"])
def test_the_risk_rule_minimises_its_formula(method, normalization):
    x, clean, noisy = line()
    graph = gspnl.feature_graph(x, "rbf", sigma=0.05, normalization=normalization)
    A = np.asarray(graph.dense())
    response = {"tikhonov": lambda s, v: 1 / (1 + s * v), "heat": lambda s, v: np.exp(-s * v)}
    lam, U, inverse = eigen(A, np.asarray(graph.affinity.change))

    def scored(strength):
        gains = response[method](strength, lam)
        Y = U @ (gains[:, None] * (inverse @ noisy))
        return ((noisy - Y) ** 2).sum() + 2 * 0.25 * 2 * gains.sum(), ((Y - clean) ** 2).sum()

    strength = gspnl.choose_strength(graph, noisy, method, sigma=0.5)
    grid = np.array([scored(s) for s in np.logspace(-3, 6, 400)])
    assert scored(strength)[0] <= grid[:, 0].min() * (1 + 1e-4)
    # an estimate of the error from 600 values: within a few per cent of the best in hindsight
    assert scored(strength)[1] <= 1.1 * grid[:, 1].min()


@pytest.mark.parametrize("options", [{}, {"tol": 1e-8}])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
def test_the_discrepancy_rule_leaves_the_energy_of_the_noise(normalization, options):
    x, _, noisy = line()
    graph = gspnl.feature_graph(x, "rbf", sigma=0.05, normalization=normalization)
    strength = gspnl.choose_strength(graph, noisy, sigma=0.5, rule="discrepancy", **options)
    change = np.asarray(graph.affinity.change)[:, None]
    taken = (noisy - gspnl.denoise(graph, noisy, strength=strength)) / change
    # Brent stops at a relative step of 1e-3 in the strength
    assert np.sum(taken**2) == pytest.approx(0.25 * 2 * np.sum(1 / change**2), rel=2e-3)


def test_cross_validation_fails_on_fully_connected_graphs():
    """Its score prefers no smoothing to the strength of least true error."""
    x, clean, noisy = line()
    graph = gspnl.feature_graph(x, "rbf", sigma=0.05)
    A = np.asarray(graph.dense())

    def scored(strength):
        H = np.linalg.inv(np.eye(len(A)) + strength * (np.eye(len(A)) - A))
        gap = noisy - H @ noisy
        return (gap**2).sum() / (len(A) - np.trace(H)) ** 2, ((H @ noisy - clean) ** 2).sum()

    grid = np.array([scored(s) for s in np.logspace(-4, 3, 29)])
    assert grid[:, 0].argmin() == 0
    assert grid[:, 1].argmin() > 14  # a strength between 1 and 1000


def test_requests_without_a_strength_raise():
    x, _, noisy = line()
    graph = gspnl.feature_graph(x, "rbf", sigma=0.05)
    with pytest.raises(InputError, match="sigma=30 is more than all that varies"):
        gspnl.choose_strength(graph, noisy, sigma=30.0, rule="discrepancy")
    assert gspnl.choose_strength(graph, noisy, sigma=1e-9, rule="discrepancy") == 1e-6
    assert gspnl.choose_strength(graph, noisy, sigma=1e-9) < 1e-3
    for sigma in (0.0, -1.0, np.nan, "loud"):
        with pytest.raises(InputError, match=r"sigma=.* must be a finite number > 0"):
            gspnl.choose_strength(graph, noisy, sigma=sigma)
    with pytest.raises(InputError, match="unknown rule 'discrepency'; did you mean"):
        gspnl.choose_strength(graph, noisy, sigma=1.0, rule="discrepency")
    with pytest.raises(InputError, match=r"holds \(2,\) graphs"):
        gspnl.choose_strength(gspnl.feature_graph(np.stack([X, X]), kernel="dot"), X, sigma=1.0)


# --- inpainting -------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-8), (np.float32, 2e-3)])
@pytest.mark.parametrize(("case", "normalization"), PAIRS)
def test_inpainting_solves_its_equation(case, normalization, dtype, tolerance):
    graph, W, A, change = build(case, normalization, dtype)
    n = len(A)
    Z = signals(n).astype(dtype)
    known = reaching(n, W)
    holes = np.where(known[:, None], Z, np.nan)  # what is not known is not looked at
    value = gspnl.inpaint(graph, holes, known)
    assert value.dtype == dtype
    assert (value[known] == Z[known]).all()
    wide = Z.astype(np.float64)
    assert relative(value, minimiser(A, change, known, wide, None)) < tolerance
    for tau in (0.03, 40.0):
        value = gspnl.inpaint(graph, holes[:, 1], known, "tikhonov", strength=tau)
        assert relative(value, minimiser(A, change, known, wide[:, 1], tau)) < tolerance
    d = W.sum(1)
    mode = np.ones(n)
    if normalization == "symmetric":
        mode = np.where(d > 0, np.sqrt(d), 1)
    diffuse = scipy.linalg.expm(-2 * (np.eye(n) - A))
    truth = diffuse @ (known[:, None] * wide) / (diffuse @ (known * mode))[:, None] * mode[:, None]
    assert relative(gspnl.inpaint(graph, holes, known, "heat", strength=2.0), truth) < tolerance


def test_tikhonov_inpainting_equals_pygsp():
    learning = pytest.importorskip("pygsp.learning")
    graphs = pytest.importorskip("pygsp.graphs")
    graph, W, _, _ = build("hollow_rbf", "symmetric")
    theirs = graphs.Graph(W, lap_type="normalized")
    known = reaching(N)
    Z = signals(N)
    truth = learning.regression_tikhonov(theirs, Z * known[:, None], known, tau=0)
    assert relative(gspnl.inpaint(graph, Z, known), truth) < 1e-8
    # theirs is scipy's cg at its default rtol of 1e-5
    truth = learning.regression_tikhonov(theirs, Z[:, 0], known, tau=2.0)
    assert relative(gspnl.inpaint(graph, Z[:, 0], known, "tikhonov", strength=2.0), truth) < 1e-4


def test_limits_of_tikhonov_inpainting():
    graph, *_ = build("rbf")
    Z, known = signals(N), reaching(N)
    harmonic = gspnl.inpaint(graph, Z, known)
    near = gspnl.inpaint(graph, Z, known, "tikhonov", strength=1e-7)
    assert relative(near, harmonic) < 1e-5  # off by O(τ), with the gap of L_uu in the constant
    everything = np.ones(N, bool)
    assert (gspnl.inpaint(graph, Z, everything) == Z).all()
    smooth = gspnl.inpaint(graph, Z, everything, "tikhonov", strength=5.0)
    assert relative(smooth, gspnl.denoise(graph, Z, strength=5.0)) < 1e-9


@pytest.mark.parametrize("method", ["harmonic", "tikhonov", "heat"])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_one_known_value_fills_the_graph(method, offset):
    graph, *_ = build("cosine")
    strength = None if method == "harmonic" else 3.0
    Z = np.full(N, np.nan)
    Z[4] = 2.5 + offset
    value = gspnl.inpaint(graph, Z, np.arange(N) == 4, method, strength=strength)
    assert relative(value, np.full(N, 2.5 + offset)) < 1e-12


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
def test_a_large_offset_loses_no_digits(normalization):
    """L m = 0, so an offset of 1e8 leaves only its rounding, 1.5e-8."""
    graph, W, _, _ = build("rbf", normalization)
    mode = np.sqrt(W.sum(1)) if normalization == "symmetric" else np.ones(N)
    Z, known = signals(N), reaching(N)
    for method, strength in (("harmonic", None), ("tikhonov", 2.0)):
        plain = gspnl.inpaint(graph, Z, known, method, strength=strength)
        moved = gspnl.inpaint(graph, Z + 1e8 * mode[:, None], known, method, strength=strength)
        assert abs(moved - 1e8 * mode[:, None] - plain).max() < 1e-6


@pytest.mark.parametrize("size", [1e-160, 1e160])
def test_huge_and_tiny_values_are_inpainted(size):
    graph, *_ = build("rbf")
    Z, known = signals(N), reaching(N)
    for method, strength in (("harmonic", None), ("tikhonov", 2.0), ("heat", 2.0)):
        value = gspnl.inpaint(graph, size * Z, known, method, strength=strength)
        assert (
            relative(value / size, gspnl.inpaint(graph, Z, known, method, strength=strength)) < 1e-9
        )


def test_inpainting_from_few_known_nodes():
    """The smallest eigenvalue is about 3/2000; the error is still below 1e-8."""
    features = np.random.default_rng(0).random((2000, 3))
    graph = gspnl.feature_graph(features, kernel="dot")
    known = np.arange(2000) < 3
    A = np.asarray(graph.dense())
    Z = features @ np.array([1.0, -2.0, 0.5])
    value = gspnl.inpaint(graph, Z, known)
    assert relative(value, minimiser(A, None, known, Z, None)) < 1e-8


def test_inpainting_a_batch_equals_each_graph():
    stack = np.stack([X, 1.5 * X])
    graph = gspnl.feature_graph(stack, "rbf")
    Z = signals(N)
    masks = np.stack([reaching(N), np.arange(N) < 9])
    for method, strength in (("harmonic", None), ("tikhonov", 2.0), ("heat", 2.0)):
        value = gspnl.inpaint(graph, Z, masks, method, strength=strength)
        for i in range(2):
            one = gspnl.inpaint(graph[i], Z, masks[i], method, strength=strength)
            assert relative(value[i], one) < 1e-8
        shared = gspnl.inpaint(graph, np.stack([Z, Z]), masks[0], method, strength=strength)
        one = gspnl.inpaint(graph[1], Z, masks[0], method, strength=strength)
        assert relative(shared[1], one) < 1e-8
    value = gspnl.denoise(graph, Z, strength=2.0)
    assert relative(value[1], gspnl.denoise(graph[1], Z, strength=2.0)) < 1e-12


@pytest.mark.parametrize("convert", [torch.from_numpy, array_api_strict.asarray])
def test_inpainting_in_other_libraries(convert):
    Z, known = signals(N), reaching(N)
    for kernel, options in (("rbf", {}), ("dot", {"normalization": "symmetric"})):
        features = X + 3 if kernel == "rbf" else np.exp(2 * X)  # of far more than one scale
        ours = gspnl.feature_graph(features, kernel, **options)
        theirs = gspnl.feature_graph(convert(features), kernel, **options)
        z, mask = convert(Z.copy()), convert(known.copy())
        for verb in (
            lambda g, z, mask: gspnl.denoise(g, z, strength=3.0),
            lambda g, z, mask: gspnl.inpaint(g, z, mask),
            lambda g, z, mask: gspnl.inpaint(g, z, known, "tikhonov", strength=3.0),
            lambda g, z, mask: gspnl.inpaint(g, z, mask, "heat", strength=3.0),
            lambda g, z, mask: gspnl.localize(g, gspnl.responses.heat(1.0), [0, 3]),
        ):
            value = verb(theirs, z, mask)
            assert type(value) is type(z)
            got = value.numpy() if hasattr(value, "numpy") else np.from_dlpack(value)
            assert relative(got, verb(ours, Z, known)) < 1e-9
        assert gspnl.choose_strength(theirs, z, sigma=0.4) == pytest.approx(
            gspnl.choose_strength(ours, Z, sigma=0.4), rel=1e-6
        )


def test_inpainting_is_differentiable():
    """Gradients in the values and in the features, through conjugate gradients."""
    known = np.arange(8) % 2 == 0

    def run(features, Z):
        graph = gspnl.feature_graph(features, feature_map="softplus", storage="lowrank")
        return gspnl.inpaint(graph, Z, known, "tikhonov", strength=0.5, tol=1e-13)

    features = torch.from_numpy(X[:8].copy()).requires_grad_()
    Z = torch.from_numpy(signals(8)).requires_grad_()
    assert torch.autograd.gradcheck(run, (features, Z), atol=1e-4)


# --- what has no answer -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (np.ones(N), "known has dtype float64; pass a boolean mask"),
        (np.arange(N), "known has dtype int64"),
        (np.ones(N - 1, bool), r"known has shape \(39,\).*\(40,\)"),
        (np.ones((N, 1), bool), r"known has shape \(40, 1\)"),
        (np.zeros(N, bool), "no node is known"),
        (True, r"known has shape \(\)"),
        ([], "known has dtype float64"),
    ],
)
def test_invalid_masks_raise(known, message):
    with pytest.raises(InputError, match=message):
        gspnl.inpaint(gspnl.feature_graph(X, kernel="dot"), X, known)


@pytest.mark.parametrize("method", ["harmonic", "tikhonov", "heat"])
def test_nodes_without_a_path_to_a_known_one_raise(method):
    strength = None if method == "harmonic" else 1.0
    islands = np.repeat([[1.0, 0.0], [0.0, 1.0]], 5, axis=0)
    for storage in ("dense", "lowrank"):
        graph = gspnl.feature_graph(islands, kernel="dot", storage=storage)
        with pytest.raises(InputError, match=r"5 of 10 nodes, the first at index \(5,\)"):
            gspnl.inpaint(graph, np.ones(10), np.arange(10) < 3, method, strength=strength)
        value = gspnl.inpaint(
            graph, np.arange(10.0), np.arange(10) % 5 == 0, method, strength=strength
        )
        assert relative(value, np.repeat([0.0, 5.0], 5)) < 1e-12
    far = gspnl.feature_graph(np.array([[0.0], [0.1], [50.0], [50.1]]), "rbf")
    with pytest.raises(InputError, match="2 of 4 nodes"):
        gspnl.inpaint(far, np.ones(4), np.arange(4) < 1, method, strength=strength)
    lone, *_ = build("isolated")
    known = np.ones(N, bool)
    known[7] = False
    with pytest.raises(InputError, match=r"1 of 40 nodes, the first at index \(7,\)"):
        gspnl.inpaint(lone, X, known, method, strength=strength)


def test_weights_below_rounding_are_no_edges():
    """Opposite directions have cosine −1, so their weights are 0 to rounding."""
    rng = np.random.default_rng(4)
    apart = np.outer(np.r_[1 + rng.random(10), -1 - rng.random(10)], rng.standard_normal(5))
    graph = gspnl.feature_graph(apart, "cosine", storage="lowrank")
    between = np.asarray(graph.rows(range(10)))[:, 10:]
    assert between.any()
    with pytest.raises(InputError, match=r"10 of 20 nodes, the first at index \(10,\)"):
        gspnl.inpaint(graph, np.ones(20), np.arange(20) < 5)


def test_a_chain_is_reached_through_its_edges():
    """Each node is joined to its neighbours only; the first is known."""
    chain = gspnl.feature_graph(np.arange(30.0)[:, None] * 8, "rbf", self_loops=False)
    assert np.asarray(chain.dense())[0, 3] < 1e-50
    value = gspnl.inpaint(chain, np.arange(30.0), np.isin(np.arange(30), [0, 29]))
    assert relative(value, np.arange(30.0)) < 1e-7  # λ of a chain of 30 is about 1e-2


def test_conjugate_gradients_that_do_not_converge_raise():
    graph, *_ = build("line")
    known = np.arange(12) < 1
    Z = np.r_[0.0, np.full(11, np.nan)]
    Z[5], known[5] = 1.0, True
    with pytest.raises(ConvergenceError, match=r"residual of .*, above tol=1e-10, after 2 steps"):
        gspnl.inpaint(graph, Z, known, max_steps=2)
    for steps in (0, 1.5, True):
        with pytest.raises(InputError, match=r"max_steps=.* must be a whole number ≥ 1"):
            gspnl.inpaint(graph, Z, known, max_steps=steps)
    with pytest.raises(InputError, match="tol=0 must be a finite number > 0"):
        gspnl.inpaint(graph, Z, known, tol=0)


def test_invalid_inpainting_arguments_raise():
    graph, known = gspnl.feature_graph(X, kernel="dot"), np.arange(N) < 20
    with pytest.raises(InputError, match="method='tikhonov' needs strength="):
        gspnl.inpaint(graph, X, known, "tikhonov")
    with pytest.raises(InputError, match="takes no strength"):
        gspnl.inpaint(graph, X, known, strength=1.0)
    with pytest.raises(InputError, match="strength=0 must be a finite number > 0"):
        gspnl.inpaint(graph, X, known, "heat", strength=0)
    with pytest.raises(InputError, match="Z has 1 value"):
        gspnl.inpaint(graph, np.where(np.arange(N) == 3, np.nan, 1.0), known)
    with pytest.raises(InputError, match=r"Z has shape \(39,\)"):
        gspnl.inpaint(graph, np.ones(39), known)
    soft = gspnl.feature_graph(X, kernel="dot", normalization="softmax")
    for call in (
        lambda: gspnl.inpaint(soft, X, known),
        lambda: gspnl.denoise(soft, X, strength=1.0),
        lambda: gspnl.choose_strength(soft, X, sigma=1.0),
        lambda: gspnl.localize(soft, gspnl.responses.heat(1.0), 0),
    ):
        with pytest.raises(NonsymmetricError, match="softmax"):
            call()
    signed = gspnl.feature_graph(abs(X), feature_map="identity")
    with pytest.raises(InputError, match="needs non-negative weights, and Dot"):
        gspnl.inpaint(signed, X, known)


def test_heat_inpainting_by_chebyshev():
    graph, *_ = build("rbf")
    Z, known = signals(N), reaching(N)
    exact = gspnl.inpaint(graph, Z, known, "heat", strength=5.0)
    close = gspnl.inpaint(graph, Z, known, "heat", strength=5.0, tol=1e-8)
    # the ratio divides by a share of about 0.4, and errors of one node may be of the whole norm
    assert 0 < relative(close, exact) < 1e-6


def test_a_diffusion_time_below_rounding_raises():
    graph, *_ = build("rbf")
    with pytest.raises(InputError, match=r"in the time strength=1e-20.*below rounding"):
        gspnl.inpaint(graph, X, np.arange(N) < 3, "heat", strength=1e-20)


# --- localisation -----------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "normalization"), PAIRS)
def test_localisation_equals_a_column_of_the_filter(case, normalization):
    graph, _, A, change = build(case, normalization)
    n = len(A)
    heat = gspnl.responses.heat(1.5)
    truth = np.sqrt(n) * dense_filter(A, change, heat, np.eye(n))
    assert relative(gspnl.localize(graph, heat, 1), truth[:, 1]) < 1e-10
    assert relative(gspnl.localize(graph, heat, [-1, 0]), truth[:, [-1, 0]]) < 1e-10
    if normalization == "random_walk" and not case.startswith("isolated"):
        d = np.asarray(graph.degrees)
        gathered = d * np.asarray(gspnl.localize(graph, heat, 1)) / d[1]
        assert relative(gathered, truth[1]) < 1e-10  # the row that the docstring names


def test_localisation_equals_pygsp():
    pygsp = pytest.importorskip("pygsp")
    graph, W, _, _ = build("hollow_rbf", "symmetric")
    theirs = pygsp.graphs.Graph(W, lap_type="normalized")
    theirs.compute_fourier_basis()
    bank = pygsp.filters.Filter(theirs, lambda lam: np.exp(-3 * lam))
    truth = bank.localize(5, method="exact")
    assert relative(gspnl.localize(graph, gspnl.responses.heat(3.0), 5), truth) < 1e-10
    close = gspnl.localize(graph, gspnl.responses.heat(3.0), 5, tol=1e-9)
    assert relative(close, truth) < 1e-8


def test_localisation_in_a_batch():
    graph = gspnl.feature_graph(np.stack([X, 2 * X]), "rbf")
    heat = gspnl.responses.heat(1.0)
    assert gspnl.localize(graph, heat, 3).shape == (2, N)
    assert gspnl.localize(graph, heat, [3, 4, 5]).shape == (2, N, 3)
    assert relative(gspnl.localize(graph, heat, 3)[1], gspnl.localize(graph[1], heat, 3)) < 1e-12


@pytest.mark.parametrize("node", [N, -N - 1, 1.5, "first", [[0]], [], [0, N], True])
def test_invalid_nodes_raise(node):
    with pytest.raises(InputError, match="node="):
        gspnl.localize(gspnl.feature_graph(X, kernel="dot"), gspnl.responses.heat(1.0), node)
