"""Evaluation on several views of a sample, and options of data sets in recipes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.train_tiny import FIELDS, SIZE, TESTS, Split, open_tiny
from torch import nn

from gspnl.errors import InputError
from gspnl.train import Recipe, data, load_run, train
from gspnl.train.data import DATASETS, Data
from gspnl.train.figures.evaluation import evaluation_images
from gspnl.train.multi_view import scores
from gspnl.train.recipes import edited
from gspnl.train.tables.grid import run_id

pytestmark = pytest.mark.usefixtures("tiny_registered")


@dataclass(frozen=True)
class Views(Split):
    views: int = 1


def open_views(path, *, skip_bad=False, views=1, seed=1):
    """Tiny data with test samples of ``views`` images, one below the other."""
    plain = open_tiny(path, skip_bad=skip_bad)
    generator = torch.Generator().manual_seed(seed)
    # Each of one colour, so that the scores of the views differ.
    colours = torch.randint(
        0, 256, (TESTS, 3, views, 1), generator=generator, dtype=torch.uint8
    ).repeat_interleave(SIZE, 2)
    images = colours.expand(-1, -1, -1, SIZE).contiguous()
    test = Views(images, plain.test.labels, views=views)
    return Data("views", plain.classes, plain.train, test, plain.mean, plain.std)


@pytest.fixture(autouse=True)
def registered():
    DATASETS.register("views")(open_views)
    yield
    DATASETS.unregister("views")


KEY = "cifar10-preresnet20-snl-stage1-s2-549ab9f1"
RECIPE = Recipe(**{**FIELDS, "data": "views", "data_options": {"views": 3}, "epochs": 1})


def test_scores_average_probabilities_over_views():
    """Two views of two samples; scores log 3 and 0 are odds of 3 : 1."""
    x = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]], [[0.0, math.log(9)], [0.0, 0.0]]])
    found = scores(nn.Flatten(), x, 2).exp()
    # Classes are rows, views are columns: (3/4, 1/4) and (1/2, 1/2); (1/2, 1/2) and (9/10, 1/10).
    expected = [[(3 / 4 + 1 / 2) / 2, (1 / 4 + 1 / 2) / 2], [(1 / 2 + 9 / 10) / 2, 0.3]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # float32
    logits = torch.randn(4, 3)
    assert torch.equal(scores(nn.Identity(), logits, 1), logits)


def test_views_of_several_lengths_are_refused():
    with pytest.raises(InputError, match="samples of 7 frames do not hold 2 views"):
        scores(nn.Identity(), torch.zeros(1, 3, 7, 2), 2)


def test_the_evaluation_averages_over_the_views_of_a_sample(tmp_path):
    (row,) = train(RECIPE, out=tmp_path / "run").metrics
    _, model = load_run(tmp_path / "run")
    opened = data.load("views", views=3)
    x = opened.test.images.numpy() / 255
    mean, std = (np.reshape(values, (1, 3, 1, 1)) for values in (opened.mean, opened.std))
    mean_probability = 0
    for view in range(3):
        part = ((x - mean) / std)[:, :, SIZE * view : SIZE * (view + 1)]
        with torch.no_grad():
            e = np.exp(model(torch.tensor(part, dtype=torch.float32)).double().numpy())
        mean_probability = mean_probability + e / e.sum(1, keepdims=True) / 3
    labels = opened.test.labels
    loss = -np.log(mean_probability[np.arange(TESTS), labels]).mean()
    assert row["test_loss"] == pytest.approx(loss, rel=1e-5)  # float32
    assert row["test_accuracy"] == pytest.approx((mean_probability.argmax(1) == labels).mean())


def test_figures_show_the_first_view():
    images, pictures = evaluation_images(RECIPE, None, 2, 3)
    first = open_views(None, views=3).test.images[2:5, :, :SIZE].float() / 255
    assert images.shape == first.shape
    np.testing.assert_allclose(pictures, first, atol=1e-6)  # float32


def test_options_reach_the_data_set_and_unknown_ones_are_named(tmp_path):
    assert data.load("views", None, views=2, seed=3).test.views == 2
    with pytest.raises(InputError, match="'views' has no option 'vews'; it takes views, seed"):
        data.load("views", None, vews=2)
    with pytest.raises(InputError, match="'digits' has no option 'split'; it takes none"):
        data.load("digits", split=2)
    with pytest.raises(InputError, match=r"'ucf101' .*takes split, frames, stride, clips"):
        train(Recipe(data="ucf101", data_options={"clip": 5}), data=tmp_path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_of_a_run_are_in_no_recipe():
    for name, told in (("path", "--data"), ("skip_bad", "--skip-bad"), ("name", "field data")):
        with pytest.raises(InputError, match=f"must not have '{name}'.*{told}"):
            Recipe(data_options={name: "x"})


def test_options_as_text_and_in_the_names_of_runs():
    found = edited("ucf101-i3d", ["data_options.split=2", "data_options.clips=5"])
    assert found.data_options == {"split": 2, "clips": 5}
    # The name that this recipe had before it had data_options.
    assert run_id(Recipe(block="snl", place="stage1", seed=2)) == KEY
    assert run_id(Recipe(data="ucf101")) != run_id(Recipe(data="ucf101", data_options={"split": 2}))
