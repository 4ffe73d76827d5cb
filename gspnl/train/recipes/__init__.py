"""Everything that decides the numbers of an experiment, by name."""

from gspnl.train.recipes import paper as paper
from gspnl.train.recipes.base import RECIPES, Recipe
from gspnl.train.recipes.files import from_toml, read, recipe, to_toml, write

__all__ = ["RECIPES", "Recipe", "from_toml", "read", "recipe", "to_toml", "write"]
