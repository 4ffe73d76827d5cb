"""What a table is before anything has run: rows, each a recipe, and what the paper says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gspnl._base.registry import Registry
from gspnl.train.recipes import Recipe

BACKBONE = "backbone"
LABELS = {
    BACKBONE: "backbone", "linear": "Z W₁ only", "nl": "NL", "ns": "NS", "cgnl": "CGNL", "a2": "A2",
    "snl": "SNL", "gsnl": "gSNL",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A network under one condition; a run for every seed.

    Parameters
    ----------
    group : str
        The condition, such as "stage 1"; "" for a backbone that serves all conditions.
    label : str
        What the row is called, such as "SNL".
    recipe : Recipe
        Its ``seed`` is replaced by those of the runs.
    """

    group: str
    label: str
    recipe: Recipe

    @property
    def block(self) -> str:
        """The block's name, "backbone" without one."""
        return self.recipe.block or BACKBONE

    def run(self, seed: int) -> Recipe:
        """The recipe of one run."""
        return replace(self.recipe, seed=seed)

    def baseline(self, seed: int) -> Recipe:
        """The recipe of the backbone alone that a run is compared with: same data, same seed."""
        return bare(self.run(seed))


def bare(recipe: Recipe) -> Recipe:
    """The recipe without its block; equal for all places, widths and options."""
    plain = Recipe()
    return replace(
        recipe,
        block=None,
        place=plain.place,
        reduction=plain.reduction,
        units=plain.units,
        block_options={},
    )


@dataclass(frozen=True)
class Statement:
    """One sentence of the paper on a table whose body is lost.

    Parameters
    ----------
    text : str
        In a few words.
    value : float or None
        Points over the backbone; None where the paper gives no number.
    blocks : tuple of str
        Whose rows it is about; none, if no single number of ours answers it.
    groups : tuple of str
        Which conditions it is about; empty: all.
    pool : str
        "mean" over the conditions, or the "best" of them. Of several blocks it is the best.
    """

    text: str
    value: float | None = None
    blocks: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    pool: str = "mean"


@dataclass(frozen=True)
class Grid:
    """A table before anything has run.

    Parameters
    ----------
    name : str
        "2" to "9", or the name of a control.
    title : str
    setting : str
        Data, backbone and place, in words.
    rows : tuple of Row
        Backbones first in their group.
    reported : tuple of Statement
        What the paper says.
    """

    name: str
    title: str
    setting: str
    rows: tuple[Row, ...]
    reported: tuple[Statement, ...] = ()


GRIDS: Registry[Callable[[str], Grid]] = Registry("table")
"""Tables by name; each is a function of the protocol's name."""
