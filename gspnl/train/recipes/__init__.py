"""Recipes: all that decides the numbers of an experiment, by name or from TOML files."""

from gspnl.errors import MissingExtraError

try:
    import pydantic as pydantic  # a clear error here, rather than one from within
    import tomli_w as tomli_w
except ImportError as error:
    raise MissingExtraError(
        "gspnl.train needs pydantic and tomli-w; pip install 'gspnl[train]'"
    ) from error

from gspnl.train.recipes import paper as paper
from gspnl.train.recipes.definition import RECIPES, SCHEDULES, Recipe, factor
from gspnl.train.recipes.files import (
    from_toml,
    plain,
    read,
    recipe,
    to_dict,
    to_toml,
    write,
)

__all__ = [
    "RECIPES", "SCHEDULES", "Recipe", "factor", "from_toml", "plain", "read", "recipe",
    "to_dict", "to_toml", "write",
]  # fmt: skip
