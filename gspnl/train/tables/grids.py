"""Tables 2 to 9 of the paper: which networks they compare, and what is left of what they said."""

from __future__ import annotations

from typing import Any

from gspnl.train.recipes import Recipe
from gspnl.train.tables.base import BACKBONE, GRIDS, LABELS, Grid, Row, Statement
from gspnl.train.tables.protocols import MAIN, PROTOCOLS, default_place, with_block

OURS, OTHERS = ("snl", "gsnl"), ("nl", "ns", "cgnl", "a2")
NAMES = {
    "preresnet20": "PreResNet-20", "preresnet56": "PreResNet-56", "resnet50": "ResNet-50",
    "i3d": "I3D", "i3d_resnet50": "I3D",
}  # fmt: skip
DATA = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "cub200": "CUB-200-2011", "ucf101": "UCF-101",
    "folder": "A folder of classes",
}  # fmt: skip


def backbone(recipe: Recipe, group: str = "") -> Row:
    """The row that others are compared with."""
    return Row(group, LABELS[BACKBONE], recipe)


def rows(group: str, recipe: Recipe, blocks: tuple[str, ...], **changes: Any) -> tuple[Row, ...]:
    """A row a block; ``changes`` of the recipe are the condition."""
    changes = {"place": default_place(recipe), **changes}
    return tuple(
        Row(group, LABELS[block], with_block(recipe, block, **changes)) for block in blocks
    )


def setting(recipe: Recipe) -> str:
    """Data and backbone in words."""
    return f"{_data(recipe)}, {_name(recipe)}"


@GRIDS.register("2")
def channels(protocol: str) -> Grid:
    """Table 2: how many channels Z has."""
    of = PROTOCOLS[protocol]
    recipe = of.recipe("cifar100-preresnet56")
    blocks = tuple(block for block in MAIN if block != "linear")
    conditions = (("Cs = C1", 1), ("Cs = C1/2", 2), ("Cs = C1/4", 4))
    return Grid(
        "2",
        of.title("Table 2: transferred channels"),
        setting(recipe),
        (
            backbone(recipe),
            *(
                row
                for group, reduction in conditions
                for row in rows(group, recipe, blocks, reduction=reduction)
            ),
        ),
        (
            Statement("SNL or gSNL", 1.1, OURS, pool="best"),
            Statement("the best of the others", 0.4, OTHERS, pool="best"),
            Statement("CGNL drops steeply as Cs grows"),
        ),
    )


@GRIDS.register("3")
def stages(protocol: str) -> Grid:
    """Table 3: the stage that one block is put in."""
    of = PROTOCOLS[protocol]
    recipe = of.recipe("cifar100-preresnet56")
    others = tuple(block for block in OTHERS if block in of.few)
    return Grid(
        "3",
        of.title("Table 3: position of the block"),
        f"{setting(recipe)}, one block after the second residual block of a stage",
        (
            backbone(recipe),
            *(
                row
                for i in (1, 2, 3)
                for row in rows(f"stage {i}", recipe, of.few, place=f"stage{i}")
            ),
        ),
        (
            Statement("SNL, over the three stages", 0.81, ("snl",)),
            Statement("the best of the others", 0.42, others, pool="best"),
            Statement("NL in stage 1 is below the backbone", None, ("nl",), ("stage 1",)),
        ),
    )


@GRIDS.register("4")
def numbers(protocol: str) -> Grid:
    """Table 4: three blocks in three stages, and three or five units in one place."""
    of = PROTOCOLS[protocol]
    recipe = of.recipe("cifar100-preresnet56")
    others = tuple(block for block in OTHERS if block in of.few)
    # SP3 and SP5 are written as units at stage 1, so that the control of depth shares their runs.
    return Grid(
        "4",
        of.title("Table 4: number of blocks"),
        f"{setting(recipe)}; DP3: one block in each of stages 1, 2, 3; SP3, SP5: consecutive "
        "units in stage 1 that share one affinity",
        (
            backbone(recipe),
            *rows("DP3", recipe, of.few, place="dp3"),
            *rows("SP3", recipe, of.few, units=3),
            *rows("SP5", recipe, of.few, units=5),
        ),
        (
            Statement("DP3, SNL or gSNL", 2.4, OURS, ("DP3",)),
            Statement("SP3 and SP5 on average, gSNL", 0.72, ("gsnl",), ("SP3", "SP5")),
            Statement("the best of the others there, 0.41 below", 0.31, others, ("SP3", "SP5")),
        ),
    )


def main(name: str, title: str, *settings: str, reported: tuple[Statement, ...]) -> None:
    """Register a main table: one block at the paper's place, each block once a backbone."""

    @GRIDS.register(name)
    def grid(protocol: str) -> Grid:
        of = PROTOCOLS[protocol]
        recipes = [of.recipe(word) for word in settings if word in of.settings]
        several = len(recipes) > 1
        made: list[Row] = []
        for recipe in recipes:
            group = _name(recipe) if several else ""
            made += [backbone(recipe, group), *rows(group, recipe, MAIN)]
        return Grid(name, of.title(f"Table {name}: {title}"), _all(recipes), tuple(made), reported)


def _data(recipe: Recipe) -> str:
    return DATA.get(recipe.data, recipe.data)


def _name(recipe: Recipe) -> str:
    return NAMES.get(recipe.backbone, recipe.backbone)


def _all(recipes: list[Recipe]) -> str:
    backbones = " and ".join(_name(recipe) for recipe in recipes)
    return f"{_data(recipes[0])}, {backbones}, one block"


main(
    "5", "CIFAR-10", "cifar10-preresnet20", "cifar10-resnet50",
    reported=(
        Statement("SNL or gSNL", 0.65, OURS, pool="best"),
        Statement("the best of the others", 0.3, OTHERS, pool="best"),
    ),
)  # fmt: skip
main(
    "6", "CIFAR-100, PreResNet-56", "cifar100-preresnet56",
    reported=(Statement("SNL or gSNL", 1.1, OURS),),
)  # fmt: skip
main(
    "7", "CIFAR-100, ResNet-50", "cifar100-resnet50",
    reported=(Statement("SNL or gSNL", 1.8, OURS),),
)  # fmt: skip
main(
    "8", "UCF-101, I3D", "ucf101-i3d",
    reported=(
        Statement("SNL or gSNL", 1.8, OURS),
        Statement("SNL or gSNL is above all other blocks", None, OTHERS),
    ),
)  # fmt: skip
main(
    "9", "CUB-200-2011, pretrained ResNet-50", "cub200-resnet50",
    reported=(
        Statement("SNL or gSNL", 0.42, OURS),
        Statement("CGNL is slightly higher", None, ("cgnl",)),
    ),
)  # fmt: skip
