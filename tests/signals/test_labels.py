"""Clusters and labels against dense formulas and known partitions."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from support.averaging import second_of, stated
from support.formulas import eigen, relative
from support.operator_graphs import X, build

import gspnl
from gspnl.errors import ConvergenceError, InputError, NonsymmetricError

torch = pytest.importorskip("torch", reason="torch is not installed")
N = len(X)


def blobs(seed=0, size=25):
    """Three clouds in turn, so that the canonical order is 0, 1, 2, 0, 1, 2, …"""
    rng = np.random.default_rng(seed)
    truth = np.tile([0, 1, 2], size)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    return centres[truth] + rng.standard_normal((3 * size, 2)), truth


def rings(n=150):
    """Two rings, which k-means on the features does not separate."""
    rng = np.random.default_rng(1)
    truth = np.arange(n) % 2
    angle = rng.random(n) * 2 * np.pi
    radius = 1.0 + 2.0 * truth + 0.05 * rng.standard_normal(n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), truth


def normalised_cut(W, labels):
    d = W.sum(1)
    return sum(W[labels == c][:, labels != c].sum() / d[labels == c].sum() for c in set(labels))


# --- clusters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
@pytest.mark.parametrize(
    ("points", "k", "sigma"), [(blobs, 3, 1.0), (rings, 2, 0.2)], ids=["blobs", "rings"]
)
def test_separated_clusters_are_found(points, k, sigma, normalization):
    features, truth = points()
    graph = gspnl.feature_graph(features, "rbf", sigma=sigma, normalization=normalization)
    labels = gspnl.spectral_clustering(graph, k)
    assert labels.dtype.kind == "i"
    assert (labels == truth).mean() > 0.98  # clouds overlap by a node or so
    assert (labels == gspnl.spectral_clustering(graph, k)).all()
    other = gspnl.spectral_clustering(graph, k, seed=11, restarts=20)
    assert (labels == other).all()  # the tightest partition, from wherever k-means starts


def test_the_normalised_cut_is_the_least_of_all_partitions():
    """The relaxation is exact on well separated clusters, compared with every bipartition."""
    features = np.r_[np.zeros(4), np.full(5, 3.0)][:, None] + 0.3 * X[:9, :1]
    graph = gspnl.feature_graph(features, "rbf")
    W = np.exp(-(np.subtract.outer(features[:, 0], features[:, 0]) ** 2) / 2)
    every = [np.array([int(bit) for bit in f"{i:09b}"]) for i in range(1, 2**8)]
    best = min(every, key=lambda labels: normalised_cut(W, labels))
    assert (gspnl.spectral_clustering(graph, 2) == (best != best[0])).all()


def test_low_rank_graphs_are_clustered():
    rng = np.random.default_rng(2)
    truth = np.tile([0, 1], 1000)
    features = np.eye(2)[truth] + 0.1 * rng.random((2000, 2))
    graph = gspnl.feature_graph(features, kernel="dot", normalization="symmetric")
    assert graph.storage == "lowrank"
    assert (gspnl.spectral_clustering(graph, 2) == truth).all()


def test_isolated_nodes_belong_to_no_cluster():
    features = np.eye(3)[np.tile([0, 1, 2], 6)]
    features[:, 2] = 0.0  # every third node is zero
    for storage in ("dense", "lowrank"):
        graph = gspnl.feature_graph(features, kernel="dot", storage=storage)
        assert gspnl.spectral_clustering(graph, 2).tolist() == [0, 1, -1] * 6
        with pytest.raises(InputError, match="from 1 to 12, the nodes that have edges"):
            gspnl.spectral_clustering(graph, 13)


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
@pytest.mark.parametrize("case", ["rbf", "softplus", "isolated", "isolated_dense"])
def test_k_means_gets_the_rows_of_the_modes(case, normalization, monkeypatch):
    """Compares inner products of the rows of U, of unit length for symmetric."""
    if case.startswith("isolated") and normalization == "bistochastic":
        pytest.skip("this pattern of zeros allows no bistochastic scaling")
    graph, W, A, change = build(case, normalization)
    given = []

    def spy(rows, k, seed, restarts):
        given.append(rows)
        return np.arange(len(rows)) % k

    monkeypatch.setattr("gspnl.signals.spectral_clustering._k_means", spy)
    with stated(second_of(W, A, change)):
        labels = gspnl.spectral_clustering(graph, 3)
    live = W.sum(1) > 0
    assert ((labels >= 0) == live).all()
    _, U, _ = eigen(A[np.ix_(live, live)], change[live])
    rows = U[:, :3]
    if normalization == "symmetric":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert relative(given[0] @ given[0].T, rows @ rows.T) < 1e-8


def test_the_seed_determines_the_labels():
    """Without clusters, and with one run, labels depend on the start of k-means."""
    graph = gspnl.feature_graph(np.random.default_rng(0).random((300, 2)), "rbf", sigma=0.3)
    runs = [gspnl.spectral_clustering(graph, 7, seed=5, restarts=1) for _ in range(3)]
    assert (runs[0] == runs[1]).all()
    assert (runs[0] == runs[2]).all()
    assert (runs[0] != gspnl.spectral_clustering(graph, 7, seed=6, restarts=1)).any()


def test_the_best_of_several_runs_is_kept():
    graph = gspnl.feature_graph(np.random.default_rng(0).random((300, 2)), "rbf", sigma=0.3)
    rows = graph.spectrum().modes(7)

    def spread(labels):
        return sum(((rows[labels == j] - rows[labels == j].mean(0)) ** 2).sum() for j in range(7))

    one = spread(gspnl.spectral_clustering(graph, 7, restarts=1))  # the first of the twenty, too
    assert spread(gspnl.spectral_clustering(graph, 7, restarts=20)) < 0.999 * one


def test_one_cluster_of_all_nodes_and_two_nodes_in_two_clusters():
    graph, *_ = build("rbf")
    assert (gspnl.spectral_clustering(graph, 1) == 0).all()
    two, *_ = build("two")
    assert gspnl.spectral_clustering(two, 2).tolist() == [0, 1]


def test_duplicate_nodes_get_one_label():
    graph, *_ = build("twins")
    labels = gspnl.spectral_clustering(graph, 3)
    assert (labels[:20] == labels[20:]).all()


@pytest.mark.parametrize(
    ("features", "options", "k"),
    [
        (np.ones((6, 1)), {"kernel": "dot", "storage": "lowrank"}, 3),
        (np.zeros((6, 2)), {"kernel": "rbf", "sigma": 0.5}, 2),
        (np.ones((1100, 2)), {"kernel": "rbf", "storage": "tiled"}, 4),
        (np.repeat(np.arange(5.0)[:, None], 4, axis=0), {"kernel": "rbf"}, 7),
        (1000.0 * np.arange(5)[:, None] + np.linspace(0, 1, 7), {"kernel": "rbf"}, 3),
        (np.eye(6), {"kernel": "rbf"}, 4),  # all nodes alike: λ₂ has multiplicity 5
    ],
)
def test_a_cut_inside_a_repeated_eigenvalue_raises(features, options, k):
    graph = gspnl.feature_graph(features, **options)
    with pytest.raises(InputError, match=f"k={k} cuts inside a repeated eigenvalue"):
        gspnl.spectral_clustering(graph, k)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("storage", ["dense", "tiled"])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
def test_distinct_points_with_copies_are_clusters(normalization, storage, dtype):
    """Five points, each four times: λ = 1 begins behind the fifth mode."""
    features = np.repeat(np.array([[0.0, 0], [9, 0], [0, 8], [10, 9], [4, 4.5]]), 4, axis=0)
    graph = gspnl.feature_graph(
        features.astype(dtype), "rbf", sigma=3.0, storage=storage, normalization=normalization
    )
    assert gspnl.spectral_clustering(graph, 5).tolist() == np.repeat(range(5), 4).tolist()
    for k in (6, 12, 19):
        with pytest.raises(InputError, match=r"cuts inside a repeated eigenvalue.*ask for k=5"):
            gspnl.spectral_clustering(graph, k)


def test_components_are_clusters_only_all_together():
    W = scipy.sparse.block_diag([np.ones((n, n)) for n in (3, 5, 4)])
    graph = gspnl.graph_from_weights(scipy.sparse.csr_array(W))
    assert gspnl.spectral_clustering(graph, 3).tolist() == [0] * 3 + [1] * 5 + [2] * 4
    assert (gspnl.spectral_clustering(graph, 1) == 0).all()
    with pytest.raises(InputError, match=r"k=2 cuts inside .*more\s*components.*ask for more"):
        gspnl.spectral_clustering(graph, 2)


def test_a_ring_is_cut_between_its_pairs_of_modes():
    """λ of a ring: 0, then pairs; an odd k keeps both modes of each pair."""
    n = 1200
    offsets = [1 - n, -1, 1, n - 1]
    ring = scipy.sparse.diags_array([1.0] * 4, offsets=offsets, shape=(n, n))
    graph = gspnl.graph_from_weights(scipy.sparse.csr_array(ring))
    labels = gspnl.spectral_clustering(graph, 3)
    assert np.count_nonzero(labels != np.roll(labels, 1)) == 3  # three arcs
    with pytest.raises(InputError, match="k=4 cuts inside a repeated eigenvalue"):
        gspnl.spectral_clustering(graph, 4)


def test_an_empty_cluster_raises(monkeypatch):
    graph, *_ = build("rbf")
    monkeypatch.setattr(gspnl.PartialSpectrum, "modes", lambda spectrum: np.ones((N, 3)))
    with pytest.raises(ConvergenceError, match=r"fewer than k=3 rows of the modes differ"):
        gspnl.spectral_clustering(graph, 3)


@pytest.mark.parametrize("k", [0, -1, 41, 2.0, True, None])
def test_invalid_numbers_of_clusters_raise(k):
    with pytest.raises(InputError, match=r"k=.* must be a whole number from 1 to 40, the nodes"):
        gspnl.spectral_clustering(build("rbf")[0], k)


def test_invalid_clustering_arguments_raise():
    with pytest.raises(NonsymmetricError, match="softmax"):
        gspnl.spectral_clustering(gspnl.feature_graph(X, kernel="dot", normalization="softmax"), 2)
    with pytest.raises(InputError, match="seed=-1"):
        gspnl.spectral_clustering(build("rbf")[0], 2, seed=-1)
    with pytest.raises(InputError, match=r"holds \(2,\) graphs"):
        gspnl.spectral_clustering(gspnl.feature_graph(np.stack([X, X]), kernel="dot"), 2)


# --- labels -----------------------------------------------------------------------------------


def some(truth, share=5):
    labels = np.full(len(truth), -1)
    labels[::share] = truth[::share]
    return labels


def indicators(labels, classes):
    return (labels[:, None] == classes).astype(float)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-8), (np.float32, 2e-3)])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
@pytest.mark.parametrize("case", ["rbf", "softplus", "cosine", "anchors", "hollow_rbf", "twins"])
def test_scores_solve_their_equations(case, normalization, dtype, tolerance):
    graph, W, A, change = build(case, normalization, dtype)
    labels = np.full(N, -1)
    labels[[0, 3, 9, 11, 20]] = [4, 9, 4, 2, 9]
    classes = np.array([2, 4, 9])
    Y = indicators(labels, classes)
    with stated(second_of(W, A, change)):
        found = gspnl.propagate_labels(graph, labels, alpha=0.95)
    truth = 0.05 * scipy.linalg.inv(np.eye(N) - 0.95 * A) @ Y
    assert found.scores.dtype == dtype
    assert relative(found.scores, truth) < tolerance
    assert found.classes.tolist() == [2, 4, 9]
    top = np.sort(truth, axis=1)
    sure = top[:, -1] - top[:, -2] > 2 * tolerance * truth.max()
    assert sure.any()
    assert (found.labels == classes[truth.argmax(1)])[sure].all()
    found = gspnl.propagate_labels(graph, labels, "harmonic")
    known = labels >= 0
    truth = Y.copy()
    truth[~known] = scipy.linalg.solve(
        np.eye(N - 5) - A[np.ix_(~known, ~known)], A[np.ix_(~known, known)] @ Y[known]
    )
    assert relative(found.scores, truth) < tolerance
    assert (found.labels[known] == labels[known]).all()


@pytest.mark.parametrize("method", ["local_global", "harmonic"])
def test_labels_spread_along_rings(method):
    features, truth = rings()
    graph = gspnl.feature_graph(features, "rbf", sigma=0.2, normalization="symmetric")
    assert (gspnl.propagate_labels(graph, some(truth, 15), method).labels == truth).all()


def test_harmonic_labels_equal_pygsp():
    learning = pytest.importorskip("pygsp.learning")
    graphs = pytest.importorskip("pygsp.graphs")
    graph, W, _, _ = build("hollow_rbf", "symmetric")
    truth = (X[:, 0] > 0).astype(int)
    labels = some(truth, 4)
    theirs = learning.classification_tikhonov(
        graphs.Graph(W, lap_type="normalized"), truth, labels >= 0, tau=0
    )
    assert relative(gspnl.propagate_labels(graph, labels, "harmonic").scores, theirs) < 1e-8


def test_local_global_scores_equal_the_spectral_formula():
    """The response (1 − α)/(1 − α(1 − λ)) on dense eigenvectors."""
    graph, _, A, change = build("cosine", "symmetric")
    labels = some((X[:, 0] > 0).astype(int))
    lam, U, inverse = eigen(A, change)
    gains = 0.1 / (1 - 0.9 * (1 - lam))
    truth = U @ (gains[:, None] * (inverse @ indicators(labels, np.array([0, 1]))))
    assert relative(gspnl.propagate_labels(graph, labels).scores, truth) < 1e-10
    close = gspnl.propagate_labels(graph, labels, tol=1e-9).scores
    assert relative(close, truth) < 1e-6


def test_known_labels_of_all_nodes_are_kept_also_for_one_class():
    graph, *_ = build("rbf")
    truth = np.arange(N) % 3
    assert (gspnl.propagate_labels(graph, truth, "harmonic").labels == truth).all()
    lonely = np.full(N, -1)
    lonely[2] = 6
    for method in ("local_global", "harmonic"):
        found = gspnl.propagate_labels(graph, lonely, method)
        assert (np.asarray(found.labels) == 6).all()
        assert found.scores.shape == (N, 1)


@pytest.mark.parametrize("convert", [torch.from_numpy, array_api_strict.asarray])
def test_labels_in_other_libraries(convert):
    features, truth = blobs()
    ours = gspnl.feature_graph(features, "rbf")
    theirs = gspnl.feature_graph(convert(features.copy()), "rbf")
    for method in ("local_global", "harmonic"):
        found = gspnl.propagate_labels(theirs, convert(some(truth)), method)
        assert type(found.labels) is type(found.scores) is type(theirs.degrees)
        expected = gspnl.propagate_labels(ours, some(truth), method)
        got = [v.numpy() if hasattr(v, "numpy") else np.from_dlpack(v) for v in found[:2]]
        assert (got[0] == expected.labels).all()
        assert relative(got[1], expected.scores) < 1e-9
    labels = gspnl.spectral_clustering(theirs, 3)
    assert type(labels) is type(theirs.degrees)
    got = labels.numpy() if hasattr(labels, "numpy") else np.from_dlpack(labels)
    assert (got == gspnl.spectral_clustering(ours, 3)).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(N, -1), "no label is known"),
        (np.zeros(N), "labels have dtype float64; pass whole numbers"),
        (np.zeros(N, bool), "labels have dtype bool"),
        (["a"] * N, "labels have dtype <U1"),
        (np.zeros(N - 1, int), r"labels have shape \(39,\); this graph has 40 nodes"),
        (np.zeros((N, 1), int), r"labels have shape \(40, 1\)"),
        (np.full(N, -2), "labels hold -2"),
    ],
)
def test_invalid_labels_raise(labels, message):
    with pytest.raises(InputError, match=message):
        gspnl.propagate_labels(build("rbf")[0], labels)


def test_invalid_propagation_arguments_raise():
    graph, *_ = build("rbf")
    labels = some(np.zeros(N, int))
    for alpha in (0, 1.0, 1.5, -0.5, np.nan, "much"):
        with pytest.raises(InputError, match="alpha="):
            gspnl.propagate_labels(graph, labels, alpha=alpha)
    with pytest.raises(InputError, match=r"belong to method='local_global'"):
        gspnl.propagate_labels(graph, labels, "harmonic", alpha=0.5)
    with pytest.raises(InputError, match="did you mean 'harmonic'"):
        gspnl.propagate_labels(graph, labels, "harmonics")
    with pytest.raises(NonsymmetricError, match="softmax"):
        gspnl.propagate_labels(
            gspnl.feature_graph(X, kernel="dot", normalization="softmax"), labels
        )
    with pytest.raises(InputError, match=r"holds \(2,\) graphs"):
        gspnl.propagate_labels(gspnl.feature_graph(np.stack([X, X]), kernel="dot"), labels)
    islands = gspnl.feature_graph(np.repeat(np.eye(2), 5, axis=0), kernel="dot")
    for method in ("local_global", "harmonic"):
        with pytest.raises(InputError, match=r"5 of 10 nodes.*joined to no known node"):
            gspnl.propagate_labels(islands, [0, 1, -1, -1, -1, -1, -1, -1, -1, -1], method)
