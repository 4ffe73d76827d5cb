"""kernel="auto": which kernel the options and the number of nodes choose, and its graphs."""

import array_api_strict
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from support.formulas import affinity, relative

import gspnl
from gspnl.affinity.kernels import RBF, Anchors, Dot, EmbeddedGaussian, auto
from gspnl.affinity.kernels.anchors import _scale
from gspnl.errors import InputError

EMBED = (np.eye(4)[:, :3], np.eye(4)[:, 1:])


def normal(n=60, columns=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n, columns))


@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        ({}, RBF("adaptive")),
        ({"sigma": 2.0}, RBF(2.0)),
        ({"sigma": "median"}, RBF("median")),
        ({"sigma": 2.0, "storage": "tiled"}, RBF(2.0)),
        ({"rank": 5}, RBF("median")),
        ({"tol": 0.1, "sigma": 3.0}, RBF(3.0)),
        ({"rank": 9, "approximation": "nystrom", "seed": 4}, RBF("median")),
        ({"anchors": 7}, Anchors(7)),
        ({"anchors": 7, "sigma": 2.0, "seed": 1}, Anchors(7, 2.0, 1)),
        ({"seed": 3}, Anchors(seed=3)),
        ({"storage": "lowrank"}, Anchors(256, "adaptive")),
        ({"storage": "lowrank", "sigma": 2.0}, Anchors(sigma=2.0)),
        ({"feature_map": "square"}, Dot("square")),
        ({"feature_map": "relu", "storage": "dense"}, Dot()),
        ({"embed": EMBED}, Dot()),
        ({"embed": EMBED, "feature_map": "exp"}, Dot("exp")),
        ({"embed": EMBED, "temperature": 2.0}, EmbeddedGaussian(2.0)),
        ({"temperature": 2.0}, EmbeddedGaussian(2.0)),
        ({"embed": EMBED, "temperature": 2.0, "rank": 4}, EmbeddedGaussian(2.0)),
        ({"normalization": "symmetric", "self_loops": False}, RBF("adaptive")),
    ],
)
def test_options_choose_the_kernel_that_has_them(options, kernel):
    graph = gspnl.feature_graph(normal(), **options)
    assert graph.kernel == kernel
    assert type(graph.kernel) is type(kernel)
    assert graph.storage_reason.startswith("kernel='auto' took ")
    explicit = gspnl.feature_graph(normal(), kernel, **{
        k: v for k, v in options.items()
        if k in ("embed", "storage", "rank", "tol", "approximation", "normalization", "self_loops")
        or (k == "seed" and "approximation" in options)
    })  # fmt: skip
    assert np.array_equal(graph.dense(), explicit.dense())
    assert "auto" not in explicit.storage_reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_map": "relu", "sigma": 1.0}, "belong to different kernels"),
        ({"sgima": 1.0}, "has no option 'sgima'; it takes 'anchors', 'feature_map'"),
        ({"embed": EMBED, "sigma": 1.0}, "with embed= has no option 'sigma'"),
        ({"rank": 5, "feature_map": "relu"}, "cannot be approximated"),
        ({"rank": 5, "sigma": "adaptive"}, "sigma='median'"),
        ({"storage": "sorted"}, "cannot hold the RBF kernel"),
        ({"kernel": "Auto"}, "unknown kernel 'Auto'"),
    ],
)
def test_options_that_fit_no_kernel_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        gspnl.feature_graph(normal(), **options)


def test_large_graphs_take_anchors_and_say_so(monkeypatch):
    X = normal(auto.EXACT + 1)
    graph = gspnl.feature_graph(X)
    assert graph.kernel == Anchors(256, "adaptive")
    assert graph.storage == "lowrank"
    assert "more than 2,000 nodes" in graph.storage_reason
    assert relative(graph.apply(np.ones((len(X), 1))), np.ones((len(X), 1))) < 1e-12
    assert gspnl.feature_graph(X[:-1], storage="tiled").kernel == RBF("adaptive")


@pytest.mark.parametrize(
    "X",
    [
        np.array([[0.0], [1.0]]),
        np.ones((2, 1)),
        np.zeros((7, 3)),
        normal()[:, :1],
        np.concatenate([normal(), np.full((60, 2), 7.0)], axis=1),
        np.repeat(normal(3), 20, axis=0),
        np.stack([normal(), np.ones((60, 4))]),
        np.round(normal(6_000, 1)),  # anchors on a few distinct values
        np.ones((2_001, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_features_make_a_graph(X, dtype):
    graph = gspnl.feature_graph(X.astype(dtype))
    ones = np.ones((*X.shape[:-1], 1), dtype)
    assert graph.apply(ones).dtype == dtype
    assert relative(graph.apply(ones), ones) < 1e-5
    lam = (graph[1] if X.ndim > 2 else graph).spectrum(2).eigenvalues
    assert np.isfinite(lam).all()


def test_equal_nodes_share_all_weights():
    for X in (np.full((6, 2), 3.0), np.stack([np.zeros((6, 2)), normal(6, 2)])):
        A = gspnl.feature_graph(X).dense()
        assert np.allclose(A if X.ndim == 2 else A[0], 1 / 6)


def test_distinct_values_are_clusters_of_their_own():
    X = np.repeat(normal(30, 2), 300, axis=0)
    lam = gspnl.feature_graph(X).spectrum(31).eigenvalues
    assert lam[-1] > 0.99  # 30 different rows
    assert lam[29] < 0.5


def test_few_columns_equal_the_formula_in_every_library():
    X = normal(50, 3)
    W = affinity("rbf", X, sigma="adaptive")
    A = (W + W.T) / (W + W.T).sum(1, keepdims=True)
    for x in (X, torch.tensor(X), array_api_strict.asarray(X)):
        assert relative(gspnl.feature_graph(x).dense(), A) < 1e-12


def test_gradients_flow_through_the_features():
    X = torch.tensor(normal(30), requires_grad=True)
    graph = gspnl.feature_graph(X)
    Z = torch.tensor(normal(30, 2, 1))
    graph.apply(Z).square().sum().backward()
    sigma = torch.tensor(np.asarray(graph.kernel.sigmas))
    Y = X.detach().clone().requires_grad_()
    M = torch.exp(-(Y[:, None] - Y).square().sum(-1) / (2 * sigma[:, None] ** 2))
    W = M + M.T
    ((W / W.sum(1, keepdim=True)) @ Z).square().sum().backward()
    assert relative(X.grad, Y.grad) < 1e-10


def test_gradients_of_adaptive_anchors_are_finite_differences():
    X = normal(40, 3)
    options = {"anchors": 12, "sigma": "adaptive"}
    x = torch.tensor(X, requires_grad=True)
    graph = gspnl.feature_graph(x, **options)
    assert relative(graph.dense().detach(), gspnl.feature_graph(X, **options).dense()) < 1e-12
    graph.apply(torch.tensor(normal(40, 2, 1))).square().sum().backward()
    assert bool(torch.isfinite(x.grad).all())
    assert float(x.grad.abs().max()) > 0


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_adaptive_anchors_do_not_depend_on_unit_and_origin(offset, scale):
    X = normal(200, 3)
    options = {"anchors": 30, "sigma": "adaptive"}
    graph = gspnl.feature_graph((X + offset) * scale, **options)
    points = (graph.kernel._points / scale) - offset
    W = affinity("anchors", X, points=points, sigma="adaptive")
    assert relative(graph.dense(), W / W.sum(1, keepdims=True)) < 1e-6


def test_anchors_equally_near_up_to_rounding_share_a_node():
    scores = -np.array([[0, 1e-17, *[3e-16] * 8, 0.5, 4.0]])
    assert _scale(scores) == pytest.approx(0.5 / np.log(50))  # the nearest that is farther
    assert _scale(np.zeros((1, 9))) == pytest.approx(1 / np.log(50))


def test_every_node_reaches_the_others_through_adaptive_anchors():
    """An outlier is an anchor of its own, and with one σ for all nodes nothing joins it."""
    X = np.concatenate([normal(400, 3), [[40.0, 0, 0], [0, 90.0, 0]]])
    apart = gspnl.feature_graph(X, anchors=64).spectrum(4).eigenvalues
    joined = gspnl.feature_graph(X, anchors=64, sigma="adaptive").spectrum(4).eigenvalues
    assert apart[2] < 1e-12
    assert joined[1] > 1e-3


def test_digits_are_labelled_from_five_a_class():
    X, y = load_digits(return_X_y=True)
    graph = gspnl.feature_graph(X)
    shares = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        known = np.concatenate([rng.choice(np.nonzero(y == c)[0], 5, False) for c in range(10)])
        labels = np.full(len(y), -1)
        labels[known] = y[known]
        found = gspnl.propagate_labels(graph, labels).labels
        shares.append((found == y)[labels < 0].mean())
    assert np.mean(shares) > 0.925


def test_large_graphs_keep_clusters():
    rng = np.random.default_rng(0)
    centres = 6 * rng.standard_normal((5, 20))
    y = rng.integers(5, size=8_000)
    X = centres[y] + rng.standard_normal((8_000, 20))
    found = gspnl.spectral_clustering(gspnl.feature_graph(X), 5)
    table = np.array([[((y == a) & (found == b)).sum() for b in range(5)] for a in range(5)])
    assert table.max(1).sum() > 0.99 * len(y)
    assert cdist(centres, centres)[np.triu_indices(5, 1)].min() > 10


def test_blocks_keep_the_dot_product():
    assert gspnl.nn.create("snl", 8).options["kernel"] == "dot"
    with pytest.raises(InputError, match="unknown kernel 'auto'"):
        gspnl.nn.create("snl", 8, kernel="auto")
