"""Analysis of photos of all kinds: settings, pixels, segments, colours."""

import json

import numpy as np
import pytest
from PIL import Image
from support.reports import logged, picture, refuse_constant

from gspnl.errors import EffortError, InputError, SizeError
from gspnl.report import Settings, write_report
from gspnl.report.analysis import _node, _pixel, analyse
from gspnl.report.clock import Clock
from gspnl.report.segments import false_colour, segment


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "dot"},
        {"kernel": "cosine", "normalization": "symmetric"},
        {"kernel": "rbf", "sigma": 0.1, "normalization": "bistochastic"},
        {"rank": 1},
        {"rank": 2, "response": "smooth_high_pass(0.5)"},
        {"response": "low_pass(0.5)", "orders": "0,3"},
        {"patch": 1.0, "position": 0.0, "max_nodes": 200},
    ],
)
def test_checks_pass_with_other_settings(tmp_path, options):
    path = picture(tmp_path / "photo.png", 18, 24)
    numbers = write_report(path, tmp_path / "out", Settings(**{"orders": "1:3"} | options))
    json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=refuse_constant)
    assert all(check["passed"] for check in numbers["checks"])


@pytest.mark.parametrize("error", [SizeError, EffortError])
def test_a_spectrum_that_is_too_large_names_options_of_the_report(error, tmp_path, monkeypatch):
    def refuse(graph):
        raise error("all eigenpairs would take 9 of it; filter with order=, or another kernel")

    monkeypatch.setattr("gspnl.graph.graph.FeatureGraph.spectrum", refuse)
    path = picture(tmp_path / "photo.png", 18, 24)
    with pytest.raises(error) as found:
        analyse(path, Settings(kernel="rbf"), Clock())
    assert str(found.value) == (
        "the report on 432 pixels with kernel='rbf': all eigenpairs would take 9 of it; pass a "
        "smaller --max-nodes, such as 2000, or --kernel anchors"
    )


def test_a_photo_of_one_colour_has_rank_one_and_one_segment(tmp_path):
    Image.fromarray(np.full((6, 8, 3), 99, dtype=np.uint8)).save(tmp_path / "flat.png")
    settings = Settings(rank=4, position=0.0, orders="1,2")
    numbers = write_report(tmp_path / "flat.png", tmp_path / "out", settings)
    assert numbers["rank"] == 1
    assert [s["share"] for s in numbers["segments"]] == [1.0]


def test_a_photo_of_one_pixel_is_refused(tmp_path):
    Image.fromarray(np.zeros((1, 1, 3), dtype=np.uint8)).save(tmp_path / "dot.png")
    with pytest.raises(InputError, match="has 1 pixel, and a graph needs 2 nodes"):
        write_report(tmp_path / "dot.png", tmp_path / "out")


def test_scaling_down_is_logged_and_pixels_are_mapped(tmp_path):
    path = picture(tmp_path / "photo.png", 60, 80)
    settings = Settings(rank=8, orders="1", max_nodes=300, pixels=((79, 59),))
    with logged() as lines:
        analysis = analyse(path, settings, Clock())
    assert analysis.shape == (15, 20)
    assert analysis.nodes == [15 * 20 - 1]
    assert any("80 × 60 pixels were scaled down to 20 × 15" in line for line in lines)


def test_the_pixel_of_a_node_belongs_to_it():
    rng = np.random.default_rng(0)
    for _ in range(500):
        small = rng.integers(1, 40, 2)
        full = small + rng.integers(0, 100, 2)
        node = int(rng.integers(small.prod()))
        x, y = _pixel(node, tuple(full), tuple(small))
        assert 0 <= x < full[1]
        assert 0 <= y < full[0]
        assert _node((x, y), tuple(full), tuple(small)) == node


def test_well_separated_clusters_are_segments():
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    modes = np.array([[0.0, 0], [5, 0], [0, 5]])[truth] + 0.1 * rng.standard_normal((100, 2))
    colours = rng.random((100, 3))
    found = segment(modes, colours, seed=0)
    np.testing.assert_array_equal(found.labels, truth)  # the largest first
    np.testing.assert_allclose(found.shares, [0.6, 0.3, 0.1])
    for label in range(3):
        np.testing.assert_allclose(found.colours[label], colours[truth == label].mean(axis=0))


def test_innermost_is_farthest_from_the_border():
    labels = np.zeros((9, 9), dtype=int)
    labels[2:7, 2:7] = 1
    found = segment(labels.reshape(-1, 1).astype(float), np.zeros((81, 3)), seed=0)
    assert found.innermost(1, (9, 9)) == 4 * 9 + 4


def test_false_colours_are_in_range():
    colours = false_colour(np.random.default_rng(0).standard_normal((100, 3)))
    assert colours.shape == (100, 3)
    assert 0 <= colours.min() < colours.max() <= 1
    assert (false_colour(np.ones((5, 1))) == 0).all()
