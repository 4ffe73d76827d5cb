"""Test the figures of networks against dense formulas: rows of A, powers, maps, eigenvalues."""

import io
import json

import numpy as np
import pytest
import torch
from support.nn_cases import INNER, OWN
from support.nn_dense import COMMON, DEFAULTS, RESPONSES, dense, matrix, pool_nodes, under
from torch import nn

import gspnl
from gspnl import nn as gnn
from gspnl._base import effort
from gspnl.errors import FileError, InputError
from gspnl.train import figures

C, SIDE = 6, (3, 4)
NAMES = ["linear", "nl", "ns", "snl", "gsnl", "chebyshev", "spectral", "cgnl", "a2", "cc"]
CASES = [(name, {}) for name in NAMES] + [
    ("nl", {"sub_sample": 2}),
    ("snl", {"norm": "none", "units": 2}),
    ("snl", {"norm": "layer", "bias": True}),
    ("snl", {"normalization": "bistochastic", "activation": "relu"}),
    ("nl", {"kernel": "dot", "normalization": "softmax"}),
    ("nl", {"kernel": "concatenation", "normalization": "random_walk"}),
]
IDS = ["-".join([name, *map(str, options.values())]) for name, options in CASES]
# Both sides are float64; a few hundred roundings of numbers near 1.
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def made(name, **options):
    """A block in evaluation with every parameter and statistic random."""
    torch.manual_seed(0)
    block = gnn.create(name, C, inner=INNER, **(OWN.get(name, {}) | options))
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape) / 2)
        for key, buffer in block.named_buffers():
            if key.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape) + 0.5)
            elif key.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape))
    return block.double().eval()


def images(count=2, size=SIDE, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, C, *size, generator=generator, dtype=torch.float64)


def state(block):
    return {key: value.detach().double() for key, value in block.state_dict().items()}


def config_of(name, options):
    return COMMON | DEFAULTS[name] | OWN.get(name, {}) | options


def scale_of(stage):
    if "norm.running_var" not in stage:
        return torch.ones(C, dtype=torch.float64)
    return stage["norm.weight"] / torch.sqrt(stage["norm.running_var"] + 1e-5)


def dense_kernel(name, block, x, i, options, unit=0):
    """‖K_ij‖ of one image, from F of each unit vector."""
    config, params = config_of(name, options), state(block)
    stage = under(params, f"stages.{unit}.")
    A = matrix(name, params, x, config)
    inner = stage["g.weight"].shape[0]
    columns = int(np.prod(x.shape[2:]))
    if config["sub_sample"]:
        columns = pool_nodes(torch.ones(1, columns, 1), x, config["sub_sample"]).shape[1]
    Z = torch.eye(columns * inner, dtype=torch.float64).reshape(-1, columns, inner)
    zero = torch.zeros(1, columns, inner, dtype=torch.float64)
    F = RESPONSES[name](A, Z, stage, config) - RESPONSES[name](A, zero, stage, config)
    H = (F[:, i] * scale_of(stage)).reshape(columns, inner, C)  # of z_j to F_i
    K = torch.einsum("jab,ac->jbc", H, stage["g.weight"])
    return K.norm(dim=(1, 2)).numpy()


# --- figure 1 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_rows_equal_those_of_the_dense_operator(name, options):
    block, x = made(name, **options), images()
    found = figures.attention_ranges(block, x, image=1, position=(1, 2))
    assert len(found) == len(block.stages)
    A = matrix(name, state(block), x[1:], config_of(name, options))
    for unit, each in enumerate(found):
        weights = dense_kernel(name, block, x[1:], 1 * 4 + 2, options, unit)
        np.testing.assert_allclose(each.weights.reshape(-1), weights, **CLOSE)
        if name in ("linear", "cgnl"):
            assert each.affinity is None
        else:
            np.testing.assert_allclose(each.affinity.reshape(-1), A[0, 6].numpy(), **CLOSE)
        assert each.grid == ((1, 2) if "sub_sample" in options else SIDE)


def test_operators_with_one_affinity_differ_only_at_the_reference():
    """NL, NS and SNL: off the node, ‖K_ij‖ is a multiple of A_ij; NS lacks 1 at it."""
    options = {"kernel": "dot", "normalization": "random_walk"}
    blocks = {name: made(name, **options) for name in ("nl", "ns", "snl")}
    for block in blocks.values():
        block.affinity.load_state_dict(blocks["nl"].affinity.state_dict())
    for block in blocks.values():
        (each,) = figures.attention_ranges(block, images(), position=(0, 0))
        A, K = each.affinity.reshape(-1)[1:], each.weights.reshape(-1)[1:]
        np.testing.assert_allclose(K / K.sum(), A / A.sum(), **CLOSE)


def test_a_folded_block_has_the_rows_of_the_block():
    block, x = made("gsnl"), images()
    (before,) = figures.attention_ranges(block, x)
    (after,) = figures.attention_ranges(gnn.fold(block), x)
    np.testing.assert_allclose(after.weights, before.weights, rtol=1e-9)


def test_a_zero_initialised_block_has_no_weights():
    (each,) = figures.attention_ranges(gnn.create("snl", C), images().float())
    assert each.reach == 0
    assert each.itself == 0
    assert each.distance == 0
    assert each.affinity_reach > 0
    each.plot()


def by_hand(weights, cell):
    weights = np.asarray(weights, dtype=float)
    return figures.AttentionRange("", 1, weights.shape, cell, weights, weights, np.zeros((4, 4)))


def test_reach_and_distance_against_a_calculation_by_hand():
    even = by_hand(np.ones((5, 4)), (2, 1))
    assert (even.reach, even.itself) == (18, 0.05)
    assert even.distance == pytest.approx(1, abs=1e-15)
    near = by_hand([[8.0, 1.0, 1.0, 0.0]], (0, 0))  # steps 1 and 2, against 1, 2 and 3
    assert (near.reach, near.itself) == (2, 0.8)
    assert near.distance == pytest.approx(1.5 / 2, abs=1e-15)
    assert by_hand([[3.0, 0.0, 0.0]], (0, 0)).distance == 0


@pytest.mark.parametrize(
    ("position", "cell"), [(None, (2, 2)), ((0, 0), (0, 0)), ((7, 3), (3, 1)), ((1, 7), (0, 3))]
)
def test_pixels_map_to_the_grid_of_the_features(position, cell):
    net = nn.Sequential(nn.AvgPool2d(2), made("nl")).double()
    (each,) = figures.attention_ranges(net, images(size=(8, 8)), position=position)
    assert each.cell == cell
    assert each.name == "1 (nl)"


# --- figure 2 ------------------------------------------------------------------------------------

SQUARE = [
    case for case in CASES if case[0] not in ("linear", "cgnl") and not case[1].get("sub_sample")
]


@pytest.mark.parametrize(("name", "options"), SQUARE)
def test_powers_equal_those_of_the_dense_matrix(name, options):
    block, x = made(name, **options), images(3)
    (found,) = figures.power_histograms(block, x, image=2)
    A = matrix(name, state(block), x, config_of(name, options)).numpy()
    P = [A, A @ A, A @ A @ A, A @ A @ A @ A]
    size = np.sqrt((A**2).sum((1, 2)))
    defects = [np.sqrt(((p - A) ** 2).sum((1, 2))) / size for p in P]
    np.testing.assert_allclose(found.defects, np.transpose(defects), rtol=1e-8, atol=1e-12)
    edges = found.strengths.edges
    # An entry on an edge may fall to either side by a rounding: none is within 1e-12 of one here.
    for power, counts in zip(P, found.strengths.counts, strict=True):
        inside = np.sort(power[2].reshape(-1))
        below = np.searchsorted(inside, edges[1:-1])
        expected = np.diff([0, *below, inside.size])
        assert np.abs(counts - expected).sum() <= 2
    assert found.distances.shape == (3, 4)
    np.testing.assert_allclose(found.distances[2], found.strengths.distances)
    numbers = found.numbers()
    assert numbers["defects"] == pytest.approx(found.defects.mean(0))
    assert numbers["least_defects"][1] == pytest.approx(min(found.defects[:, 1]))


def test_defects_are_zero_for_a_projector_and_positive_for_shuffled_rows():
    pooling = made("nl")  # all scores are 0: A = 1 1ᵀ / N, and A² = A
    with torch.no_grad():
        pooling.affinity.phi.weight.zero_()
    (found,) = figures.power_histograms(pooling, images())
    assert found.defects.max() < 1e-14
    assert found.shuffled.max() < 1e-14
    (other,) = figures.power_histograms(made("nl"), images(), seed=3)
    (again,) = figures.power_histograms(made("nl"), images(), seed=3)
    (third,) = figures.power_histograms(made("nl"), images(), seed=4)
    np.testing.assert_array_equal(other.shuffled, again.shuffled)
    assert (other.shuffled != third.shuffled).all()
    assert (other.shuffled > 0.05).all()


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("linear", {}, "no edges"),
        ("cgnl", {}, "pairs of a position and a channel"),
        ("nl", {"sub_sample": 2}, "not square"),
    ],
)
def test_blocks_without_powers_have_a_reason(name, options, reason):
    (found,) = figures.power_histograms(made(name, **options), images())
    assert reason in found.reason
    assert found.strengths is None
    assert json.loads(json.dumps(found.numbers()))["defects"] is None
    with pytest.raises(InputError, match=reason):
        found.plot()


def test_blocks_of_too_many_positions_are_skipped():
    (found,) = figures.power_histograms(made("snl"), images(), nodes=11)
    assert "N = 12 is more than nodes=11" in found.reason


# --- figure 4 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_feature_maps_equal_the_dense_block_minus_its_input(name):
    block, x = made(name, units=2), images(3)
    (maps,) = figures.feature_maps(block, x)
    y = dense(name, state(block), x, **OWN.get(name, {}), units=2)
    step = (y - x).numpy()
    scale = np.sqrt((x.numpy() ** 2).sum(1)).mean((1, 2), keepdims=True)
    np.testing.assert_allclose(maps.norm, np.sqrt((step**2).sum(1)) / scale, **CLOSE)
    np.testing.assert_allclose(maps.mean, step.sum(1) / C, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(maps.size, np.sqrt((y.numpy() ** 2).sum(1)) / scale, **CLOSE)
    added = np.sqrt((step**2).sum((1, 2, 3)) / (x.numpy() ** 2).sum((1, 2, 3)))
    np.testing.assert_allclose(maps.added, added, **CLOSE)


def test_cover_and_likeness_against_a_calculation_by_hand():
    x = np.zeros((2, 1, 2, 2))
    x[:, 0] = [[1.0, 2.0], [3.0, 4.0]]
    y = x.copy()
    y[0, 0] += 1.0  # alike everywhere: half of the norm is in half of the positions
    y[1, 0, 1, 1] += 5.0  # all of it in one of four
    maps = figures.FeatureMaps("", x, y, np.zeros((2, 4, 4)))
    np.testing.assert_allclose(maps.cover, [0.5, 0.25])
    expected = np.corrcoef(x.reshape(-1), y.reshape(-1))[0, 1]
    assert maps.likeness == pytest.approx(expected)
    nothing = figures.FeatureMaps("", x, x, np.zeros((2, 4, 4)))
    assert nothing.cover.tolist() == [0, 0]
    flat = figures.FeatureMaps("", 0 * x, 0 * x, np.zeros((2, 4, 4)))
    assert flat.numbers()["likeness"] is None
    assert flat.added.tolist() == [0, 0]


# --- figure 5 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_eigenvalues_equal_those_of_the_matrix_assembled_by_hand(name, scaled):
    block = made(name, units=2)
    found = figures.channel_weights(block, scaled=scaled)
    params, expected = state(block), []
    for unit in range(2):
        stage = under(params, f"stages.{unit}.")
        for key in [key for key in stage if key.startswith("w")]:
            w = stage[key]
            if name == "cgnl":
                w = torch.block_diag(*w.chunk(2, 0))
            product = stage["g.weight"].T @ w.T  # W_g W for rows of features
            if scaled:
                product = product * scale_of(stage)
            expected.append(np.linalg.eigvalsh(((product + product.T) / 2).numpy()))
    assert len(found.maps) == len(expected)
    below = list(found.negative().values())
    for each, values, count in zip(found.maps.values(), expected, below, strict=True):
        np.testing.assert_allclose(np.sort(each.eigenvalues), values, rtol=1e-9, atol=1e-12)
        assert count == (values < -1e-12).sum()


def test_weights_are_transposed_from_the_layout_of_layers():
    """W_g W with known eigenvalues: g picks channels 0 and 1, w returns 2 and −1 times them."""
    block = gnn.create("nl", 3, inner=2, norm="none", zero_init=False)
    with torch.no_grad():
        block.stages[0].g.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))
        block.stages[0].w.weight.copy_(torch.tensor([[2.0, 0], [0, -1.0], [0, 0]]))
    found = figures.channel_weights(block)
    assert list(found.maps) == ["nl W"]
    assert found.maps["nl W"].eigenvalues.tolist() == [2, 0, -1]
    (row,) = found.numbers()
    assert (row["channels"], row["rank"], row["negative"]) == (3, 2, 1)
    assert row["top"] == [2, 0, -1]


def test_channel_weights_of_folded_blocks_raise():
    with pytest.raises(InputError, match="take the network that was folded"):
        figures.channel_weights(gnn.fold(made("snl")))


# --- all of them ---------------------------------------------------------------------------------


def net(*names, seed=0, **options):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, C, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, *(made(name, **options).float() for name in names)).eval()


def pictures(count=3, size=(8, 10)):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def test_all_figures_of_several_networks_are_written(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    nets = {"NL": net("nl"), "SNL twice": net("snl", "linear", units=2), "CGNL": net("cgnl")}
    numbers = figures.write_figures(nets, pictures(), tmp_path / "new" / "out", image=1)
    files = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert files == ["figure1.png", "figure2.png", "figure4.png", "figure4_mean.png",
                     "figure5.png", "figures.json"]  # fmt: skip
    for name in numbers["files"]:
        data = (tmp_path / "new" / "out" / name).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert("L"))
        assert min(pixels.shape) > 300
        assert pixels.std() > 5  # something is drawn
    kept = json.loads((tmp_path / "new" / "out" / "figures.json").read_text())
    assert kept == json.loads(json.dumps(numbers))
    assert list(kept["networks"]) == list(nets)
    snl = kept["networks"]["SNL twice"]
    assert [len(snl[key]) for key in ("range", "powers", "maps", "weights")] == [4, 2, 2, 6]
    again = figures.write_figures(nets, pictures(), tmp_path / "new" / "out", image=1)
    assert again == numbers


def test_reading_blocks_and_drawing_them_show_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(effort, "WAIT", 0.0)
    monkeypatch.setattr(effort, "EVERY", 0.001)
    seen = set()
    with gspnl.progress(lambda work: seen.add((work.what, work.total))):
        figures.write_figures(net("nl"), pictures(), tmp_path)
    assert {("the blocks", 4), ("the figures", 5)} <= seen


def test_figures_leave_the_network_unchanged(tmp_path):
    model = net("snl").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    figures.write_figures(model, pictures(), tmp_path)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_videos_are_drawn_at_the_time_of_the_reference():
    clip = torch.rand(2, C, 4, 6, 6, dtype=torch.float64)
    block = made("nl")
    (each,) = figures.attention_ranges(block, clip, position=(3, 2, 1))
    assert each.cell == (3, 2, 1)
    assert len(each.plot().images) == 3
    (maps,) = figures.feature_maps(block, clip)
    assert len(maps.plot("size").images) == 4


def test_plotting_one_spatial_dimension_raises():
    signal = torch.rand(2, C, 9, dtype=torch.float64)
    (each,) = figures.attention_ranges(made("nl"), signal, position=(4,))
    assert each.weights.shape == (9,)
    with pytest.raises(InputError, match="1 spatial dimension is no picture"):
        each.plot()


def test_plots_draw_on_given_axes():
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(8, 4))
    model, x = net("snl"), pictures()
    for draw in (
        figures.attention_ranges(model, x)[0].plot,
        figures.power_histograms(model, x)[0].plot,
        figures.feature_maps(model, x)[0].plot,
        figures.channel_weights(model).plot,
    ):
        ax = figure.add_subplot()
        assert draw(ax=ax) is ax


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": nn.Conv2d(3, 4, 1)}, "has no nonlocal blocks"),
        ({"model": "snl"}, "must be a torch.nn.Module, not str"),
        ({"images": np.zeros((1, 3, 8, 8))}, "must be a torch tensor"),
        ({"images": torch.zeros(0, 3, 8, 8)}, "none empty"),
        ({"images": torch.zeros(3, 8)}, "floating-point images"),
        ({"images": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, "torch.uint8"),
        ({"images": torch.full((1, 3, 8, 8), torch.nan)}, "has 192 value.s. that are not"),
        ({"images": torch.full((1, 3, 8, 8), torch.inf)}, "first one inf at index .0, 0, 0, 0."),
        ({"images": torch.zeros(1, 4, 8, 8)}, "cannot run this batch"),
        ({"image": 3}, "image=3 must be a whole number from 0 to 2, an image of the batch"),
        ({"image": -1}, "image=-1 must be a whole number from 0 to 2"),
        ({"image": 0.5}, "must be a whole number"),
        ({"image": True}, "must be a whole number"),
        ({"position": (8, 0)}, "inside of images of size 8 × 10"),
        ({"position": (0, -1)}, "inside of images of size 8 × 10"),
        ({"position": (1,)}, "must be 2 whole numbers"),
        ({"position": (1.5, 0)}, "must be 2 whole numbers"),
        ({"position": "a"}, "must be 2 whole numbers"),
        ({"pictures": np.zeros((1, 3, 8, 10))}, "pass one for each image"),
    ],
)
def test_invalid_arguments_of_attention_ranges_raise(change, message):
    given = {"model": net("snl"), "images": pictures()} | change
    with pytest.raises(InputError, match=message):
        figures.attention_ranges(given.pop("model"), given.pop("images"), **given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: figures.power_histograms(net("nl"), x, nodes=0), "nodes"),
        (lambda x: figures.power_histograms(net("nl"), x, seed=-1), "seed"),
        (lambda x: figures.power_histograms(net("nl"), x, image=9), "image=9"),
        (lambda x: figures.feature_maps(nn.ReLU(), x), "no nonlocal blocks"),
        (lambda x: figures.feature_maps(net("nl"), x)[0].plot("sum"), "'norm', 'size', 'mean'"),
        (lambda x: figures.channel_weights(nn.ReLU()), "no nonlocal blocks"),
        (lambda x: figures.draw_attention_ranges({}), "nothing to draw"),
        (lambda x: figures.draw_feature_maps({}), "nothing to draw"),
        (lambda x: figures.write_figures({}, x, "out"), "no networks"),
    ],
)
def test_invalid_arguments_of_the_other_figures_raise(call, message):
    with pytest.raises(InputError, match=message):
        call(pictures())


def test_a_folder_that_cannot_be_made_raises(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot make the folder"):
        figures.write_figures(net("nl"), pictures(), tmp_path / "file" / "out")
