"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from gspnl.train.tables.rows import Table
from gspnl.train.tables.texts import COLUMNS, REPORTED, cells, reported, so_far

NUMBERS = {column.heading for column in COLUMNS if column.number} | {"points", "points here"}
NOTE = (
    "Accuracy is that of the last epoch, mean ± standard deviation over seeds. The difference to "
    "the backbone is paired by seed, its interval Student's t; inside the noise: it contains 0. "
    "Seeds: of how many the accuracy is; paired: of how many the difference is, where it is fewer. "
    "The best of several is picked on the seeds that all of them have, and those without any are "
    "left out. "
    "FLOPs are of one image, forward; images/s and memory are of training on the machine of the "
    "runs, memory being what training took beyond what the process held before it."
)


def markdown(table: Table, level: int = 2) -> str:
    """Write a table, what the paper reports beside what was measured, and how to read it.

    Parameters
    ----------
    table : Table
    level : int
        Of its heading.

    Returns
    -------
    str
    """
    headings, rows = cells(table)
    parts = [
        f"{'#' * level} {table.grid.title}",
        f"{_escape(table.grid.setting)}. {so_far(table)}",
        grid(headings, rows),
        grid(REPORTED, reported(table)),
    ]
    failures = [
        f"- {line.row.label}, seed {seed} failed: {_escape(reason)}"
        for line in table.lines
        for seed, reason in line.failures.items()
    ]
    if failures:
        parts.append("\n".join(failures))
    return "\n\n".join(parts) + "\n"


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in pipes, numbers to the right."""
    marks = ["---:" if heading in NUMBERS else "---" for heading in headings]
    lines = [list(headings), marks, *([_escape(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    for character in "\\|`*_<>":  # brackets are intervals; alone they link to nothing
        text = text.replace(character, f"\\{character}")
    return text
