"""Define the paper's protocols and tables 2 to 9, with its statements, and reviewers' controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gspnl._base.registry import Registry
from gspnl.train.recipes import RECIPES, Recipe
from gspnl.train.tables.grid import BACKBONE, GRIDS, LABELS, Grid, Row, Statement

MAIN = ("linear", "nl", "ns", "cgnl", "a2", "snl", "gsnl")
OURS, OTHERS = ("snl", "gsnl"), ("nl", "ns", "cgnl", "a2")
CIFAR10, CIFAR100 = "cifar10-preresnet20", "cifar100-preresnet56"
NAMES = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "cub200": "CUB-200-2011", "ucf101": "UCF-101",
    "folder": "A folder of classes", "preresnet20": "PreResNet-20", "preresnet56": "PreResNet-56",
    "resnet50": "ResNet-50", "i3d": "I3D", "i3d_resnet50": "I3D",
}  # fmt: skip


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

    def recipe(self, setting: str) -> Recipe:
        """The backbone alone, in a setting."""
        name, changes = self.settings[setting]
        return replace(RECIPES[name], **changes) if changes else RECIPES[name]


PROTOCOLS: Registry[Protocol] = Registry("protocol")
"""Protocols by name: "paper" and "mini"."""

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

#: The paper has the dot-product kernel in every block; these two have another by default.
OPTIONS = {block: {"kernel": "dot", "normalization": "softmax"} for block in ("nl", "ns")}


def with_block(recipe: Recipe, block: str, **changes: Any) -> Recipe:
    """Add a block as the paper's tables have it: at stage 1 of a PreResNet, else at res4."""
    place = "stage1" if recipe.backbone.startswith("preresnet") else "res4"
    options = {**OPTIONS.get(block, {}), **changes.get("block_options", {})}
    return replace(recipe, **{"place": place, **changes, "block": block, "block_options": options})


def define(
    name: str,
    title: str,
    settings: Sequence[str],
    about: str,
    conditions: Sequence[tuple[str, Sequence[str], Mapping[str, Any]]],
    *reported: Statement,
) -> None:
    """Register a table: in each setting the backbone, then the blocks under each condition.

    A condition is a name, blocks (none: the protocol's few) and changes of the recipe. ``about``
    follows data and backbones in the sentence on the setting.
    """

    @GRIDS.register(name)
    def grid(protocol: str) -> Grid:
        of = PROTOCOLS[protocol]
        recipes = [of.recipe(setting) for setting in settings if setting in of.settings]
        backbones = [NAMES.get(each.backbone, each.backbone) for each in recipes]
        rows: list[Row] = []
        for recipe, backbone in zip(recipes, backbones, strict=True):
            group = backbone if len(recipes) > 1 else ""
            rows.append(Row(group, LABELS[BACKBONE], recipe))
            for condition, blocks, changes in conditions:
                for block in blocks or of.few:
                    own = with_block(recipe, block, **changes)
                    label = LABELS.get(block) or f"order {own.block_options['order']}"
                    rows.append(Row(condition or group, label, own))
        full = title if protocol == "paper" else f"{title} (the {protocol} protocol)"
        data = NAMES.get(recipes[0].data, recipes[0].data)
        return Grid(name, full, f"{data}, {' and '.join(backbones)}{about}", tuple(rows), reported)


define(
    "2", "Table 2: transferred channels", (CIFAR100,), "",
    [
        (condition, (*OTHERS, *OURS), {"reduction": n})
        for condition, n in (("Cs = C1", 1), ("Cs = C1/2", 2), ("Cs = C1/4", 4))
    ],
    Statement("SNL or gSNL", 1.1, OURS, pool="best"),
    Statement("the best of the others", 0.4, OTHERS, pool="best"),
    Statement("CGNL drops steeply as Cs grows"),
)  # fmt: skip
define(
    "3", "Table 3: position of the block", (CIFAR100,),
    ", one block after the second residual block of a stage",
    [(f"stage {i}", (), {"place": f"stage{i}"}) for i in (1, 2, 3)],
    Statement("SNL, over the three stages", 0.81, ("snl",)),
    Statement("the best of the others", 0.42, OTHERS, pool="best"),
    Statement("NL in stage 1 is below the backbone", None, ("nl",), ("stage 1",)),
)  # fmt: skip
define(
    "4", "Table 4: number of blocks", (CIFAR100,),
    "; DP3: one block in each of stages 1, 2, 3; SP3, SP5: consecutive units in stage 1 that share "
    "one affinity",
    # SP3 and SP5 are written as units at stage 1, so that the control of depth shares their runs.
    [("DP3", (), {"place": "dp3"}), ("SP3", (), {"units": 3}), ("SP5", (), {"units": 5})],
    Statement("DP3, SNL or gSNL", 2.4, OURS, ("DP3",)),
    Statement("SP3 and SP5 on average, gSNL", 0.72, ("gsnl",), ("SP3", "SP5")),
    Statement("the best of the others there, 0.41 below", 0.31, OTHERS, ("SP3", "SP5")),
)  # fmt: skip
for number, title, settings, *statements in (
    ("5", "CIFAR-10", (CIFAR10, "cifar10-resnet50"),
     Statement("SNL or gSNL", 0.65, OURS, pool="best"),
     Statement("the best of the others", 0.3, OTHERS, pool="best")),
    ("6", "CIFAR-100, PreResNet-56", (CIFAR100,), Statement("SNL or gSNL", 1.1, OURS)),
    ("7", "CIFAR-100, ResNet-50", ("cifar100-resnet50",), Statement("SNL or gSNL", 1.8, OURS)),
    ("8", "UCF-101, I3D", ("ucf101-i3d",), Statement("SNL or gSNL", 1.8, OURS),
     Statement("SNL or gSNL is above all other blocks", None, OTHERS)),
    ("9", "CUB-200-2011, pretrained ResNet-50", ("cub200-resnet50",),
     Statement("SNL or gSNL", 0.42, OURS),
     Statement("CGNL is slightly higher", None, ("cgnl",))),
):  # fmt: skip
    define(
        number, f"Table {number}: {title}", settings, ", one block", [("", MAIN, {})], *statements
    )
define(
    "parameters", "Control: equal parameters", (CIFAR10,),
    ", one block; the inner width of each is chosen so that it has about the parameters of the SNL "
    "at Cs = C1/2",
    [
        ("", ("linear", *OTHERS, "gsnl"), {"block_options": {"match": "snl"}}),
        ("", ("snl",), {}),
    ],
    Statement("not reported; it compares at equal Cs, where SNL has more parameters"),
)  # fmt: skip
define(
    "orders", "Control: the order of the filter", (CIFAR10,),
    f", one block of order K; {LABELS['linear']} is order 0; SNL and order 1 are the same "
    "functions from two starts, so that they differ by optimisation only",
    [
        ("", ("linear",), {}),
        *[("", ("chebyshev",), {"block_options": {"order": k}}) for k in (1, 2, 3, 4)],
        ("", ("snl",), {}),
    ],
    Statement("not reported; its SNL is of order 1"),
)  # fmt: skip
define(
    "depth", "Control: depth", (CIFAR10,), ", consecutive units in stage 1 that share one affinity",
    [
        ("1 unit", ("nl", "ns", *OURS), {}),  # units=None: the runs of the main tables
        *[(f"{n} units", ("nl", "ns", *OURS), {"units": n}) for n in range(2, 10)],
    ],
    Statement("3 and 5 units only, in table 4"),
)  # fmt: skip
