"""Everything that decides the numbers of an experiment, by name."""

from gspnl.train.recipes.base import RECIPES, Recipe

__all__ = ["RECIPES", "Recipe"]
