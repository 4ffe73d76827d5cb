"""Figures 1, 2 and 5 of the paper against plain formulas."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from support.formulas import eigen, normalized

import gspnl
from gspnl import plotting, responses
from gspnl.errors import InputError, NonsymmetricError

RNG = np.random.default_rng(3)
SHAPE = (6, 8)
N = 48
X = RNG.random((N, 3))
W = np.exp(-((X[:, None] - X) ** 2).sum(-1) / (2 * 0.5**2))
ROUNDING = 1e-12  # of products of matrices with rows that sum to 1


def rbf(normalization="random_walk"):
    return gspnl.feature_graph(X, "rbf", sigma=0.5, normalization=normalization)


def curves(ax):
    """Return the curves by name, without the rings and their legend entry."""
    lines = [line for line in ax.lines if line.get_linestyle() != "None" and len(line.get_xdata())]
    return {line.get_label().split(":")[0]: line for line in lines}


def rings(ax):
    return [
        line for line in ax.lines if line.get_linestyle() == "None" and len(line.get_xdata()) == 1
    ]


def fewest(row, share=0.9):
    """Count the least number of entries that have the share."""
    size = sorted(np.abs(row), reverse=True)
    return next(k for k in range(1, len(size) + 1) if sum(size[:k]) >= share * sum(size))


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic", "softmax"])
def test_attention_range_draws_the_rows_of_three_operators(normalization):
    A, _ = normalized(W, normalization)
    e = np.eye(N)[11]
    expected = {"NL": A[11], "NS": A[11] - e, "SNL": e + A[11]}
    ax = plotting.attention_range(rbf(normalization), 11)
    drawn = curves(ax)
    assert list(drawn) == list(expected)
    for (name, row), ring in zip(expected.items(), rings(ax), strict=True):
        line = drawn[name]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, N + 1))
        np.testing.assert_allclose(
            line.get_ydata(), N * np.sort(np.abs(row))[::-1], rtol=ROUNDING * 100
        )
        assert line.get_label() == f"{name}: reach {fewest(row)} nodes"
        np.testing.assert_allclose(ring.get_ydata(), N * abs(row[11]), rtol=ROUNDING * 100)
        rank = 1 + (np.abs(row) > abs(row[11])).sum()
        assert ring.get_xdata()[0] == rank


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
def test_attention_range_draws_rows_not_columns(normalization):
    A, change = normalized(W, normalization)
    lam, U, inverse = eigen(A, change)
    row = (U @ (np.exp(-3 * lam)[:, None] * inverse))[7]
    ax = plotting.attention_range(
        rbf(normalization), 7, operators={"heat": responses.heat(3.0)}, shape=SHAPE
    )
    np.testing.assert_allclose(ax.images[0].get_array().ravel(), N * row, atol=N * ROUNDING)
    if normalization == "random_walk":  # there it differs from the column
        column = (U @ (np.exp(-3 * lam)[:, None] * inverse))[:, 7]
        assert np.abs(row - column).max() > 1e-4


def test_pictures_share_a_scale_without_the_node_itself():
    A, _ = normalized(W, "random_walk")
    ax = plotting.attention_range(rbf(), -1, shape=SHAPE)
    e = np.eye(N)[-1]
    peak = N * np.delete(A[-1], -1).max()
    for image, row in zip(ax.images, (A[-1], A[-1] - e, A[-1] + e), strict=True):
        np.testing.assert_allclose(image.get_array(), N * row.reshape(SHAPE), atol=N * ROUNDING)
        np.testing.assert_allclose(image.get_clim(), (-peak, peak), rtol=1e-9)
        left, right, bottom, top = image.get_extent()
        ring = [line for line in ax.lines if left < line.get_xdata()[0] < right]
        x, y = float(ring[0].get_xdata()[0]), float(ring[0].get_ydata()[0])
        np.testing.assert_allclose((x - left) / (right - left), 7.5 / 8)  # the last pixel
        np.testing.assert_allclose((y - top) / (bottom - top), 5.5 / 6)
    itself = [text.get_text().split(",")[0] for text in ax.texts]
    assert itself == [
        f"NL: itself {A[-1, -1]:.3g}",
        f"NS: itself {A[-1, -1] - 1:.3g}",
        f"SNL: itself {A[-1, -1] + 1:.3g}",
    ]


def test_isolated_nodes_reach_only_themselves():
    one = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])  # two nodes of degree 0
    graph = gspnl.feature_graph(one, "dot")
    ax = plotting.attention_range(graph, 2)
    lines = curves(ax)
    np.testing.assert_array_equal(lines["NL"].get_ydata(), [4.0])  # A_ii = 1; no logarithm of 0
    assert lines["NL"].get_label() == "NL: reach 1 node"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[1] == "NS: reach 0 nodes"  # A_ii − 1 = 0
    heat = {"heat": responses.heat(1.0), "square": lambda lam: lam**2}
    ax = plotting.attention_range(graph, 2, operators=heat, shape=(2, 2))
    np.testing.assert_allclose(ax.images[0].get_array(), [[0, 0], [4, 0]], atol=1e-14)
    np.testing.assert_allclose(ax.images[1].get_array(), np.zeros((2, 2)), atol=1e-14)
    ax = plotting.attention_range(graph, 0, operators=heat, shape=(2, 2))
    own, other = (1 + np.exp(-1)) / 2, (1 - np.exp(-1)) / 2  # λ = 0 and 1 on a pair
    np.testing.assert_allclose(ax.images[0].get_array(), [[4 * own, 4 * other], [0, 0]], atol=1e-14)


def test_reach_on_torch_and_float32():
    torch = pytest.importorskip("torch")
    plain = plotting.attention_range(rbf(), 4, operators={"heat": responses.heat(2.0)})
    for points, tolerance in ((torch.asarray(X), 1e-10), (X.astype(np.float32), 1e-4)):
        graph = gspnl.feature_graph(points, "rbf", sigma=0.5)
        ax = plotting.attention_range(graph, 4, operators={"heat": responses.heat(2.0)})
        np.testing.assert_allclose(
            ax.lines[0].get_ydata(), plain.lines[0].get_ydata(), rtol=tolerance
        )


def test_invalid_arguments_of_attention_range_raise():
    graph = rbf()
    with pytest.raises(InputError, match="outside the 48 nodes"):
        plotting.attention_range(graph, 48)
    with pytest.raises(InputError, match=r"must be one node number"):
        plotting.attention_range(graph, [1, 2])
    with pytest.raises(InputError, match="must be a node number"):
        plotting.attention_range(graph, 1.5)
    with pytest.raises(InputError, match="operators is empty"):
        plotting.attention_range(graph, 1, operators={})
    with pytest.raises(InputError, match=r"do not fill a photo of shape \(5, 8\)"):
        plotting.attention_range(graph, 1, shape=(5, 8))
    with pytest.raises(InputError, match=r"this holds \(2,\) graphs; take one"):
        plotting.attention_range(gspnl.feature_graph(RNG.random((2, 9, 3)), kernel="dot"), 1)
    with pytest.raises(InputError, match="not finite on the spectrum"):
        plotting.attention_range(graph, 1, operators={"bad": lambda lam: lam * np.nan})
    with pytest.raises(NonsymmetricError, match="softmax"):
        plotting.attention_range(rbf("softmax"), 1, operators={"heat": responses.heat(1.0)})


def test_strengths_draw_counts_and_print_distances():
    A, _ = normalized(W, "random_walk")
    powers = {1: A, 2: A @ A, 3: A @ A @ A, 4: A @ A @ A @ A}
    ax = plotting.strengths(gspnl.stability.strengths(rbf(), bins=12))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    edges = np.linspace(min(map(np.min, powers.values())), max(map(np.max, powers.values())), 13)
    first = np.histogram(A, edges)[0]
    assert texts[0] == "A"
    assert ax.get_yscale() == "log"
    for (k, matrix), steps, text in zip(powers.items(), ax.patches, texts, strict=True):
        counts = steps.get_data().values
        np.testing.assert_allclose(steps.get_data().edges, edges, rtol=1e-9)
        # An entry within rounding of an edge may fall to either side.
        assert np.abs(counts - np.histogram(matrix, edges)[0]).sum() <= 4
        assert counts.sum() == N * N
        if k > 1:
            defect = np.linalg.norm(matrix - A) / np.linalg.norm(A)
            apart = 100 * np.abs(np.histogram(matrix, edges)[0] - first).sum() / (2 * N * N)
            name = "A" + "²³⁴"[k - 2]
            assert text == f"{name}: histogram {apart:.1f} % apart, ‖{name} − A‖ = {defect:.2f} ‖A‖"


def test_strengths_label_other_powers_and_tiny_defects():
    figure = gspnl.stability.strengths(np.full((4, 4), 0.25), powers=[2, 12])
    texts = [t.get_text() for t in plotting.strengths(figure).get_legend().get_texts()]
    assert texts == ["A²", "A¹²: histogram 0.0 % apart, ‖A¹² − A²‖ = 0 ‖A²‖"]


def test_spectral_density_counts_every_mode():
    graph = gspnl.feature_graph(RNG.random((100, 3)), "dot")
    A = np.asarray(graph.dense())
    lam = 1 - np.linalg.eigvals(A).real
    ax = plotting.spectral_density(graph.spectrum(), bins=7)
    counts, edges, _ = ax.patches[0].get_data()
    assert edges[0] == 0
    assert edges[-1] >= 1
    # Modes at λ = 1, the end of the last bin, are there up to rounding.
    expected = np.histogram(np.clip(lam, 0, edges[-1]), edges)[0]
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == 100
    for bins in (0, True, 2.5):
        with pytest.raises(InputError, match="must be a whole number ≥ 1"):
            plotting.spectral_density(graph.spectrum(), bins)


def test_top_eigenvalues_are_hollow_below_zero():
    W_g, V = RNG.standard_normal((2, 40, 6))
    product = W_g @ V.T
    values = np.linalg.eigvals((product + product.T) / 2).real
    chosen = values[np.argsort(-np.abs(values))][:20]
    expected = np.sort(chosen)[::-1]
    ax = plotting.top_eigenvalues(gspnl.stability.damping(W_g, V.T), k=20)
    _, line, hollow = ax.lines
    noise = 1e-12 * np.abs(values).max()  # two eigensolvers
    np.testing.assert_allclose(line.get_ydata(), expected, atol=noise)
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 21))
    below = expected[expected < -noise]  # not the zeros that rounding put below 0
    assert len(below) == 6
    np.testing.assert_allclose(hollow.get_ydata(), below, atol=noise)
    assert to_hex(hollow.get_markerfacecolor()) == "#ffffff"
    (text,) = ax.get_legend().get_texts()
    assert text.get_text() == "15 % of 40 negative, 12 not 0"


def test_top_eigenvalues_of_several_blocks():
    ax = Figure().add_subplot()
    blocks = {
        name: gspnl.stability.damping(np.eye(4), sign * np.diag([4.0, 3, 2, 1]))
        for name, sign in (("up", 1.0), ("down", -1.0))
    }
    assert plotting.top_eigenvalues(blocks, k=2, ax=ax) is ax
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["up: 0 % of 4 negative, 4 not 0", "down: 100 % of 4 negative, 4 not 0"]
    _, up, up_hollow, down, down_hollow = ax.lines
    np.testing.assert_allclose(up.get_ydata(), [4, 3])
    np.testing.assert_allclose(down.get_ydata(), [-3, -4])
    assert len(up_hollow.get_xdata()) == 0
    assert len(down_hollow.get_xdata()) == 2
    assert up.get_marker() != down.get_marker()
    assert up.get_color() != down.get_color()


def test_invalid_arguments_of_top_eigenvalues_raise():
    block = gspnl.stability.damping(np.eye(2), np.eye(2))
    for k in (0, -1, 1.5, True):
        with pytest.raises(InputError, match="must be a whole number ≥ 1"):
            plotting.top_eigenvalues(block, k)
    with pytest.raises(InputError, match="no blocks"):
        plotting.top_eigenvalues({})


@pytest.mark.parametrize("g", [responses.snl(2.0, 3.0), responses.heat(1.0)], ids=repr)
def test_reach_on_the_strict_array_api_and_two_nodes(g):
    xp = pytest.importorskip("array_api_strict")
    two = np.array([[0.0], [1.0]])
    near = np.exp(-0.5)  # A = [[1, near], [near, 1]] / (1 + near), so λ = 0 and 2 near / (1 + near)
    lam = np.array([0.0, 2 * near / (1 + near)])
    first, second = np.asarray(g(lam))
    for points in (two, xp.asarray(two)):
        graph = gspnl.feature_graph(points, "rbf", sigma=1.0)
        ax = plotting.attention_range(graph, 0, operators={"g": g}, shape=(1, 2))
        expected = [[first + second, first - second]]  # 2 times the row
        np.testing.assert_allclose(ax.images[0].get_array(), expected, rtol=1e-12)


def test_reach_on_graphs_that_store_no_weights():
    points = RNG.standard_normal((60, 3))
    dense = gspnl.feature_graph(points, "rbf", storage="dense")
    tiled = gspnl.feature_graph(points, "rbf", storage="tiled")
    one, other = (plotting.attention_range(graph, 3) for graph in (dense, tiled))
    for line, same in zip(one.lines, other.lines, strict=True):
        np.testing.assert_allclose(same.get_ydata(), line.get_ydata(), rtol=1e-10)
