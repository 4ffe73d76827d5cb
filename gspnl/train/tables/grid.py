"""Define tables before anything has run: rows, each with a recipe, and the paper's statements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from gspnl._base.registry import Registry
from gspnl.train.recipes import Recipe, files
from gspnl.train.recipes.definition import OF_A_BLOCK

BACKBONE = "backbone"
LABELS = {
    BACKBONE: "backbone", "linear": "Z W₁ only", "nl": "NL", "ns": "NS", "cgnl": "CGNL", "a2": "A2",
    "snl": "SNL", "gsnl": "gSNL",
}  # fmt: skip


def run_id(recipe: Recipe | Mapping[str, Any]) -> str:
    """Name a run so that people can read it and equal recipes share it.

    The name is data, backbone, block, place and seed in words, then a digest of every field that
    differs from its default: a field added later, at its default, leaves old names as they are.
    ``recipe`` may be the mapping that :func:`plain` returns.
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
    return {field.name: files.plain(getattr(recipe, field.name)) for field in fields(Recipe)}


def digest(recipe: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the fields that differ from their defaults."""
    own = {name: value for name, value in recipe.items() if value != DEFAULT.get(name, value)}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]


DEFAULT = plain(Recipe())  # the fields of a recipe with every default
NO_BLOCK = {name: DEFAULT[name] for name in ("block", *OF_A_BLOCK)}


@dataclass(frozen=True)
class Row:
    """A network under one condition; one run for every seed."""

    group: str  #: the condition, such as "stage 1"; "" for a backbone that serves all conditions
    label: str  #: the name in the table, such as "SNL"
    recipe: Recipe  #: its seed is replaced by those of the runs

    @property
    def block(self) -> str:
        """The block's name, "backbone" without one."""
        return self.recipe.block or BACKBONE

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return plain(self.recipe)

    def run(self, seed: int) -> Recipe:
        """The recipe of one run."""
        return self.recipe if self.recipe.seed == seed else replace(self.recipe, seed=seed)

    def run_id(self, seed: int) -> str:
        """The name of one run; no recipe is constructed for it."""
        return run_id({**self._fields, "seed": seed})

    def baseline_id(self, seed: int) -> str:
        """The name of the run of the backbone alone on the same data with the same seed."""
        return run_id({**self._fields, **NO_BLOCK, "seed": seed})


def without_block(recipe: Recipe) -> Recipe:
    """The recipe without its block; equal for all places, widths and options."""
    return replace(recipe, **NO_BLOCK)


@dataclass(frozen=True)
class Statement:
    """A statement of the paper on a table whose body is lost."""

    text: str
    value: float | None = None  #: points over the backbone, where the paper gives a number
    blocks: tuple[str, ...] = ()  #: the blocks it is about; none: no number answers it
    groups: tuple[str, ...] = ()  #: the conditions it is about; none: all
    pool: str = "mean"  #: over the conditions, or their "best"; of several blocks it is the best


@dataclass(frozen=True)
class Grid:
    """A table before anything has run."""

    name: str  #: "2" to "9", or the name of a control
    title: str
    setting: str  #: data, backbone and place, in words
    rows: tuple[Row, ...]  #: the backbone first in its group
    reported: tuple[Statement, ...] = ()  #: what the paper reports


GRIDS: Registry[Callable[[str], Grid]] = Registry("table")
"""Tables by name; each is a function of the protocol's name."""
