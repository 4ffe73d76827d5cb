"""The name of a run: equal recipes have equal names, in whichever table they stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gspnl.train import recipes
from gspnl.train.recipes import Recipe


def key(recipe: Recipe) -> str:
    """Name a run so that people can read it and equal recipes share it.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    str
        Data, backbone, block, place and seed in words, then a digest of every field that differs
        from its default: a field added later, at its default, leaves old names as they are.

    Examples
    --------
    >>> from gspnl.train.recipes import Recipe
    >>> key(Recipe(block="snl", place="stage1", seed=2))
    'cifar10-preresnet20-snl-stage1-s2-...'
    """
    words = [recipe.data, recipe.backbone, recipe.block or "alone"]
    if recipe.place is not None:
        words.append(recipe.place)
    if recipe.units is not None:
        words.append(f"{recipe.units}units")
    if recipe.reduction != DEFAULT["reduction"]:
        words.append(f"sub{recipe.reduction}")
    if "order" in recipe.block_options:
        words.append(f"order{recipe.block_options['order']}")
    if "match" in recipe.block_options:
        words.append(f"as-{recipe.block_options['match']}")
    return "-".join([*words, f"s{recipe.seed}", digest(plain(recipe))])


def plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as what JSON gives back."""
    return {name: recipes.plain(getattr(recipe, name)) for name in FIELDS}


def digest(recipe: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of what differs from the defaults."""
    own = {
        name: value for name, value in recipe.items() if name in DEFAULT and value != DEFAULT[name]
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]


FIELDS = tuple(field.name for field in fields(Recipe))
DEFAULT = plain(Recipe())
"""What a recipe is where nothing is said."""
