"""Experiments: backbones with nonlocal blocks, data, recipes, resumable training, tables.

The public names load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gspnl._base.extras import require

if TYPE_CHECKING:
    from gspnl.train.loop import train
    from gspnl.train.recipes import RECIPES, Recipe, recipe
    from gspnl.train.run import Run, load_run

__all__ = ["RECIPES", "Recipe", "Run", "load_run", "recipe", "train"]

require("gspnl.train", "train", "torch", "safetensors", "pydantic", "tomli_w")

_HOMES = {"Run": "run", "load_run": "run", "train": "loop"}  # the others are of recipes


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = _HOMES.get(name, "recipes")
        return getattr(importlib.import_module(f"gspnl.train.{home}"), name)
    raise AttributeError(f"module 'gspnl.train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
