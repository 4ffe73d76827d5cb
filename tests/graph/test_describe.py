"""The description of a graph against dense formulas, closed forms, and in a notebook."""

from __future__ import annotations

import time
import warnings

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator
from support.descriptions import check, described, groups_of
from support.formulas import eigen, normalized
from support.operator_graphs import CASES, NORMALIZATIONS, X, build

import gspnl
from gspnl._base.effort import rate
from gspnl.errors import DegreeError, EffortError, InputError
from gspnl.filters import low_end

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-3)])
@pytest.mark.parametrize("normalization", [*NORMALIZATIONS, "softmax"])
@pytest.mark.parametrize("case", CASES)
def test_descriptions_equal_their_dense_formula(case, normalization, dtype, tolerance):
    if normalization == "bistochastic" and case.startswith(("isolated", "lowrank")):
        pytest.skip("zeros that allow no bistochastic scaling")
    graph, W, A, change = build(case, normalization, dtype)
    found = graph.describe()
    check(found, described(W, normalization, A, change), tolerance)
    assert (found.storage, found.normalization) == (graph.storage, normalization)
    assert found.storage_reason == graph.storage_reason
    assert found.edges == "all pairs"
    assert found.kernel == str(graph.kernel)
    assert graph.describe() is found
    if normalization == "softmax":
        assert found.second is found.gap is found.small_eigenvalues is None
        assert "no real spectrum" in found.sentence
    else:
        assert found.small_exact
        assert found.second_error == 0


@pytest.fixture
def by_lanczos(monkeypatch):
    """Small graphs are described as large ones are."""
    monkeypatch.setattr(low_end, "SMALL", 0)


def clouds(k, n=60, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    return 10 * np.repeat(np.eye(k), n, 0) + spread * rng.standard_normal((k * n, k))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("storage", ["dense", "tiled", "sparse", "lowrank", "operator"])
def test_large_graphs_are_described_from_products(storage, normalization, by_lanczos):
    features = clouds(4, spread=0.8)
    W = np.exp(-((features[:, None] - features) ** 2).sum(-1) / (2 * 3.0**2))
    if storage == "sparse":
        graph = gspnl.graph_from_weights(scipy.sparse.csr_array(W), normalization)
    elif storage == "operator":
        graph = gspnl.from_linear_operator(aslinearoperator(W), normalization, nonnegative=True)
    elif storage == "lowrank":
        W = np.maximum(features, 0) @ np.maximum(features, 0).T
        graph = gspnl.feature_graph(features, "dot", normalization=normalization)
        if (W == 0).any() and normalization == "bistochastic":
            pytest.skip("zeros that allow no bistochastic scaling")
    else:
        graph = gspnl.feature_graph(
            features, "rbf", sigma=3.0, normalization=normalization, storage=storage
        )
    assert graph.storage == storage
    A, change = normalized(W, normalization)
    truth = described(W, normalization, A, change)
    assert truth["groups"] == 4
    found = graph.describe()
    unit = W.sum(1).max() if normalization == "combinatorial" else 1.0
    error = truth.pop("second") - found.second
    assert abs(error) <= 1e-4 * unit
    assert abs(error) <= found.second_error + 1e-9 * unit
    assert abs(truth.pop("gap") - found.gap) <= 2e-2 * unit
    check(found, truth, 1e-8)
    assert found.small_exact


def test_the_second_eigenvalue_has_three_digits_where_it_tells_most(by_lanczos):
    points = np.random.default_rng(0).standard_normal((600, 8))
    W = np.exp(-((points[:, None] - points) ** 2).sum(-1) / (2 * 1.5**2))
    lam = eigen(*normalized(W, "random_walk"))[0]
    assert 0.2 < lam[1] < 0.8
    found = gspnl.feature_graph(points, "rbf", sigma=1.5, storage="dense").describe()
    assert found.second_error < 1e-3
    assert abs(found.second - lam[1]) < 1e-4


def ring(n):
    return scipy.sparse.diags_array([1.0] * 4, offsets=[1 - n, -1, 1, n - 1], shape=(n, n))


def test_a_ring_has_its_closed_form():
    n = 100
    lam = np.sort(1 - np.cos(2 * np.pi * np.arange(n) / n))
    found = gspnl.graph_from_weights(ring(n)).describe()
    assert found.edges == n
    assert found.components == 1
    assert found.degrees == (2.0, 2.0, 2.0)
    assert found.effective_neighbors == pytest.approx(2.0, rel=1e-12)
    assert found.self_weight == 0
    assert found.second == pytest.approx(lam[1], abs=1e-12)
    assert found.small_eigenvalues == (lam < 0.1).sum()
    assert found.gap == pytest.approx(groups_of(lam)[0], abs=1e-12)
    assert found.groups is None
    assert "the number of clusters is not clear" in found.sentence
    plain = gspnl.graph_from_weights(ring(n), "combinatorial").describe()
    assert plain.second == pytest.approx(2 * lam[1], abs=1e-12)
    assert plain.small_eigenvalues == found.small_eigenvalues


def test_the_small_eigenvalues_of_a_long_ring_are_estimated():
    n = 20_000
    found = gspnl.graph_from_weights(ring(n)).describe()
    share = 2 * np.arccos(0.9) / (2 * np.pi)  # of the angles with 1 − cos < 0.1
    assert not found.small_exact
    assert abs(found.small_eigenvalues / n - share) < 0.2 * share
    assert 0 <= found.second < 0.05
    assert found.gap is found.groups is None
    assert "about" in str(found)
    assert f"at most {found.second:.3g}" in str(found)
    assert found.sentence.startswith("λ₂ ≤ 0.0")


@pytest.mark.parametrize("whole", [True, False], ids=["exact", "lanczos"])
def test_two_cliques_are_two_groups_until_they_are_two_components(whole, monkeypatch):
    monkeypatch.setattr(low_end, "SMALL", 1024 if whole else 0)
    block = np.ones((30, 30))
    W = scipy.linalg.block_diag(block, block)
    apart = gspnl.graph_from_weights(scipy.sparse.csr_array(W)).describe()
    assert (apart.components, apart.second, apart.small_eigenvalues) == (2, 0.0, 2)
    assert apart.edges == 2 * 30 * 29 // 2
    assert apart.largest_component == 30
    assert "2 components without edges between them, the largest with 30 of 60" in apart.sentence
    W[0, 30] = W[30, 0] = 1.0
    joined = gspnl.graph_from_weights(scipy.sparse.csr_array(W)).describe()
    lam = scipy.linalg.eigh(np.eye(60) - W / np.sqrt(np.outer(W.sum(0), W.sum(0))))[0]
    assert joined.second == pytest.approx(lam[1], abs=1e-6)
    assert joined.gap == pytest.approx(lam[2] - lam[1], abs=1e-3)
    assert (joined.components, joined.groups, joined.small_eigenvalues) == (1, 2, 2)
    assert joined.sentence.startswith("2 small eigenvalues stand apart")
    assert joined.effective_neighbors == pytest.approx(30, rel=1e-12)


def moons(n):
    rng = np.random.default_rng(0)
    angle, moon = np.pi * rng.random(n), np.arange(n) % 2
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points[moon == 1] = [1.0, 0.4] - points[moon == 1]
    return points + 0.05 * rng.standard_normal(points.shape)


@pytest.mark.parametrize("n", [600, 2000])
def test_two_long_clusters_are_told_by_the_ratio_of_their_eigenvalues(n):
    """λ₃ is small too, and far above λ₂."""
    graph = gspnl.feature_graph(moons(n), "rbf", sigma=0.15)
    lam = graph.spectrum(3).eigenvalues
    assert lam[2] < 0.1
    found = graph.describe()
    assert found.groups == 2
    assert found.gap == pytest.approx(lam[2] - lam[1], rel=0.05)
    path = gspnl.graph_from_weights(scipy.sparse.diags_array([1.0, 1.0], offsets=[-1, 1],
                                                             shape=(n, n)))  # fmt: skip
    assert path.describe().groups is None


def test_a_complete_graph_averages():
    n = 50
    found = gspnl.graph_from_weights(np.ones((n, n)) - np.eye(n)).describe()
    assert found.edges == "all pairs"
    assert found.second == pytest.approx(n / (n - 1), rel=1e-12)
    assert found.effective_neighbors == pytest.approx(n - 1, rel=1e-12)
    assert (found.small_eigenvalues, found.groups) == (1, 1)
    assert "this graph averages" in found.sentence
    assert "fewer edges" in found.sentence


def test_isolated_nodes_are_left_out_of_every_number_and_named():
    W = np.zeros((60, 60))
    W[:40, :40] = 1.0
    found = gspnl.graph_from_weights(scipy.sparse.csr_array(W)).describe()
    assert (found.isolated, found.components) == (20, 21)
    assert found.degrees == (40.0, 40.0, 40.0)
    assert found.second == pytest.approx(1.0, rel=1e-12)
    assert found.small_eigenvalues == 1
    assert "20 nodes have no edges and are left as they are" in found.sentence
    empty = gspnl.graph_from_weights(scipy.sparse.csr_array((5, 5))).describe()
    assert (empty.isolated, empty.second) == (5, None)
    assert empty.sentence.startswith("No node has an edge")
    W = scipy.sparse.csr_array(([1.0], ([0], [0])), shape=(3, 3))
    alone = gspnl.graph_from_weights(W).describe()
    assert (alone.isolated, alone.components) == (2, 3)
    assert "to itself" in alone.sentence


def test_a_kernel_too_narrow_is_named():
    found = gspnl.feature_graph(X, "rbf", sigma=1e-2).describe()
    assert found.self_weight > 0.99
    assert found.effective_neighbors < 1.1
    assert "larger sigma=" in found.sentence


def test_hundreds_of_components_are_counted():
    W = scipy.sparse.block_diag([np.ones((10, 10))] * 300).tocsr()
    found = gspnl.graph_from_weights(W).describe()
    assert (found.components, found.second) == (300, 0.0)
    assert (found.small_eigenvalues, found.small_exact) == (300, False)  # not searched further
    assert "300 components" in found.sentence


def test_weights_without_order_of_size_are_described():
    big = gspnl.graph_from_weights(np.full((4, 4), 1e300)).describe()
    assert big.degrees[1] == pytest.approx(4e300)
    assert big.second == pytest.approx(1.0)
    signed = np.ones((6, 6))
    signed[0, 1] = signed[1, 0] = -0.5
    found = gspnl.graph_from_weights(signed).describe()
    d = signed.sum(1)
    lam = np.linalg.eigvalsh(np.eye(6) - signed / np.sqrt(np.outer(d, d)))
    assert found.second == pytest.approx(np.sort(np.delete(lam, np.abs(lam).argmin()))[0])


def test_long_descriptions_announce_themselves_or_are_refused():
    graph = gspnl.feature_graph(np.random.default_rng(0).random((8000, 3)), "rbf", storage="tiled")
    with gspnl.patience(hours=1e-6), pytest.raises(EffortError, match="least eigenvalues of 8,000"):
        graph.describe()
    assert "graph.describe() computes the rest (about " in graph._repr_html_()
    seen = []
    graph.describe(progress=seen.append)
    assert all("least eigenvalues" in str(work) for work in seen)


def test_a_batch_is_described_one_by_one():
    graph = gspnl.feature_graph(np.stack([X, X + 1]), "rbf")
    with pytest.raises(InputError, match=r"holds \(2,\) graphs"):
        graph.describe()
    assert graph[1].describe().nodes == len(X)


@pytest.mark.parametrize(
    "convert", [torch.tensor, array_api_strict.asarray], ids=["torch", "strict"]
)
def test_descriptions_do_not_depend_on_the_library(convert):
    for kernel, options in [("rbf", {"sigma": 1.0}), ("dot", {}), ("anchors", {"anchors": 5})]:
        ours = gspnl.feature_graph(X, kernel, **options).describe()
        theirs = gspnl.feature_graph(convert(X), kernel, storage=ours.storage, **options)
        found = theirs.describe()
        for name in ("second", "effective_neighbors", "degree_ratio"):
            assert getattr(found, name) == pytest.approx(getattr(ours, name), rel=1e-6), name
    if convert is torch.tensor:
        features = torch.tensor(X, requires_grad=True)
        assert gspnl.feature_graph(features, "rbf").describe().nodes == len(X)


# --- in a notebook ----------------------------------------------------------------------------


def test_text_and_html_hold_every_number_and_no_external_file():
    found = gspnl.feature_graph(X, "rbf", sigma=1.3).describe()
    text, page = str(found), found._repr_html_()
    for part in (f"{found.second:.3g}", f"{found.nodes}", "RBF(sigma=1.3)", "all pairs"):
        assert part in text
        assert part in page
    assert found.sentence in text
    assert repr(found) == text
    assert len({line.index(value) for line, (_, value) in zip(
        text.splitlines(), found.rows(), strict=False)}) == 1  # fmt: skip
    assert page.count("<table>") == 1
    for word in ("http", "src=", "<script", "<link", "<style"):
        assert word not in page


def test_the_display_of_a_small_graph_is_its_description():
    graph = gspnl.feature_graph(X, "rbf", sigma=1.3)
    assert graph._repr_html_() == graph.describe()._repr_html_()
    assert "&lt;b&gt;" in gspnl.graph_from_weights(np.ones((2, 2))).describe().__class__(
        **{**vars(graph.describe()), "kernel": "<b>"}
    )._repr_html_()  # fmt: skip


def far():
    return np.random.default_rng(0).standard_normal((40, 3)) * [1, 1, 300]


DISPLAYED = {
    "tiled": lambda: gspnl.feature_graph(np.random.default_rng(0).random((200_000, 3)), "rbf"),
    "tiled softmax": lambda: gspnl.feature_graph(
        np.random.default_rng(0).random((50_000, 3)), "rbf", normalization="softmax"
    ),
    "batch": lambda: gspnl.feature_graph(np.random.default_rng(0).random((3, 50, 4)), "rbf"),
    "softmax": lambda: gspnl.feature_graph(X, "rbf", normalization="softmax"),
    "negative": lambda: gspnl.feature_graph(X + 1.5, "dot", feature_map=None),
    "sparse": lambda: gspnl.graph_from_weights(ring(300_000)),
    "lowrank": lambda: gspnl.feature_graph(np.random.default_rng(0).random((300_000, 30)), "dot"),
    "rank": lambda: gspnl.feature_graph(np.random.default_rng(0).random((3000, 2)), "rbf", rank=40),
    "operator": lambda: gspnl.from_linear_operator(aslinearoperator(np.ones((9, 9)))),
    "float32": lambda: gspnl.feature_graph(X.astype("f4"), "rbf"),
    "torch": lambda: gspnl.feature_graph(torch.tensor(X), "rbf"),
    "degrees that leave the range": lambda: gspnl.feature_graph(far(), "gaussian", storage="tiled"),
    "two": lambda: gspnl.feature_graph(X[:2], "rbf"),
    "dense": lambda: gspnl.feature_graph(np.random.default_rng(0).random((3000, 3)), "rbf"),
}


@pytest.mark.parametrize("name", DISPLAYED)
def test_the_display_of_any_graph_is_quick_and_never_raises(name):
    graph = DISPLAYED[name]()
    rate()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gspnl.errors.PrecisionWarning)
        page = graph._repr_html_()
    assert time.perf_counter() - start < 3  # about 0.3 s; tests run beside other work
    assert "<table>" in page
    if name == "tiled":
        assert "graph.describe() computes the rest (about " in page
        assert "affinity" not in vars(graph)  # no pass over all pairs
    if name.startswith("degrees"):
        assert "graph.describe() raises DegreeError" in page
        with pytest.raises(DegreeError):
            graph.describe()
    else:
        assert "raises" not in page
    if name == "operator":
        assert "graph.describe() computes the rest." in page
    if name == "batch":
        assert "graph[i].describe()" in page
