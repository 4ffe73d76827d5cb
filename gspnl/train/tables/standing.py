"""What a folder of tables holds already, whatever is asked of it now."""

from __future__ import annotations

import re

from gspnl.errors import InputError
from gspnl.train.tables.base import GRIDS, Grid
from gspnl.train.tables.folder import Folder
from gspnl.train.tables.protocols import PROTOCOLS

SEED = re.compile(r"-s(\d+)-[0-9a-f]{8}\.json")


def written(folder: Folder, protocol: str) -> tuple[str, ...]:
    """The tables of a protocol that have been written before."""
    return tuple(name for name in GRIDS if folder.page(protocol, name).with_suffix(".md").is_file())


def seeds_of(grid: Grid, folder: Folder) -> tuple[int, ...]:
    """The seeds that some row of a table has results of."""
    names = [path.name for path in folder.path.glob("results/*.json")]
    seeds = sorted({int(found[1]) for name in names if (found := SEED.search(name))})
    return tuple(
        seed for seed in seeds if any(folder.kept(row.run(seed)).name in names for row in grid.rows)
    )


def of_one_protocol(folder: Folder, protocol: str) -> None:
    """See that a folder has no tables of another protocol: its pages are of one.

    Raises
    ------
    InputError
        If it has.
    """
    for other in PROTOCOLS:
        names = written(folder, other)
        if other != protocol and names:
            raise InputError(
                f"{str(folder.path)!r} holds tables of the protocol {other!r} "
                f"({', '.join(names)}), and {protocol!r} is asked for; name another --out for it"
            )
