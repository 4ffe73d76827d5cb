"""Recipes: checks of every field, TOML, the paper's numbers."""

from __future__ import annotations

import dataclasses
from inspect import Parameter, signature

import numpy as np
import pytest

from gspnl import nn as gnn
from gspnl.cli.options import edited_recipe
from gspnl.errors import FileError, InputError
from gspnl.train import RECIPES, Recipe, backbones, data, recipe
from gspnl.train.recipes import from_toml, read, to_toml, write

WRONG = [  # a value of a field, what the message says of it, and what it offers
    ("data", "", "must not be blank"),
    ("data", 3, "valid string"),
    ("data_options", "split=2", "must map names to values"),
    ("backbone", None, "valid string; the default is 'preresnet20'"),
    ("block", 3, "valid string; the default is None"),
    ("place", "", "must not be blank; the default is None"),
    ("backbone_options", ["a"], "must map names to values"),
    ("block_options", {"kernel": None}, "leave it out"),
    ("block_options", {"kernel": float("nan")}, "cannot be written"),
    ("block_options", {"kernel": [object()]}, "cannot be written"),
    ("block_options", {3: "dot"}, "key 3, which must be a text"),
    ("reduction", 0, "greater than or equal to 1"),
    ("units", -1, "greater than or equal to 1"),
    ("units", 1.5, "valid integer"),
    ("epochs", 0, "greater than or equal to 1; the default is 300"),
    ("epochs", "3", "valid integer"),
    ("epochs", True, "valid integer"),
    ("batch_size", 0, "greater than or equal to 1"),
    ("learning_rate", 0.0, "greater than 0; the default is 0.1"),
    ("learning_rate", float("nan"), "must be a finite number"),
    ("learning_rate", "0.1", "must be a valid number"),
    ("learning_rate", True, "must be a valid number"),
    ("momentum", 1.0, "less than 1"),
    ("momentum", -0.1, "greater than or equal to 0"),
    ("weight_decay", float("inf"), "must be a finite number"),
    ("nesterov", 1, "valid boolean; the default is False"),
    ("schedule", "liner", "did you mean 'linear'"),
    ("schedule", "one_cycle", "Available: cosine, linear, steps"),
    ("schedule", None, "valid string; the default is 'steps'"),
    ("milestones", (5, 3), "must increase; sort it"),
    ("milestones", (0,), r"milestones\[0\]=0 must be greater than or equal to 1"),
    ("milestones", "150", r"valid list; the default is \(150, 250\)"),
    ("gamma", 0.0, "greater than 0"),
    ("warmup", -1.0, "greater than or equal to 0"),
    ("label_smoothing", 1.0, "less than 1"),
    ("clip", -1.0, "greater than or equal to 0"),
    ("precision", "float8", "must be 'float32', 'bfloat16' or 'float16'"),
    ("precision", ["float32"], "must be 'float32', 'bfloat16' or 'float16'"),
    ("channels_last", "yes", "valid boolean"),
    ("sync_batch_norm", None, "valid boolean"),
    ("augmentation", "flip", r"valid list; the default is \('pad_crop\(4\)', 'flip'\)"),
    ("augmentation", ("flip", 3), r"augmentation\[1\]=3 must be a valid string"),
    ("evaluation", None, "valid list"),
    ("pretrained", 3, "valid string"),
    ("seed", -1, "greater than or equal to 0"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_wrong_values_are_refused_in_one_line_with_field_and_remedy(field, value, message):
    with pytest.raises(InputError, match=message) as caught:
        Recipe(**{field: value})
    text = str(caught.value)
    assert field in text
    assert "\n" not in text
    assert any(remedy in text for remedy in ("; the default is ", "leave it out", "Available: "))


def test_every_wrong_field_is_named():
    with pytest.raises(InputError, match=r"momentum=1.0 .*; seed=-1 must"):
        Recipe(momentum=1.0, seed=-1)


def test_every_field_has_a_wrong_value():
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert {field for field, *_ in WRONG} == fields


def test_numpy_numbers_lists_and_paths_are_converted(tmp_path):
    found = Recipe(
        epochs=np.int64(3),
        weight_decay=1,
        gamma=np.float32(0.5),
        milestones=[1, 2],
        pretrained=tmp_path,
        block_options={},
    )  # fmt: skip
    assert (type(found.epochs), type(found.weight_decay)) == (int, float)
    assert found.milestones == (1, 2)
    assert found.pretrained == str(tmp_path)


TAKEN = [  # functions that are called with options: their own arguments are refused
    ("data_options", data.load, ()),
    ("backbone_options", backbones.create, ()),
    ("block_options", backbones.place, ()),
    ("block_options", gnn.insert, ()),
    ("block_options", gnn.create, ("match",)),  # the one that a recipe may have
]


@pytest.mark.parametrize(("field", "maker", "free"), TAKEN)
def test_options_that_another_field_sets_are_refused(field, maker, free):
    kinds = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    named = [each.name for each in signature(maker).parameters.values() if each.kind not in kinds]
    for name in set(named) - {*free}:
        with pytest.raises(InputError, match=f"{field} must not have '{name}'; "):
            Recipe(**{field: {name: 1}})


def test_a_refused_option_names_the_field_to_set():
    with pytest.raises(InputError, match="'units'; set the field units"):
        edited_recipe("mini", ["block=snl", "block_options.units=3"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("place", "dp3"), ("reduction", 4), ("units", 2), ("block_options", {"kernel": "dot"})],
)
def test_fields_of_a_block_need_a_block(field, value):
    with pytest.raises(InputError, match=f"no block, and {field} would have no effect; set block"):
        Recipe(**{field: value})
    assert getattr(Recipe(block="snl", **{field: value}), field) == value


def test_options_are_copied():
    options = {"order": 3}
    found = Recipe(block="chebyshev", block_options=options)
    options["order"] = 4
    assert found.block_options == {"order": 3}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_survives_toml(name, tmp_path):
    path = tmp_path / "recipe.toml"
    write(RECIPES[name], path)
    assert read(path) == RECIPES[name] == recipe(path) == recipe(name)


def test_a_recipe_with_all_kinds_of_values_survives_toml():
    mixed = Recipe(
        block="gsnl", block_options={"kernel": "dot", "match": "nl", "bias": True, "a": [1, 2]},
        units=3, learning_rate=1e-7, augmentation=('a "quoted" λ',), schedule="cosine",
    )  # fmt: skip
    assert from_toml(to_toml(mixed)) == mixed


def test_recipes_have_the_papers_numbers():
    """Section 4, "Setting for the training": lengths and milestones."""
    published = {
        "cifar10-preresnet20": (300, (150, 250)),
        "cifar100-preresnet56": (300, (150, 250)),
        "cifar100-resnet50": (300, (150, 250)),
        "cub200-resnet50": (200, (31, 61, 81)),
        "ucf101-i3d": (100, (40, 80)),
    }
    for name, (epochs, milestones) in published.items():
        found = recipe(name)
        assert (found.epochs, found.milestones, found.gamma) == (epochs, milestones, 0.1)
        assert (found.learning_rate, found.momentum, found.weight_decay) == (0.1, 0.9, 1e-4)
        assert (found.warmup, found.clip, found.label_smoothing) == (0, 0, 0)
    assert set(RECIPES) == {*published, "mini"}
    assert recipe("cub200-resnet50").pretrained


def test_unknown_names_and_fields_suggest_the_nearest(tmp_path):
    with pytest.raises(InputError, match="unknown recipe 'minni'; did you mean 'mini'"):
        recipe("minni")
    with pytest.raises(InputError, match="no field 'lr'"):
        recipe("mini", lr=3)
    path = tmp_path / "mine.toml"
    path.write_text("epoch = 3\n")
    with pytest.raises(InputError, match=r"mine\.toml.*no field 'epoch'; did you mean 'epochs'"):
        read(path)


def test_files_that_are_no_recipes_are_refused(tmp_path):
    path = tmp_path / "bad.toml"
    with pytest.raises(FileError, match=r"cannot read the recipe .*No such file"):
        recipe(path)
    with pytest.raises(FileError, match=r"cannot read .*nothing.*; name a TOML file that exists"):
        recipe(tmp_path / "nothing")
    path.write_text("epochs = = 3")
    with pytest.raises(FileError, match=r"is no TOML: .*line 1"):
        read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="no text in UTF-8"):
        read(path)
    path.write_text("epochs = 0")
    with pytest.raises(InputError, match=r"bad\.toml.*epochs=0"):
        read(path)
    with pytest.raises(InputError, match="must be a name or a TOML file"):
        recipe(3)


def test_changes_are_parsed_from_text():
    found = edited_recipe(
        "mini",
        ["block=snl", "units = 2", "milestones=[3, 4]", "block_options.order=3",
         "block_options.kernel=dot", "augmentation=['flip']", "nesterov=false", "place="],
        seed=5, epochs=None,
    )  # fmt: skip
    assert (found.block, found.units, found.milestones) == ("snl", 2, (3, 4))
    assert found.block_options == {"order": 3, "kernel": "dot"}
    assert (found.augmentation, found.nesterov, found.place) == (("flip",), False, None)
    assert (found.seed, found.epochs) == (5, recipe("mini").epochs)
    for bad, message in [
        ("block", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("blok=snl", "did you mean 'block'"),
        ("milestones.x=3", "no field 'milestones.x'"),
        ("epochs=many", "epochs='many' must be a valid integer"),
    ]:
        with pytest.raises(InputError, match=message):
            edited_recipe("mini", [bad])
    with pytest.raises(InputError, match="epochs is given twice, by --set and by --epochs"):
        edited_recipe("mini", ["epochs=3"], seed=1, epochs=3)
