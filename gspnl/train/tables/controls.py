"""The controls that the paper's reviewers asked for."""

from __future__ import annotations

from gspnl.train.tables.base import GRIDS, LABELS, Grid, Row, Statement
from gspnl.train.tables.grids import backbone, rows, setting
from gspnl.train.tables.protocols import MAIN, PROTOCOLS, default_place, with_block

SETTING = "cifar10-preresnet20"
DEPTHS = range(1, 10)
ORDERS = (1, 2, 3, 4)


@GRIDS.register("parameters")
def parameters(protocol: str) -> Grid:
    """Each block with the parameters of an SNL, its inner width chosen to fit."""
    of = PROTOCOLS[protocol]
    recipe = of.recipe(SETTING)
    matched = tuple(block for block in MAIN if block != "snl")
    snl = rows("", recipe, ("snl",))  # it is what the others are matched to
    return Grid(
        "parameters",
        of.title("Control: equal parameters"),
        f"{setting(recipe)}, one block; the inner width of each is chosen so that it has about the "
        "parameters of the SNL at Cs = C1/2",
        (
            backbone(recipe),
            *rows("", recipe, matched, block_options={"match": "snl"}),
            *snl,
        ),
        (Statement("not reported; it compares at equal Cs, where SNL has more parameters"),),
    )


@GRIDS.register("orders")
def orders(protocol: str) -> Grid:
    """Chebyshev filters of order 1 to 4; order 0 is ``linear``, and order 1 is SNL's class."""
    of = PROTOCOLS[protocol]
    recipe = of.recipe(SETTING)
    made = [backbone(recipe), *rows("", recipe, ("linear",))]
    for order in ORDERS:
        options, place = {"order": order}, default_place(recipe)
        changed = with_block(recipe, "chebyshev", place=place, block_options=options)
        made.append(Row("", f"order {order}", changed))
    made += rows("", recipe, ("snl",))
    return Grid(
        "orders",
        of.title("Control: the order of the filter"),
        f"{setting(recipe)}, one block of order K; {LABELS['linear']} is order 0; SNL and order 1 "
        "are the same functions from two starts, so that they differ by optimisation only",
        tuple(made),
        (Statement("not reported; its SNL is of order 1"),),
    )


@GRIDS.register("depth")
def depth(protocol: str) -> Grid:
    """One to nine units that share an affinity."""
    of = PROTOCOLS[protocol]
    recipe = of.recipe(SETTING)
    blocks = ("nl", "ns", "snl", "gsnl")
    return Grid(
        "depth",
        of.title("Control: depth"),
        f"{setting(recipe)}, consecutive units in stage 1 that share one affinity",
        (
            backbone(recipe),
            *(
                row
                for units in DEPTHS
                for row in rows(
                    "1 unit" if units == 1 else f"{units} units",
                    recipe,
                    blocks,
                    # None is one unit: the runs of the main tables.
                    units=None if units == 1 else units,
                )
            ),
        ),
        (Statement("3 and 5 units only, in table 4"),),
    )
