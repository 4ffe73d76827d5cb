"""Recipes: checks of every field, TOML, the paper's numbers."""

from __future__ import annotations

import dataclasses
from inspect import Parameter, signature

import numpy as np
import pytest

from gspnl import nn as gnn
from gspnl.errors import FileError, InputError
from gspnl.train import RECIPES, Recipe, backbones, data, recipe
from gspnl.train.recipes import from_toml, read, to_toml, write
from gspnl.train.recipes.checks import FIELDS
from gspnl.train.recipes.edits import edited

WRONG = [
    ("data", "", "must be a name"),
    ("data", 3, "must be a name"),
    ("data_options", "split=2", "must map names to values"),
    ("backbone", None, "must be a name"),
    ("block", 3, "or None for none"),
    ("place", "", "or None"),
    ("backbone_options", ["a"], "must map names to values"),
    ("block_options", {"kernel": None}, "leave it out"),
    ("block_options", {"kernel": float("nan")}, "cannot be written"),
    ("block_options", {"kernel": [object()]}, "cannot be written"),
    ("block_options", {3: "dot"}, "must be a name"),
    ("reduction", 0, "at least 1"),
    ("units", -1, "at least 1"),
    ("units", 1.5, "whole number, not a float"),
    ("epochs", 0, "at least 1"),
    ("epochs", "3", "whole number, not a str"),
    ("epochs", True, "whole number, not a bool"),
    ("batch_size", 0, "at least 1"),
    ("learning_rate", 0.0, "above 0"),
    ("learning_rate", float("nan"), "must be finite"),
    ("learning_rate", "0.1", "must be a number, not a str"),
    ("momentum", 1.0, "below 1"),
    ("momentum", -0.1, "must not be negative"),
    ("weight_decay", float("inf"), "must be finite"),
    ("nesterov", 1, "true or false"),
    ("schedule", "one-cycle", "did you mean 'one_cycle'"),
    ("schedule", None, "unknown schedule"),
    ("milestones", (5, 3), "must increase"),
    ("milestones", (0,), r"milestones\[0\]=0"),
    ("milestones", "150", "list of epochs"),
    ("gamma", 0.0, "above 0"),
    ("warmup", -1.0, "must not be negative"),
    ("label_smoothing", 1.0, "below 1"),
    ("clip", -1.0, "must not be negative"),
    ("precision", "float8", "none of float32, bfloat16, float16"),
    ("precision", ["float32"], "none of float32"),
    ("channels_last", "yes", "true or false"),
    ("sync_batch_norm", None, "true or false"),
    ("augmentation", "flip", "list of texts"),
    ("augmentation", ("flip", 3), r"augmentation\[1\]=3"),
    ("evaluation", None, "list of texts"),
    ("pretrained", 3, "must be a name"),
    ("seed", -1, "at least 0"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_a_wrong_value_is_named(field, value, message):
    with pytest.raises(InputError, match=message):
        Recipe(**{field: value})


def test_every_field_has_a_check_and_a_wrong_value():
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert set(FIELDS) == fields
    assert {field for field, *_ in WRONG} == fields


def test_values_become_their_own_types(tmp_path):
    found = Recipe(
        epochs=np.int64(3), weight_decay=1, milestones=[1, 2], pretrained=tmp_path, block_options={}
    )
    assert (type(found.epochs), type(found.weight_decay)) == (int, float)
    assert found.milestones == (1, 2)
    assert found.pretrained == str(tmp_path)


TAKEN = [  # the arguments by name of what is called with options
    ("data_options", data.load, ()),
    ("backbone_options", backbones.create, ()),
    ("block_options", backbones.place, ()),
    ("block_options", gnn.insert, ()),
    ("block_options", gnn.create, ("match",)),  # the one that a recipe may have
]


@pytest.mark.parametrize(("field", "maker", "free"), TAKEN)
def test_options_that_something_else_decides_are_refused(field, maker, free):
    kinds = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    named = [each.name for each in signature(maker).parameters.values() if each.kind not in kinds]
    for name in set(named) - {*free}:
        with pytest.raises(InputError, match=f"{field} must not have '{name}'; "):
            Recipe(**{field: {name: 1}})


def test_a_refused_option_says_what_to_set_instead():
    with pytest.raises(InputError, match="'units'; set the field units"):
        edited("mini", ["block=snl", "block_options.units=3"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("place", "dp3"), ("reduction", 4), ("units", 2), ("block_options", {"kernel": "dot"})],
)
def test_what_is_of_a_block_needs_one(field, value):
    with pytest.raises(InputError, match=f"no block, and {field} would say nothing; set block"):
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
    kept = Recipe(
        block="gsnl", block_options={"kernel": "dot", "match": "nl", "bias": True, "a": [1, 2]},
        units=3, learning_rate=1e-7, augmentation=('a "quoted" λ',), schedule="cosine",
    )  # fmt: skip
    assert from_toml(to_toml(kept)) == kept


def test_what_the_paper_says():
    """Section 4, "Setting for the training"; the drops and the lengths."""
    said = {
        "cifar10-preresnet20": (300, (150, 250)),
        "cifar100-preresnet56": (300, (150, 250)),
        "cifar100-resnet50": (300, (150, 250)),
        "cub200-resnet50": (200, (31, 61, 81)),
        "ucf101-i3d": (100, (40, 80)),
    }
    for name, (epochs, milestones) in said.items():
        found = recipe(name)
        assert (found.epochs, found.milestones, found.gamma) == (epochs, milestones, 0.1)
        assert (found.learning_rate, found.momentum, found.weight_decay) == (0.1, 0.9, 1e-4)
        assert (found.warmup, found.clip, found.label_smoothing) == (0, 0, 0)
    assert set(RECIPES) == {*said, "mini"}
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


def test_a_file_that_is_no_recipe_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    with pytest.raises(FileError, match=r"cannot read the recipe .*No such file"):
        recipe(path)
    with pytest.raises(FileError, match="is no recipe file"):
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


def test_changes_as_text():
    found = edited(
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
        ("epochs=many", "whole number"),
    ]:
        with pytest.raises(InputError, match=message):
            edited("mini", [bad])
    with pytest.raises(InputError, match="epochs is given twice, by --set and by --epochs"):
        edited("mini", ["epochs=3"], seed=1, epochs=3)
