"""Define the protocols: the paper's data and schedules, and one that two cores finish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gspnl._base.registry import Registry
from gspnl.train.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class Protocol:
    """Data, backbones and schedules for all tables.

    ``settings`` has for each of the paper's pairs of data and backbone a name of
    :data:`gspnl.train.RECIPES`, and the fields changed in it.
    """

    name: str
    about: str  #: a sentence, for the head of a page
    settings: Mapping[str, tuple[str, Mapping[str, Any]]]
    few: tuple[str, ...]  #: blocks of tables 3 and 4
    tables: tuple[str, ...]  #: the tables that run when none is named, in order

    def title(self, title: str) -> str:
        """A title that names the protocol where it is not the paper's."""
        return title if self.name == "paper" else f"{title} (the {self.name} protocol)"

    def recipe(self, setting: str) -> Recipe:
        """The backbone alone, in a setting."""
        name, changes = self.settings[setting]
        return replace(RECIPES[name], **changes) if changes else RECIPES[name]


PROTOCOLS: Registry[Protocol] = Registry("protocol")
"""Protocols by name: "paper" and "mini"."""

MAIN = ("linear", "nl", "ns", "cgnl", "a2", "snl", "gsnl")
SETTINGS = (
    "cifar10-preresnet20", "cifar10-resnet50", "cifar100-preresnet56", "cifar100-resnet50",
    "ucf101-i3d", "cub200-resnet50",
)  # fmt: skip

PROTOCOLS.register("paper")(
    Protocol(
        name="paper",
        about="The paper's data, backbones and schedules.",
        settings={
            **{name: (name, {}) for name in SETTINGS},
            "cifar10-resnet50": ("cifar100-resnet50", {"data": "cifar10"}),
        },
        few=("nl", "ns", "cgnl", "a2", "snl", "gsnl"),
        tables=("5", "6", "7", "2", "3", "4", "8", "9"),
    )
)
PROTOCOLS.register("mini")(
    Protocol(
        name="mini",
        about="PreResNet-20 on a folder or zip of class folders: the shape of the paper's tables "
        "at a size that two cores finish.",
        settings={name: ("mini", {}) for name in SETTINGS if name != "cifar10-resnet50"},
        few=("nl", "ns", "snl", "gsnl"),
        tables=("5", "3", "4", "2"),  # 6 to 9 would be table 5 again
    )
)

DOT: dict[str, Any] = {"kernel": "dot", "normalization": "softmax"}
OPTIONS: dict[str, dict[str, Any]] = {"nl": DOT, "ns": DOT}
"""The paper has the dot-product kernel in every block; these two have another by default."""


def with_block(recipe: Recipe, block: str, **changes: Any) -> Recipe:
    """A recipe with a block as the paper's tables have it.

    ``place`` is the paper's by default: stage 1 of a PreResNet, res4 of a ResNet or I3D.
    ``block_options`` among the changes are added to those of the tables.
    """
    changes = {"place": default_place(recipe), **changes}
    changes["block_options"] = {**OPTIONS.get(block, {}), **changes.get("block_options", {})}
    return replace(recipe, block=block, **changes)


def default_place(recipe: Recipe) -> str:
    """The place of one block in the paper: stage 1 of a PreResNet, res4 of a ResNet or I3D."""
    return "stage1" if recipe.backbone.startswith("preresnet") else "res4"
