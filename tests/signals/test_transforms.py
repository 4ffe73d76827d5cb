"""Analysis and synthesis by filter banks, against dense formulas."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
from support.formulas import affinity, eigen, normalized, relative, weights

import gspnl
from gspnl import banks, responses
from gspnl.errors import InputError, NonsymmetricError
from gspnl.responses.banks import FilterBank

N, C = 80, 3
SMOOTH = banks.mexican_hat(4)  # analytic: certified, and exact at low rank by the Gram matrix
BANKS = {
    "smooth": SMOOTH,
    "spline": banks.abspline(5),  # kinks, at λ = 1 too
    "jump": FilterBank((responses.rectangular(None, 0.45), responses.heat(2.0), responses.nl())),
    "dual": SMOOTH.dual(),
    "one": FilterBank((responses.heat(1.0),)),
}
GRAPHS = [
    ("dot", "lowrank", "random_walk"),
    ("dot", "lowrank", "symmetric"),
    ("dot", "dense", "random_walk"),
    ("rbf", "dense", "bistochastic"),
    ("rbf", "dense", "random_walk"),
]
SINGLE = pytest.mark.parametrize(("kernel", "storage", "normalization"), GRAPHS)


def make(kernel, storage, normalization, zeros=False, dtype=np.float64):
    X = np.random.default_rng(0).standard_normal((N, C))
    if zeros:
        X[[3, 40]] = 0.0 if kernel == "dot" else 1e3
    options = {"self_loops": False} if zeros and kernel != "dot" else {}
    graph = gspnl.feature_graph(
        X.astype(dtype), kernel, storage=storage, normalization=normalization, **options
    )
    W = weights(affinity(kernel, X.astype(dtype)), normalization, **options)
    return graph, *normalized(W, normalization)


def operators(A, change, bank):
    """g_f(L) as dense matrices, (F, N, N)."""
    lam, U, inverse = eigen(A, change)
    return np.stack([U @ (g(np.clip(lam, 0, 2))[:, None] * inverse) for g in bank])


def signals(shape=(N, 2), seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


@SINGLE
@pytest.mark.parametrize("name", BANKS)
@pytest.mark.parametrize("zeros", [False, True])
def test_exact_banks_equal_the_dense_formula(kernel, storage, normalization, name, zeros):
    graph, A, change = make(kernel, storage, normalization, zeros and kernel == "dot")
    bank = BANKS[name]
    dense = operators(A, change, bank)
    Z, coefficients = signals(), signals((len(bank), N, 2))
    found = gspnl.analyze(graph, Z, bank)
    assert relative(found, dense @ Z) < 1e-10
    back = gspnl.synthesize(graph, coefficients, bank)
    assert relative(back, (dense @ coefficients).sum(0)) < 1e-10


@SINGLE
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2, 7, 40])
def test_chebyshev_banks_equal_the_filters_one_by_one(kernel, storage, normalization, zeros, order):
    """The shared recurrence equals the dense polynomials of the plans."""
    graph, A, change = make(kernel, storage, normalization, zeros and kernel == "dot")
    bank = BANKS["spline"]
    plan = gspnl.plan_bank(graph, bank, order)
    lam, U, inverse = eigen(A, change)
    isolated = int((graph.degrees == 0).sum())
    dense = []
    for one, g in zip(plan.plans, bank, strict=True):
        gains = one.series(lam)
        gains[: isolated + 1] = g(np.zeros(1))  # isolated nodes and the constant mode: exact
        dense.append(U @ (gains[:, None] * inverse))
    dense = np.stack(dense)
    Z, coefficients = signals(), signals((len(bank), N, 2))
    scale = max(1.0, np.abs(dense).max())
    assert np.abs(gspnl.analyze(graph, Z, bank, order) - dense @ Z).max() < 1e-9 * scale
    back = gspnl.synthesize(graph, coefficients, bank, order)
    assert np.abs(back - (dense @ coefficients).sum(0)).max() < 1e-9 * scale
    for f, g in enumerate(bank):  # and what graph.filter gives, one by one
        assert relative(gspnl.analyze(graph, Z, bank, order)[f], graph.filter(Z, g, order)) < 1e-9


@SINGLE
def test_certificates_of_banks_hold(kernel, storage, normalization):
    graph, A, change = make(kernel, storage, normalization)
    dense = operators(A, change, SMOOTH)
    Z, coefficients = signals(), signals((len(SMOOTH), N, 2))
    truth, sums = dense @ Z, (dense @ coefficients).sum(0)

    def norm(x):
        return np.linalg.norm(x / change[:, None])

    for options in ({"order": 3}, {"order": 12}, {"order": 200}, {"tol": 1e-5}, {"tol": 1e-10}):
        plan = gspnl.plan_bank(graph, SMOOTH, **options)
        assert np.isfinite(plan.error_bounds).all()
        if "tol" in options:
            assert plan.error_bounds.max() <= options["tol"]
        found = gspnl.analyze(graph, Z, SMOOTH, **options)
        for f, bound in enumerate(plan.error_bounds):
            assert norm(found[f] - truth[f]) <= bound * norm(Z)
        assert norm(found - truth) <= plan.error_bound * norm(Z)
        back = gspnl.synthesize(graph, coefficients, SMOOTH, **options)
        assert norm(back - sums) <= plan.error_bound * norm(coefficients)
        assert "4 filters" in repr(plan)


@SINGLE
@pytest.mark.parametrize("options", [{}, {"order": 9}, {"tol": 1e-6}])
def test_synthesis_is_the_adjoint_of_analysis(kernel, storage, normalization, options):
    graph, _, change = make(kernel, storage, normalization)
    Z, coefficients = signals(), signals((len(SMOOTH), N, 2))
    here = np.sum(gspnl.analyze(graph, Z, SMOOTH, **options) * coefficients / change[:, None] ** 2)
    there = np.sum(Z * gspnl.synthesize(graph, coefficients, SMOOTH, **options)
                   / change[:, None] ** 2)  # fmt: skip
    assert here == pytest.approx(there, rel=1e-10)  # sums of 1,000 products in float64


@SINGLE
@pytest.mark.parametrize("name", BANKS)
def test_the_dual_bank_reconstructs_the_signal(kernel, storage, normalization, name):
    graph, _A, change = make(kernel, storage, normalization)
    bank, Z = BANKS[name], signals()
    found = gspnl.analyze(graph, Z, bank)
    assert relative(gspnl.synthesize(graph, found, bank.dual()), Z) < 1e-10
    low, high = bank.frame_bounds(spectrum=graph.spectrum())
    ratio = np.linalg.norm(found / change[:, None]) ** 2 / np.linalg.norm(Z / change[:, None]) ** 2
    assert low * (1 - 1e-10) <= ratio <= high * (1 + 1e-10)


def test_a_tight_frame_keeps_the_norm_and_needs_no_dual():
    graph, _, change = make("dot", "lowrank", "random_walk")
    Z, bank = signals(), banks.itersine(5)
    found = gspnl.analyze(graph, Z, bank)
    norm = np.linalg.norm(Z / change[:, None])
    assert np.linalg.norm(found / change[:, None]) == pytest.approx(norm, rel=1e-12)
    assert relative(gspnl.synthesize(graph, found, bank), Z) < 1e-10


def test_shapes_of_signals_are_kept():
    graph, _, _ = make("dot", "lowrank", "random_walk")
    F = len(SMOOTH)
    for options in ({}, {"order": 5}):
        z = signals((N,))
        c = gspnl.analyze(graph, z, SMOOTH, **options)
        assert c.shape == (F, N)
        assert gspnl.synthesize(graph, c, SMOOTH, **options).shape == (N,)
        wide = gspnl.analyze(graph, z[:, None], SMOOTH, **options)
        assert wide.shape == (F, N, 1)
        assert np.allclose(wide[..., 0], c, rtol=1e-12, atol=1e-14)
        deep = signals((2, 5, N, 3))
        many = gspnl.analyze(graph, deep, SMOOTH, **options)
        assert many.shape == (2, 5, F, N, 3)
        one = gspnl.analyze(graph, deep[1, 4], SMOOTH, **options)
        assert relative(many[1, 4], one) < 1e-12
        back = gspnl.synthesize(graph, many, SMOOTH, **options)
        assert back.shape == deep.shape
        assert relative(back[1, 4], gspnl.synthesize(graph, one, SMOOTH, **options)) < 1e-12


def test_as_many_filters_as_nodes_are_not_confused_with_nodes():
    """Shapes with F = N = c are not ambiguous, unlike in PyGSP."""
    X = np.random.default_rng(2).standard_normal((5, 2))
    graph = gspnl.feature_graph(X, kernel="dot")
    bank = banks.meyer(5)
    Z = signals((5, 5))
    found = gspnl.analyze(graph, Z, bank)
    for f, g in enumerate(bank):
        assert np.abs(found[f] - graph.filter(Z, g)).max() < 1e-12
    assert relative(gspnl.synthesize(graph, found, bank), Z) < 1e-10
    assert gspnl.synthesize(graph, Z, bank).shape == (5,)  # (F, N), two axes always


@pytest.mark.parametrize("options", [{}, {"order": 6}, {"tol": 1e-6}])
@pytest.mark.parametrize(("kernel", "storage"), [("dot", "lowrank"), ("rbf", "dense")])
def test_banks_on_a_batch_equal_those_on_each_graph(kernel, storage, options):
    X = np.random.default_rng(3).standard_normal((2, 3, 20, 4))
    graph = gspnl.feature_graph(X, kernel, storage=storage)
    F = len(SMOOTH)
    Z = signals((2, 3, 20, 2))
    found = gspnl.analyze(graph, Z, SMOOTH, **options)
    assert found.shape == (2, 3, F, 20, 2)
    shared = gspnl.analyze(graph, Z[0, 0], SMOOTH, **options)
    assert shared.shape == (2, 3, F, 20, 2)
    back = gspnl.synthesize(graph, found, SMOOTH, **options)
    assert back.shape == Z.shape
    for i in np.ndindex(2, 3):
        assert relative(found[i], gspnl.analyze(graph[i], Z[i], SMOOTH, **options)) < 1e-12
        assert relative(shared[i], gspnl.analyze(graph[i], Z[0, 0], SMOOTH, **options)) < 1e-12
        one = gspnl.synthesize(graph[i], found[i], SMOOTH, **options)
        assert relative(back[i], one) < 1e-12
    with pytest.raises(InputError, match=r"\(2, 3, 4, 20, c\)"):
        gspnl.synthesize(graph, found[0], SMOOTH)
    with pytest.raises(InputError, match="each with a spectrum"):
        gspnl.plan_bank(graph, SMOOTH, 3)


def test_one_recurrence_serves_all_filters():
    """K applications for the bank, in analysis and in synthesis, not F times K."""
    graph, _, _ = make("rbf", "dense", "random_walk")
    plan = gspnl.plan_bank(graph, BANKS["spline"], 12)
    count = [0]
    kind = type(graph.weights)
    product = kind.matmul

    def counted(self, Z):
        count[0] += 1
        assert Z.shape[-1] == 2  # not the coefficients' F · c columns either
        assert Z.ndim == 2
        return product(self, Z)

    kind.matmul = counted
    try:
        plan.analysis(signals())
        assert count[0] == 12
        plan.synthesis(signals((5, N, 2)))
        assert count[0] == 24
    finally:
        kind.matmul = product


def test_softmax_allows_first_order_only():
    X = signals((30, 2))
    graph = gspnl.feature_graph(X, "gaussian", normalization="softmax")
    A = graph.dense()
    bank = FilterBank((responses.snl(1.0, 2.0), responses.ns()))
    Z = signals((30, 2), 5)
    truth = np.stack([Z + 2 * A @ Z, A @ Z - Z])
    assert relative(gspnl.analyze(graph, Z, bank, 1), truth) < 1e-12
    back = gspnl.synthesize(graph, truth, bank, 1)
    assert relative(back, truth[0] + 2 * A @ truth[0] + A @ truth[1] - truth[1]) < 1e-12
    with pytest.raises(NonsymmetricError):
        gspnl.analyze(graph, Z, bank)
    with pytest.raises(NonsymmetricError):
        gspnl.analyze(graph, Z, SMOOTH, 5)


def test_modulation_and_gabor_banks_equal_their_formulas_on_a_graph():
    graph, A, _change = make("rbf", "dense", "symmetric")
    lam, U = np.linalg.eigh(np.eye(N) - A)
    bank = banks.modulation(responses.heat(3.0), lam, U)
    Z = signals((N,))
    kernel = U @ np.exp(-3 * lam)
    truth = [U @ ((N**0.5 * U.T @ (U[:, k] * kernel)) * (U.T @ Z)) for k in range(N)]
    assert relative(gspnl.analyze(graph, Z, bank), np.stack(truth)) < 1e-9
    with pytest.raises(InputError, match="not finite"):
        gspnl.analyze(graph, Z, bank, order=3)
    gabor = banks.gabor(responses.smooth_band_pass(0.0, 0.1), graph.spectrum())
    truth = [U @ (np.exp(-(((lam - e) / 0.1) ** 2) / 2) * (U.T @ Z)) for e in lam]
    assert relative(gspnl.analyze(graph, Z, gabor), np.stack(truth)) < 1e-9


def test_modulation_at_low_rank():
    graph, _, _ = make("dot", "lowrank", "symmetric")
    spectrum = graph.spectrum()
    bank = banks.modulation(responses.heat(3.0), spectrum, spectrum.modes(N))
    Z = signals((N, 1))
    found = gspnl.analyze(graph, Z, FilterBank(bank.responses[:3]))
    values = bank.responses[1](np.repeat(spectrum.eigenvalues, spectrum.multiplicities))
    U = spectrum.modes(N)
    assert np.abs(found[1] - U @ (values[:, None] * (U.T @ Z))).max() < 1e-9
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
@pytest.mark.parametrize(("kernel", "storage"), [("dot", "lowrank"), ("rbf", "dense")])
@pytest.mark.parametrize("options", [{}, {"order": 6}])
def test_banks_in_float32(kernel, storage, normalization, options):
    graph, _, _ = make(kernel, storage, normalization, dtype=np.float32)
    wide, _, _ = make(kernel, storage, normalization)
    Z = signals().astype(np.float32)
    found = gspnl.analyze(graph, Z, SMOOTH, **options)
    assert found.dtype == np.float32
    truth = gspnl.analyze(wide, Z.astype(np.float64), SMOOTH, **options)
    assert relative(found, truth) < 1e-4
    back = gspnl.synthesize(graph, found, SMOOTH, **options)
    assert back.dtype == np.float32
    assert relative(back, gspnl.synthesize(wide, truth, SMOOTH, **options)) < 1e-4


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("kernel", "storage"), [("dot", "lowrank"), ("rbf", "dense")])
@pytest.mark.parametrize("options", [{}, {"order": 6}, {"tol": 1e-7}])
@pytest.mark.parametrize("library", ["torch", "strict"])
def test_banks_in_other_libraries(library, kernel, storage, options, zeros):
    X, Z = signals((40, 3)), signals((40, 2), 4)
    if zeros and kernel == "dot":
        X[[1, 7]] = 0
    if library == "torch":
        xp = pytest.importorskip("torch")
        convert = xp.asarray
    else:
        xp, convert = array_api_strict, array_api_strict.asarray
    numpy = gspnl.feature_graph(X, kernel, storage=storage)
    graph = gspnl.feature_graph(convert(X), kernel, storage=storage)
    for bank in (SMOOTH, SMOOTH.dual(), banks.held()):
        if "tol" in options and bank == banks.held():
            continue  # not smooth enough to be certified
        found = gspnl.analyze(graph, convert(Z), bank, **options)
        assert isinstance(found, type(convert(Z)))
        truth = gspnl.analyze(numpy, Z, bank, **options)
        assert relative(np.asarray(found), truth) < 1e-12
        back = gspnl.synthesize(graph, found, bank, **options)
        assert isinstance(back, type(found))
        assert relative(np.asarray(back), gspnl.synthesize(numpy, truth, bank, **options)) < 1e-12


def test_banks_are_differentiable():
    torch = pytest.importorskip("torch")
    X = torch.asarray(signals((9, 2)))
    Z = torch.asarray(signals((9, 1), 4)).requires_grad_()
    graph = gspnl.feature_graph(X, kernel="dot")
    bank = banks.mexican_hat(3)
    assert torch.autograd.gradcheck(lambda z: gspnl.analyze(graph, z, bank, 4), (Z,))
    C = torch.asarray(signals((3, 9, 1), 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: gspnl.synthesize(graph, c, bank, 4), (C,))
    assert torch.autograd.gradcheck(lambda c: gspnl.synthesize(graph, c, bank), (C,))

    # Through the features: of an order at which the polynomial is the response, since the interval
    # moves with the features and is taken as a constant.
    smooth = FilterBank((responses.heat(1.0), responses.tikhonov(0.5)))

    def through_features(x):
        return gspnl.analyze(gspnl.feature_graph(x, kernel="dot"), Z.detach(), smooth, 25)

    positive = (0.5 + X**2).requires_grad_()
    assert torch.autograd.gradcheck(through_features, (positive,))


@pytest.mark.parametrize("features", [np.ones((2, 2)), np.eye(2), np.zeros((2, 2))])
def test_banks_on_two_nodes(features):
    graph = gspnl.feature_graph(features, "dot")
    bank, Z = banks.simple_tight(3), signals((2, 2))
    for options in ({}, {"order": 3}):
        found = gspnl.analyze(graph, Z, bank, **options)
        assert relative(gspnl.synthesize(graph, found, bank, **options), Z) < 1e-8


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda g: gspnl.analyze(g, signals(), responses.heat(1.0)), "no filter bank"),
        (lambda g: gspnl.analyze(g, signals(), [responses.heat(1.0)]), "no filter bank"),
        (lambda g: gspnl.synthesize(g, signals((4, N, 2)), None), "no filter bank"),
        (lambda g: gspnl.analyze(g.dense(), signals(), SMOOTH), "graph is a ndarray"),
        (lambda g: gspnl.synthesize(None, signals((4, N, 2)), SMOOTH), "graph is a NoneType"),
        (lambda g: gspnl.plan_bank(g.dense(), SMOOTH, 3), "graph is a ndarray"),
        (lambda g: gspnl.plan_bank(g, "meyer", 3), "no filter bank"),
        (lambda g: gspnl.plan_bank(g, SMOOTH), "one of order= and tol="),
        (lambda g: gspnl.analyze(g, signals(), SMOOTH, 3, tol=1e-3), "one of order= and tol="),
        (lambda g: gspnl.analyze(g, signals(), SMOOTH, -1), "order=-1"),
        (lambda g: gspnl.analyze(g, signals(), SMOOTH, tol=0.0), "tol"),
        (lambda g: gspnl.analyze(g, signals((N + 1, 2)), SMOOTH), "signals on this graph"),
        (lambda g: gspnl.analyze(g, signals((N + 1,)), SMOOTH), "signals on this graph"),
        (lambda g: gspnl.analyze(g, "Z", SMOOTH), "Z"),
        (lambda g: gspnl.analyze(g, np.full((N, 1), np.nan), SMOOTH), "not finite"),
        (lambda g: gspnl.analyze(g, 1j * signals(), SMOOTH), "complex"),
        (lambda g: gspnl.synthesize(g, signals((N, 2)), SMOOTH), r"\(\.\.\., 4, 80, c\), or"),
        (lambda g: gspnl.synthesize(g, signals((3, N, 2)), SMOOTH), "4 filters"),
        (lambda g: gspnl.synthesize(g, signals((4, 9, 2)), SMOOTH), "4 filters"),
        (lambda g: gspnl.synthesize(g, signals((N,)), SMOOTH), "4 filters"),
        (lambda g: gspnl.synthesize(g, np.full((4, N), np.inf), SMOOTH), "not finite"),
        (lambda g: gspnl.analyze(g, signals(), banks.held(), tol=1e-6), "order="),
        (lambda g: gspnl.analyze(g, signals(), FilterBank((lambda x: 1 / x,))), "not finite"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_invalid_arguments_raise(act, message):
    graph, _, _ = make("dot", "lowrank", "random_walk")
    with pytest.raises(InputError, match=message):
        act(graph)


def test_the_repr_of_a_plan_of_several_orders():
    graph, _, _ = make("rbf", "dense", "random_walk")
    plan = gspnl.plan_bank(graph, FilterBank((responses.nl(), responses.heat(20.0))), tol=1e-6)
    orders = [each.order for each in plan.plans]
    assert orders[0] < orders[1] == plan.order
    first, second = plan.error_bounds
    assert plan.error_bound == pytest.approx((first**2 + second**2) ** 0.5)
    assert plan.error_bound > max(first, second)
