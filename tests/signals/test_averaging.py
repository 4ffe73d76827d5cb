"""The warning of verbs that need structure, on graphs that only average."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator
from support.averaging import second_of, stated
from support.calls import count_calls
from support.formulas import dense_filter, eigen, normalized
from support.operator_graphs import CASES, NORMALIZATIONS, build

import gspnl
from gspnl.errors import AveragingWarning, NonsymmetricError
from gspnl.filters.second import second_above
from gspnl.graph.sentence import remedy
from gspnl.signals import structure

torch = pytest.importorskip("torch", reason="torch is not installed")


def blobs(seed=0, size=25):
    rng = np.random.default_rng(seed)
    truth = np.tile([0, 1, 2], size)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    return centres[truth] + rng.standard_normal((3 * size, 2)), truth


FEATURES, TRUTH = blobs()
FAR = np.concatenate([FEATURES, np.full((len(FEATURES), 1), 40.0)], axis=1)  # far from 0
SOME = np.where(np.arange(len(TRUTH)) % 5 == 0, TRUTH, -1)
NOISY = TRUTH + 0.3 * np.random.default_rng(1).standard_normal(len(TRUTH))
VERBS = {
    "local_global": lambda g: gspnl.propagate_labels(g, SOME),
    "harmonic": lambda g: gspnl.propagate_labels(g, SOME, "harmonic"),
    "clustering": lambda g: gspnl.spectral_clustering(g, 3),
    "denoise": lambda g: gspnl.denoise(g, NOISY, strength=2.0),
    "denoise by series": lambda g: gspnl.denoise(g, NOISY, "heat", strength=2.0, order=8),
    "risk": lambda g: gspnl.choose_strength(g, NOISY, sigma=0.3),
    "discrepancy": lambda g: gspnl.choose_strength(g, NOISY, sigma=0.3, rule="discrepancy"),
}


@pytest.mark.parametrize("storage", ["lowrank", "dense", "tiled"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_graph_that_only_averages_warns_once_and_names_the_remedy(storage, verb):
    run = VERBS[verb]
    graph = gspnl.feature_graph(FAR, "dot", storage=storage)
    W = np.maximum(FAR, 0) @ np.maximum(FAR, 0).T
    second = eigen(*normalized(W, "random_walk"))[0][1]
    assert second > 0.8
    with pytest.warns(
        AveragingWarning,
        match=f"second λ is {second:.2f} .*leave kernel= out.*gspnl.neighbor_graph",
    ) as seen:
        run(graph)
    assert len(seen) == 1
    assert "test_averaging" in seen[0].filename  # the caller's line
    wide = gspnl.feature_graph(
        FEATURES, "rbf", sigma=40.0, storage="dense" if storage == "dense" else "tiled"
    )
    with pytest.warns(AveragingWarning, match="sigma='local' or a smaller sigma= than 40"):
        run(wide)
    narrow = gspnl.feature_graph(FEATURES, "rbf", sigma=1.0, storage="tiled")
    run(narrow)  # no warning


@pytest.mark.parametrize("first", VERBS)
def test_two_verbs_on_one_graph_warn_once_in_all_and_another_graph_warns_again(first):
    graph = gspnl.feature_graph(FAR, "dot")
    with pytest.warns(AveragingWarning):
        VERBS[first](graph)
    for run in VERBS.values():
        run(graph)
    with pytest.warns(AveragingWarning):
        VERBS[first](gspnl.feature_graph(FAR, "dot"))


def test_filters_of_python_hold():
    graph = gspnl.feature_graph(FAR, "dot")
    for _ in range(2):  # an error is raised until it has been shown
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(AveragingWarning):
                VERBS["denoise"](graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        VERBS["denoise"](graph)


@pytest.mark.parametrize("order", [None, 2, 8])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("case", CASES)
def test_denoising_warns_exactly_where_the_second_eigenvalue_is_above_the_level(
    case, normalization, order
):
    if normalization == "bistochastic" and case.startswith(("isolated", "lowrank")):
        pytest.skip("zeros that allow no bistochastic scaling")
    graph, W, A, change = build(case, normalization)
    Z = np.random.default_rng(3).standard_normal((len(W), 2)) + 5  # noise alone
    with stated(second_of(W, A, change, normalization)):
        gspnl.denoise(graph, Z, strength=1.0, order=order)


@pytest.mark.parametrize("offset", [0, 1e3])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("case", CASES)
def test_signals_show_structure_only_where_there_is_some(case, normalization, offset):
    """Without eigenvalues in the cache, as for large graphs; Y comes from a dense formula."""
    if normalization == "bistochastic" and case.startswith(("isolated", "lowrank")):
        pytest.skip("zeros that allow no bistochastic scaling")
    graph, W, A, change = build(case, normalization)
    second = second_of(W, A, change, normalization)
    strength = 3 / (W.sum(1).max() if normalization == "combinatorial" else 1)
    response = gspnl.responses.tikhonov(strength)
    for Z in (np.random.default_rng(3).standard_normal((len(W), 2)), graph.spectrum().modes(2)):
        Z = Z + offset * graph.affinity.constant_mode[:, None]
        graph = build(case, normalization)[0]
        Y = dense_filter(A, change, response, Z)
        found = second_above(graph.caches.single(), 0.8, (Z, Y), response)
        if second <= 0.8:
            assert found is None
        else:
            assert abs(found - second) < 0.01


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
def test_a_constant_signal_shows_no_structure_where_degrees_differ(normalization):
    features = FAR * np.geomspace(1, 9, len(FAR))[:, None]
    graph = gspnl.feature_graph(features, "dot", storage="dense", normalization=normalization)
    W = np.maximum(features, 0) @ np.maximum(features, 0).T
    A, change = normalized(W, normalization)
    assert second_of(W, A, change) > 0.8
    response = gspnl.responses.tikhonov(3.0)
    Z = 1e3 * graph.affinity.constant_mode[:, None] + NOISY[:, None]
    Y = dense_filter(A, change, response, Z)
    assert second_above(graph.caches.single(), 0.8, (Z, Y), response) > 0.8


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_weights_of_any_size_are_judged_by_signals_alike(scale):
    points, truth = blobs(size=400)
    noisy = truth + 0.3 * np.random.default_rng(1).standard_normal(len(truth))
    W = scale * np.exp(-((points[:, None] - points) ** 2).sum(-1) / 2)
    graph = gspnl.graph_from_weights(W, "combinatorial")
    gspnl.denoise(graph, noisy, strength=5 / W.sum(1).max())
    assert graph.caches.single().second is None  # the signals were enough
    flat = gspnl.graph_from_weights(np.full(W.shape, scale), "combinatorial")
    with pytest.warns(AveragingWarning, match="of the largest degree"):
        gspnl.denoise(flat, noisy, strength=5 / scale / len(W))


def test_each_graph_of_a_batch_is_judged_by_its_own_signals():
    points, truth = blobs(size=400)
    noisy = truth + 0.3 * np.random.default_rng(1).standard_normal(len(truth))
    noise = np.random.default_rng(2).standard_normal(len(truth))
    graph = gspnl.feature_graph(np.stack([points, points / 1e3]), "rbf", storage="dense")
    with pytest.warns(AveragingWarning, match=r"graph\[1\]"):
        gspnl.denoise(graph, np.stack([noisy, noise])[..., None], strength=5.0)


@pytest.mark.parametrize(
    ("build_graph", "text"),
    [
        (lambda: gspnl.feature_graph(FAR, "cosine"), "leave kernel= out"),
        (lambda: gspnl.feature_graph(FAR, "anchors", anchors=3, sigma=30.0), "leave kernel= out"),
        (lambda: gspnl.feature_graph(FEATURES / 99, "gaussian"), "scale the features up"),
        (
            lambda: gspnl.feature_graph(FEATURES, "embedded_gaussian", temperature=1e3),
            "a smaller temperature= than 1000",
        ),
        (lambda: gspnl.graph_from_weights(np.ones((75, 75))), "keep fewer edges"),
        (
            lambda: gspnl.graph_from_weights(scipy.sparse.csr_array(np.ones((75, 75)))),
            "keep fewer edges",
        ),
        (
            lambda: gspnl.from_linear_operator(aslinearoperator(np.ones((75, 75)))),
            "keep fewer edges",
        ),
        (
            lambda: gspnl.feature_graph(FEATURES, "rbf", sigma=40.0, rank=9),
            "build it with a smaller sigma= than 40",
        ),
    ],
)
def test_the_remedy_fits_the_graph(build_graph, text):
    with pytest.warns(AveragingWarning, match=text):
        gspnl.denoise(build_graph(), NOISY, strength=1.0)


@pytest.mark.parametrize(
    ("kernel", "text"),
    [
        (SimpleNamespace(k=16, kernel=None), "a smaller k= than 16"),
        (SimpleNamespace(sigma="median"), "sigma='local' or a smaller sigma=, or gspnl.neighbor"),
        (SimpleNamespace(sigma="local"), "gspnl.neighbor_graph(X), or a small number as sigma="),
        (SimpleNamespace(sigma="adaptive", anchors=256), "more anchors= than 256"),
    ],
)
def test_the_remedy_differs_from_what_has_been_done(kernel, text):
    assert text in remedy(kernel, "dense")


def test_graphs_without_a_real_spectrum_or_edges_are_not_judged():
    soft = gspnl.feature_graph(FAR, "dot", normalization="softmax")
    with pytest.raises(NonsymmetricError):
        gspnl.denoise(soft, NOISY, strength=1.0)
    alone = gspnl.graph_from_weights(scipy.sparse.csr_array((75, 75)))
    assert np.allclose(gspnl.denoise(alone, NOISY, strength=1.0), NOISY)
    assert second_above(gspnl.graph_from_weights(
        scipy.sparse.csr_array((75, 75))).caches.single(), 0.8) is None  # fmt: skip
    for rows in (0, 1):  # with an edge, to itself
        features = -np.ones((75, 2))
        features[:rows] = 1.0
        one = gspnl.feature_graph(features, "dot")
        assert np.allclose(gspnl.denoise(one, NOISY, strength=1.0), NOISY)
    graph = gspnl.feature_graph(FAR, "dot")
    gspnl.denoise(graph, NOISY, strength=0)  # the signal itself, on any graph


def test_a_batch_is_judged_graph_by_graph():
    near = np.concatenate([FEATURES, np.zeros((75, 1))], axis=1)
    good = gspnl.feature_graph(np.stack([near, near]), "rbf")
    for signals in (NOISY[:, None], np.stack([NOISY, NOISY])[..., None]):
        gspnl.denoise(good, signals, strength=1.0)
        mixed = gspnl.feature_graph(np.stack([near, 40 * near / near.max() * 1e-3]), "rbf")
        with pytest.warns(
            AveragingWarning, match=r"graph\[1\] of this batch only averages"
        ) as all_:
            gspnl.denoise(mixed, signals, strength=1.0)
        assert len(all_) == 1
        gspnl.denoise(mixed, signals, strength=1.0)


def test_weights_of_any_size_are_judged_alike_for_the_combinatorial_laplacian():
    W = np.exp(-((FEATURES[:, None] - FEATURES) ** 2).sum(-1) / 2)
    for scale in (1e-6, 1.0, 1e6):
        graph = gspnl.graph_from_weights(scale * W, "combinatorial")
        assert gspnl.spectral_clustering(graph, 3).tolist() == TRUTH.tolist()
        gspnl.denoise(graph, NOISY, strength=0.1 / scale)


@pytest.mark.parametrize("convert", [torch.tensor, np.float32])
def test_signals_of_any_library_and_size_are_judged(convert):
    graph = gspnl.feature_graph(convert(FAR), "dot")
    for size in (1e-30, 1e30):
        gspnl.denoise(
            gspnl.feature_graph(convert(FEATURES), "rbf"), convert(NOISY * size), strength=1.0
        )
    with pytest.warns(AveragingWarning):
        gspnl.denoise(graph, convert(NOISY * 1e30), strength=1.0)
    features = torch.tensor(FEATURES, requires_grad=True)
    smooth = gspnl.denoise(
        gspnl.feature_graph(features, "rbf"), torch.tensor(NOISY), strength=1.0, order=8
    )
    smooth.sum().backward()
    assert torch.isfinite(features.grad).all()


# --- cost -------------------------------------------------------------------------------------


def test_the_second_eigenvalue_of_a_structured_graph_takes_few_products():
    features, _ = blobs(size=400)
    graph = gspnl.feature_graph(features, "rbf", sigma=1.0, storage="tiled")
    graph.check_degrees()
    counts = count_calls(lambda: structure.warn_of_averaging(graph, "test"))
    assert counts["affinity/weights/exponential.py:TiledExponential.matmul"] <= 3
    again = count_calls(lambda: structure.warn_of_averaging(graph, "test"))
    assert again.total() <= 12


@pytest.mark.parametrize("options", [{"order": 8}, {}])
@pytest.mark.parametrize("storage", ["tiled", "dense"])
def test_denoising_a_structured_graph_makes_no_product_more_than_its_filter(storage, options):
    features, truth = blobs(size=400)
    noisy = truth + 0.3 * np.random.default_rng(1).standard_normal(len(truth))

    def products(verb):
        graph = gspnl.feature_graph(features, "rbf", sigma=1.0, storage=storage).check_degrees()
        counts = count_calls(lambda: verb(graph))
        return sum(n for name, n in counts.items() if name.endswith(".matmul"))

    response = gspnl.responses.tikhonov(5.0)
    plain = products(lambda g: g.filter(noisy, response, **options))
    assert products(lambda g: gspnl.denoise(g, noisy, strength=5.0, **options)) == plain > 5

    def both(graph):
        gspnl.denoise(graph, noisy, strength=5.0, **options)
        structure.warn_of_averaging(graph, "test")  # it is known to have structure

    assert products(both) == plain


def test_the_band_of_a_filter_is_used_for_the_judgement():
    far = np.concatenate([FAR] * 20)
    graph = gspnl.feature_graph(far, "rbf", sigma=100.0, storage="tiled").check_degrees()
    graph.filter(far, gspnl.responses.heat(1.0), order=8)
    with pytest.warns(AveragingWarning):
        counts = count_calls(lambda: structure.warn_of_averaging(graph, "test"))
    assert counts["affinity/weights/exponential.py:TiledExponential.matmul"] == 0
