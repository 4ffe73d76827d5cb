"""sigma="median" and "local" of the rbf kernel against plain formulas, and what they refuse."""

import array_api_strict
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from support.formulas import affinity, relative
from support.formulas import bandwidths as plain

import gspnl
from gspnl.affinity.kernels import RBF, bandwidth
from gspnl.errors import InputError

RULES = ("median", "local", "adaptive")


def normal(n=300, columns=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n, columns))


def rows_of(X, rule):
    """A of the random walk, from all distances."""
    M = affinity("rbf", X, sigma=rule)
    W = (M + M.T) / 2
    return W / W.sum(1, keepdims=True)


@pytest.mark.parametrize("columns", [1, 3, 6, 7, 20, 90])
@pytest.mark.parametrize("n", [2, 3, 7, 8, 9, 40, 700])
@pytest.mark.parametrize("rule", RULES)
def test_bandwidths_equal_those_of_all_distances(rule, n, columns):
    X = normal(n, columns)
    if n > 30:
        X[5:17] = X[4]  # 13 equal nodes, and 4
        X[20:23] = X[19]
    found = gspnl.feature_graph(X, "rbf", sigma=rule).kernel.sigmas
    assert relative(np.broadcast_to(found, n), plain(cdist(X, X), rule)) < 1e-12


@pytest.mark.parametrize("width", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("columns", [3, 20])
def test_near_distances_keep_their_digits(columns, width):
    """Products lose the digits of near distances: a few clusters, each of nearly equal nodes."""
    rng = np.random.default_rng(1)
    centres = 100 * rng.standard_normal((4, columns))
    X = centres[rng.integers(4, size=400)] + width * rng.standard_normal((400, columns))
    for rule in ("local", "adaptive"):
        found = bandwidth.bandwidths(rule, X)[:, 0]
        assert relative(found, plain(cdist(X, X), rule)) < 1e-9


@pytest.mark.parametrize("columns", [2, 30])
def test_ties_at_the_last_candidate(columns):
    X = np.random.default_rng(0).integers(0, 2, (300, columns)).astype(float)
    for rule in ("local", "adaptive"):
        found = bandwidth.bandwidths(rule, X)[:, 0]
        assert relative(found, plain(cdist(X, X), rule)) < 1e-12


@pytest.mark.parametrize("storage", ["dense", "tiled"])
@pytest.mark.parametrize("rule", ["local", "adaptive"])
def test_groups_far_apart_are_compared_by_differences(rule, storage):
    X = normal(800)
    X[:400] += 1e6
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-4)):
        Y = X.astype(dtype)
        graph = gspnl.feature_graph(Y, "rbf", sigma=rule, storage=storage)
        assert relative(graph.dense(), rows_of(Y.astype(np.float64), rule)) < tolerance


@pytest.mark.parametrize("rule", ["local", "adaptive"])
def test_the_rounding_error_of_scores_is_bounded(rule):
    X = normal(300)
    X[:100] *= 1e-3  # far nodes and a small σ: a large score, of few digits
    kernel = RBF(rule).fit(X)
    wide = [part.astype(np.longdouble) for part in kernel.embed(X, None)]
    if rule == "local":
        wide[1] = wide[0]
    q, k = kernel.scores(*wide)
    exact = np.asarray(q @ k.T, dtype=np.float64)
    both = [part.astype(np.float32) for part in (q, k)]
    error = np.abs(both[0] @ both[1].T - exact).max()
    bound = kernel.score_error(*both, same=rule == "local")
    assert error <= bound <= 1e4 * error


def test_the_median_of_many_nodes_is_that_of_a_sample():
    X = normal(20_000, 3)
    graph = gspnl.feature_graph(X, "rbf", sigma="median", rank=8)
    assert graph.kernel.sigmas == pytest.approx(np.median(pdist(X[::5])), rel=0.03)
    again = gspnl.feature_graph(X, "rbf", sigma="median", rank=8)
    assert again.kernel.sigmas == graph.kernel.sigmas


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES)
def test_the_unit_of_the_features_does_not_matter(rule, dtype, scale):
    X = normal()
    graph = gspnl.feature_graph((scale * X).astype(dtype), "rbf", sigma=rule)
    assert graph.dense().dtype == dtype
    assert relative(graph.dense(), rows_of(X, rule)) < (1e-5 if dtype == np.float32 else 1e-12)
    assert relative(graph.kernel.sigmas, scale * gspnl_sigmas(X, rule)) < 1e-6


def gspnl_sigmas(X, rule):
    sigma = plain(cdist(X, X), rule)
    return sigma[0] if rule == "median" else sigma


@pytest.mark.parametrize("size", [1e300, 1e-300])
@pytest.mark.parametrize("rule", RULES)
def test_features_at_the_ends_of_the_range(rule, size):
    X = normal()
    graph = gspnl.feature_graph(size * X, "rbf", sigma=rule)
    assert relative(graph.dense(), rows_of(X, rule)) < 1e-12


@pytest.mark.parametrize("library", ["numpy", "torch", "strict"])
@pytest.mark.parametrize("storage", ["dense", "tiled"])
@pytest.mark.parametrize("rule", RULES)
def test_features_far_from_zero_are_compared_by_differences(rule, storage, library):
    X = normal() + 1e7
    given = {"numpy": X, "torch": torch.tensor(X), "strict": array_api_strict.asarray(X)}[library]
    graph = gspnl.feature_graph(given, "rbf", sigma=rule, storage=storage)
    Z = normal(300, 2, 1)
    signal = {"numpy": Z, "torch": torch.tensor(Z), "strict": array_api_strict.asarray(Z)}[library]
    assert relative(graph.apply(signal), rows_of(X - 1e7, rule) @ Z) < 1e-7


@pytest.mark.parametrize("rule", ["local", "adaptive"])
def test_bandwidths_of_very_different_size(rule):
    """A cluster a millionth as wide as the rest, and duplicates: products would cancel."""
    X = normal()
    X[:60] = 3 + 1e-6 * X[:60]
    X[60:70] = X[70]
    for storage in ("dense", "tiled"):
        graph = gspnl.feature_graph(X, "rbf", sigma=rule, storage=storage)
        assert relative(graph.dense(), rows_of(X, rule)) < 1e-8


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("offset", [0.0, 1e7])
@pytest.mark.parametrize("rule", RULES)
def test_graphs_of_several_tiles(rule, offset, self_loops):
    X, Z = normal(1300), normal(1300, 3, 1)
    M = affinity("rbf", X, sigma=rule)
    W = (M + M.T) / 2 - (not self_loops) * np.eye(1300)
    graph = gspnl.feature_graph(
        X + offset, "rbf", sigma=rule, storage="tiled", self_loops=self_loops
    )
    tolerance = 1e-6 if offset else 1e-11
    assert relative(graph.apply(Z), W @ Z / W.sum(1, keepdims=True)) < tolerance
    assert relative(graph.log_degrees, np.log(W.sum(1))) < tolerance
    assert relative(graph.rows([3, 700]), (W / W.sum(1, keepdims=True))[[3, 700]]) < tolerance
    soft = gspnl.feature_graph(
        X + offset, "rbf", sigma=rule, storage="tiled", normalization="softmax",
        self_loops=self_loops,
    )  # fmt: skip
    M = M - (not self_loops) * np.eye(1300)
    assert relative(soft.apply(Z), M @ Z / M.sum(1, keepdims=True)) < tolerance


@pytest.mark.parametrize("rule", RULES)
def test_differences_below_the_range_of_squares(rule):
    X = np.repeat([[0.0], [1.0]], 9, axis=0)
    X[:9, 0] += 1e-200 * np.arange(9)
    A = gspnl.feature_graph(X, "rbf", sigma=rule).dense()
    assert np.isfinite(A).all()
    assert relative(A, gspnl.feature_graph(np.round(X), "rbf", sigma=rule).dense()) < 1e-12


@pytest.mark.parametrize("rule", RULES)
def test_constant_columns_do_not_matter(rule):
    X = 1e-200 * normal(40, 2)
    wide = np.concatenate([np.ones((40, 1)), X, np.full((40, 1), -5.0)], axis=1)
    sigmas = (gspnl.feature_graph(x, "rbf", sigma=rule).kernel.sigmas for x in (wide, X))
    assert relative(*sigmas) < 1e-12


@pytest.mark.parametrize("rule", RULES)
def test_each_graph_of_a_batch_has_its_own_bandwidth(rule):
    X = normal(240).reshape(2, 2, 60, 4) * np.array([[1.0, 3.0], [10.0, 0.1]])[..., None, None]
    X = X + 1e8 * (np.arange(4).reshape(2, 2, 1, 1) == 3)  # one of them by differences
    graph = gspnl.feature_graph(X, "rbf", sigma=rule)
    assert graph.kernel.sigmas.shape == ((2, 2) if rule == "median" else (2, 2, 60))
    for i in np.ndindex(2, 2):
        one = gspnl.feature_graph(X[i], "rbf", sigma=rule)
        assert relative(graph.dense()[i], one.dense()) < 1e-7
        assert np.array_equal(graph[i].kernel.sigmas, one.kernel.sigmas)
        centred = X[i] - X[i].mean(0)
        assert relative(one.dense(), rows_of(centred, rule)) < 1e-6


def test_low_rank_takes_the_median_of_each_graph():
    X = normal(400).reshape(2, 200, 4) * np.array([1.0, 7.0])[:, None, None]
    graph = gspnl.feature_graph(X, "rbf", sigma="median", tol=1e-4)
    for i in range(2):
        assert graph.approximation.bound[i] <= 1e-4
        assert np.linalg.norm(graph.dense()[i] - rows_of(X[i], "median")) < 1e-3


@pytest.mark.parametrize("rule", ["local", "adaptive"])
@pytest.mark.parametrize("options", [{"rank": 9}, {"tol": 0.1}])
def test_a_sigma_for_each_node_has_no_low_rank_and_names_median(options, rule):
    for method in (None, "cholesky", "nystrom", "random_features"):
        if method == "random_features" and "tol" in options:
            continue
        with pytest.raises(InputError, match="sigma='median'"):
            gspnl.feature_graph(normal(), "rbf", sigma=rule, approximation=method, **options)
    with pytest.raises(InputError, match="cannot hold"):
        gspnl.feature_graph(normal(), "rbf", sigma=rule, storage="lowrank")


@pytest.mark.parametrize("rule", RULES)
def test_equal_nodes_are_an_error_that_names_the_graph(rule):
    with pytest.raises(InputError, match="all 6 nodes are equal"):
        gspnl.feature_graph(np.full((6, 2), 3.0), "rbf", sigma=rule)
    X = normal(12).reshape(2, 6, 4)
    X[1] = 0.0
    with pytest.raises(InputError, match="graph 1 are equal"):
        gspnl.feature_graph(X, "rbf", sigma=rule)


def test_the_median_of_mostly_equal_nodes_is_that_of_the_positive_distances():
    X = np.zeros((50, 1))
    X[:3, 0] = 1.0, 2.0, 4.0
    positive = [1.0] * 47 + [2.0] * 47 + [4.0] * 47 + [1.0, 2.0, 3.0]
    assert gspnl.feature_graph(X, "rbf", sigma="median").kernel.sigmas == np.median(positive)
    many = np.zeros((9_000, 1))
    many[4_321] = 5.0  # outside of the sample
    assert gspnl.feature_graph(many, "rbf", sigma="median", rank=2).kernel.sigmas == 5.0


def test_outliers_keep_their_own_bandwidth_and_others_at_least_the_median():
    X = np.concatenate([np.arange(40.0) ** 2, [5000.0]])[:, None]
    graph = gspnl.feature_graph(X, "rbf", sigma="adaptive")
    fifteenth = np.sort(abs(X - X.T), axis=1)[:, 15]
    share = graph.kernel.sigmas / np.maximum(fifteenth, np.median(fifteenth))
    assert np.ptp(share) < 1e-12
    assert fifteenth[0] < np.median(fifteenth) < fifteenth[-1]
    assert graph.dense()[-1, :-1].sum() > 0.1


@pytest.mark.parametrize("n", [100, 900])
def test_a_median_node_has_few_effective_neighbours_in_many_dimensions(n):
    X = normal(n, 200)
    graph = gspnl.feature_graph(X, "rbf", sigma="adaptive")
    assert relative(graph.kernel.sigmas, plain(cdist(X, X), "adaptive")) < 1e-9
    D = cdist(X, X)
    fifteenth = np.sort(D, axis=1)[:, 15]
    share = graph.kernel.sigmas / np.maximum(fifteenth, np.median(fifteenth))
    assert np.ptp(share) < 1e-12
    assert 0.1 < share[0] < (0.299 if n == 900 else 0.3001)
    s = -(D**2) / (2 * graph.kernel.sigmas[:, None] ** 2)
    np.fill_diagonal(s, -np.inf)
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    effective = np.exp(-(p * np.log(np.where(p > 0, p, 1))).sum(1))
    assert 20 < np.median(effective) < 33


def test_many_copies_do_not_shrink_the_bandwidth():
    X = np.repeat(normal(5), 40, axis=0)
    graph = gspnl.feature_graph(X, "rbf", sigma="adaptive")
    D = cdist(X, X)
    D[D < 1e-12] = np.inf
    nearest = D.min(1)
    assert relative(graph.kernel.sigmas, 0.3 * np.maximum(nearest, np.median(nearest))) < 1e-12


def test_copies_take_the_nearest_node_that_differs():
    X = np.repeat([[0.0], [1.0], [5.0]], [9, 8, 1], axis=0)
    found = gspnl.feature_graph(X, "rbf", sigma="local").kernel.sigmas
    assert found[0] == 0.5  # 8 others are equal: half of the distance to 1
    assert found[9] == 0.5  # 7 others are equal
    assert found[17] == 2.0  # the 7th other of 5 is 1
    X = np.repeat([[0.0], [-0.0], [2.0]], [4, 4, 1], axis=0)
    assert gspnl.feature_graph(X, "rbf", sigma="local").kernel.sigmas[0] == 1.0  # −0 is 0


@pytest.mark.parametrize("rule", RULES)
def test_gradients_take_the_bandwidth_as_a_constant(rule):
    X = torch.tensor(normal(40), requires_grad=True)
    Z = torch.tensor(normal(40, 2, 1))
    heat = gspnl.responses.heat(2.0)
    fitted = gspnl.feature_graph(X, "rbf", sigma=rule)
    fitted.filter(Z, heat, order=8).square().sum().backward()
    sigma = torch.tensor(np.broadcast_to(fitted.kernel.sigmas, 40).copy())
    Y = X.detach().clone().requires_grad_()
    D = (Y[:, None] - Y).square().sum(-1)
    other = sigma[:, None] if rule == "adaptive" else sigma
    M = torch.exp(-D / (2 * sigma[:, None] * other))
    W = (M + M.T) / 2
    L = torch.eye(40) - W / W.sum(1, keepdim=True)
    series = gspnl.feature_graph(X.detach(), "rbf", sigma=rule).chebyshev(heat, order=8)
    assert relative(torch.linalg.matrix_exp(-2 * L).detach() @ Z, series(Z)) < 1e-5
    (torch.linalg.matrix_exp(-2 * L) @ Z).square().sum().backward()
    assert relative(X.grad, Y.grad) < 1e-4
    assert float(X.grad.abs().max()) > 0


@pytest.mark.parametrize("sigma", ["medain", "", -1.0, True, None, float("nan")])
def test_other_values_are_errors(sigma):
    with pytest.raises(InputError, match="sigma="):
        gspnl.feature_graph(normal(), "rbf", sigma=sigma)


def test_a_kernel_says_what_it_was_fitted_to():
    kernel = RBF(sigma="local")
    with pytest.raises(InputError, match=r"call fit\(X\) first"):
        _ = kernel.sigmas
    with pytest.raises(InputError, match=r"call fit\(X\) first"):
        kernel.embed(normal(), None)
    fitted = kernel.fit(normal())
    assert kernel._sigmas is None  # fit returns another kernel
    assert repr(fitted) == "RBF(sigma='local')"
    fitted.sigmas[:] = 0  # a copy
    assert (fitted.sigmas > 0).all()
    with pytest.raises(InputError, match="fitted to features of shape"):
        fitted.embed(normal(10), None)
    assert RBF(2.5).sigmas == 2.5


@pytest.mark.parametrize("rule", RULES)
def test_blocks_take_numbers_only(rule):
    with pytest.raises(InputError, match="pass a number"):
        gspnl.nn.create("snl", 8, kernel="rbf", sigma=rule)
    with pytest.raises(InputError, match="pass a number"):
        gspnl.nn.create("snl", 8, kernel=RBF(rule))
    block = gspnl.nn.create("snl", 8, kernel=RBF(2.0))
    assert block.options["kernel"] == "rbf"
    assert block.options["sigma"] == 2.0
