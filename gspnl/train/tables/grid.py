"""Define tables before anything has run: rows, each with a recipe, and the paper's statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from gspnl._base.registry import Registry
from gspnl.train.recipes import Recipe
from gspnl.train.tables.run_id import DEFAULT, plain, run_id

BACKBONE = "backbone"
LABELS = {
    BACKBONE: "backbone", "linear": "Z W₁ only", "nl": "NL", "ns": "NS", "cgnl": "CGNL", "a2": "A2",
    "snl": "SNL", "gsnl": "gSNL",
}  # fmt: skip
NO_BLOCK = {
    name: DEFAULT[name] for name in ("block", "place", "reduction", "units", "block_options")
}


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


def unique_runs(grids: Sequence[Grid], seeds: Sequence[int]) -> dict[str, Recipe]:
    """All runs of some tables by name, each once: seed by seed, backbones first."""
    runs: dict[str, Recipe] = {}
    for seed in seeds:
        for grid in grids:
            for row in grid.rows:
                if row.recipe.block and (name := row.baseline_id(seed)) not in runs:
                    runs[name] = without_block(row.run(seed))
                if (name := row.run_id(seed)) not in runs:
                    runs[name] = row.run(seed)
    return runs


GRIDS: Registry[Callable[[str], Grid]] = Registry("table")
"""Tables by name; each is a function of the protocol's name."""
