"""Name runs: equal recipes share a name, in whichever table they appear."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gspnl.train.recipes import Recipe, files


def run_id(recipe: Recipe | Mapping[str, Any]) -> str:
    """Name a run so that people can read it and equal recipes share it.

    The name is data, backbone, block, place and seed in words, then a digest of every field that
    differs from its default: a field added later, at its default, leaves old names as they are.
    ``recipe`` may be the mapping that :func:`plain` returns.

    Examples
    --------
    >>> from gspnl.train.recipes import Recipe
    >>> run_id(Recipe(block="snl", place="stage1", seed=2))
    'cifar10-preresnet20-snl-stage1-s2-...'
    """
    of = plain(recipe) if isinstance(recipe, Recipe) else recipe
    options = of["block_options"]
    words = [of["data"], of["backbone"], of["block"] or "alone"]
    words += [of["place"]] if of["place"] is not None else []
    words += [f"{of['units']}units"] if of["units"] is not None else []
    words += [f"sub{of['reduction']}"] if of["reduction"] != DEFAULT["reduction"] else []
    words += [f"order{options['order']}"] if "order" in options else []
    words += [f"as-{options['match']}"] if "match" in options else []
    return "-".join([*words, f"s{of['seed']}", digest(of)])


def plain(recipe: Recipe) -> dict[str, Any]:
    """The fields of a recipe as JSON gives them back."""
    return {name: files.plain(getattr(recipe, name)) for name in FIELDS}


def digest(recipe: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the fields that differ from their defaults."""
    own = {
        name: value for name, value in recipe.items() if name in DEFAULT and value != DEFAULT[name]
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]


FIELDS = tuple(field.name for field in fields(Recipe))
DEFAULT = plain(Recipe())
"""The fields of a recipe with every default."""
