"""Define tables 2 to 9 of the paper, with its statements on them, and its reviewers' controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gspnl.train.recipes import Recipe
from gspnl.train.tables.grid import BACKBONE, GRIDS, LABELS, Grid, Row, Statement
from gspnl.train.tables.protocols import MAIN, PROTOCOLS, with_block

OURS, OTHERS = ("snl", "gsnl"), ("nl", "ns", "cgnl", "a2")
CIFAR10, CIFAR100 = "cifar10-preresnet20", "cifar100-preresnet56"
NAMES = {
    "preresnet20": "PreResNet-20", "preresnet56": "PreResNet-56", "resnet50": "ResNet-50",
    "i3d": "I3D", "i3d_resnet50": "I3D",
}  # fmt: skip
DATA = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "cub200": "CUB-200-2011", "ucf101": "UCF-101",
    "folder": "A folder of classes",
}  # fmt: skip


def rows(recipe: Recipe, group: str, blocks: Iterable[str], **changes: Any) -> list[Row]:
    """One row for each block; ``changes`` of the recipe are the condition."""
    return [Row(group, LABELS[block], with_block(recipe, block, **changes)) for block in blocks]


def table(
    name: str, title: str, settings: tuple[str, ...], about: str, *reported: Statement
) -> Callable[[Callable[[Recipe, str, tuple[str, ...]], list[Row]]], object]:
    """Register a table: a row for the backbone of each setting, then those of the function.

    The function takes the recipe of the backbone, the group of its rows, and the protocol's few
    blocks; ``about`` follows data and backbones in the sentence on the setting.
    """

    def register(lines: Callable[[Recipe, str, tuple[str, ...]], list[Row]]) -> object:
        @GRIDS.register(name)
        def grid(protocol: str) -> Grid:
            of = PROTOCOLS[protocol]
            recipes = [of.recipe(setting) for setting in settings if setting in of.settings]
            backbones = [NAMES.get(each.backbone, each.backbone) for each in recipes]
            found: list[Row] = []
            for recipe, backbone in zip(recipes, backbones, strict=True):
                group = backbone if len(recipes) > 1 else ""
                found += [Row(group, LABELS[BACKBONE], recipe), *lines(recipe, group, of.few)]
            data = DATA.get(recipes[0].data, recipes[0].data)
            setting = f"{data}, {' and '.join(backbones)}{about}"
            return Grid(name, of.title(title), setting, tuple(found), reported)

        return lines

    return register


@table(
    "2", "Table 2: transferred channels", (CIFAR100,), "",
    Statement("SNL or gSNL", 1.1, OURS, pool="best"),
    Statement("the best of the others", 0.4, OTHERS, pool="best"),
    Statement("CGNL drops steeply as Cs grows"),
)  # fmt: skip
def channels(recipe: Recipe, group: str, few: tuple[str, ...]) -> list[Row]:
    """Table 2: number of channels of Z."""
    blocks = [block for block in MAIN if block != "linear"]
    conditions = (("Cs = C1", 1), ("Cs = C1/2", 2), ("Cs = C1/4", 4))
    return [row for name, n in conditions for row in rows(recipe, name, blocks, reduction=n)]


@table(
    "3", "Table 3: position of the block", (CIFAR100,),
    ", one block after the second residual block of a stage",
    Statement("SNL, over the three stages", 0.81, ("snl",)),
    Statement("the best of the others", 0.42, OTHERS, pool="best"),
    Statement("NL in stage 1 is below the backbone", None, ("nl",), ("stage 1",)),
)  # fmt: skip
def stages(recipe: Recipe, group: str, few: tuple[str, ...]) -> list[Row]:
    """Table 3: stage of one block."""
    return [row for i in "123" for row in rows(recipe, f"stage {i}", few, place=f"stage{i}")]


@table(
    "4", "Table 4: number of blocks", (CIFAR100,),
    "; DP3: one block in each of stages 1, 2, 3; SP3, SP5: consecutive units in stage 1 that share "
    "one affinity",
    Statement("DP3, SNL or gSNL", 2.4, OURS, ("DP3",)),
    Statement("SP3 and SP5 on average, gSNL", 0.72, ("gsnl",), ("SP3", "SP5")),
    Statement("the best of the others there, 0.41 below", 0.31, OTHERS, ("SP3", "SP5")),
)  # fmt: skip
def numbers(recipe: Recipe, group: str, few: tuple[str, ...]) -> list[Row]:
    """Table 4: three blocks in three stages, and three or five units in one place."""
    # SP3 and SP5 are written as units at stage 1, so that the control of depth shares their runs.
    return [
        *rows(recipe, "DP3", few, place="dp3"),
        *rows(recipe, "SP3", few, units=3),
        *rows(recipe, "SP5", few, units=5),
    ]


def main(recipe: Recipe, group: str, few: tuple[str, ...]) -> list[Row]:
    """Tables 5 to 9: one block at the paper's place."""
    return rows(recipe, group, MAIN)


table(
    "5", "Table 5: CIFAR-10", (CIFAR10, "cifar10-resnet50"), ", one block",
    Statement("SNL or gSNL", 0.65, OURS, pool="best"),
    Statement("the best of the others", 0.3, OTHERS, pool="best"),
)(main)  # fmt: skip
table(
    "6", "Table 6: CIFAR-100, PreResNet-56", (CIFAR100,), ", one block",
    Statement("SNL or gSNL", 1.1, OURS),
)(main)  # fmt: skip
table(
    "7", "Table 7: CIFAR-100, ResNet-50", ("cifar100-resnet50",), ", one block",
    Statement("SNL or gSNL", 1.8, OURS),
)(main)  # fmt: skip
table(
    "8", "Table 8: UCF-101, I3D", ("ucf101-i3d",), ", one block",
    Statement("SNL or gSNL", 1.8, OURS),
    Statement("SNL or gSNL is above all other blocks", None, OTHERS),
)(main)  # fmt: skip
table(
    "9", "Table 9: CUB-200-2011, pretrained ResNet-50", ("cub200-resnet50",), ", one block",
    Statement("SNL or gSNL", 0.42, OURS),
    Statement("CGNL is slightly higher", None, ("cgnl",)),
)(main)  # fmt: skip


@table(
    "parameters", "Control: equal parameters", (CIFAR10,),
    ", one block; the inner width of each is chosen so that it has about the parameters of the SNL "
    "at Cs = C1/2",
    Statement("not reported; it compares at equal Cs, where SNL has more parameters"),
)  # fmt: skip
def parameters(recipe: Recipe, group: str, few: tuple[str, ...]) -> list[Row]:
    """Each block with the parameters of an SNL."""
    matched = [block for block in MAIN if block != "snl"]
    options = {"match": "snl"}
    return [*rows(recipe, "", matched, block_options=options), *rows(recipe, "", ["snl"])]


@table(
    "orders", "Control: the order of the filter", (CIFAR10,),
    f", one block of order K; {LABELS['linear']} is order 0; SNL and order 1 are the same "
    "functions from two starts, so that they differ by optimisation only",
    Statement("not reported; its SNL is of order 1"),
)  # fmt: skip
def orders(recipe: Recipe, group: str, few: tuple[str, ...]) -> list[Row]:
    """Chebyshev filters of order 1 to 4 between order 0 and SNL."""
    filters = [
        Row("", f"order {k}", with_block(recipe, "chebyshev", block_options={"order": k}))
        for k in (1, 2, 3, 4)
    ]
    return [*rows(recipe, "", ["linear"]), *filters, *rows(recipe, "", ["snl"])]


@table(
    "depth", "Control: depth", (CIFAR10,), ", consecutive units in stage 1 that share one affinity",
    Statement("3 and 5 units only, in table 4"),
)  # fmt: skip
def depth(recipe: Recipe, group: str, few: tuple[str, ...]) -> list[Row]:
    """One to nine units that share an affinity."""
    blocks = ("nl", "ns", "snl", "gsnl")
    found = rows(recipe, "1 unit", blocks)  # units=None: the runs of the main tables
    for n in range(2, 10):
        found += rows(recipe, f"{n} units", blocks, units=n)
    return found
