"""Format the columns of tables as text, which Markdown and LaTeX share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from gspnl.train.tables.paper_claims import Answer, answers
from gspnl.train.tables.statistics import Difference
from gspnl.train.tables.table import Line, Table

MISSING = "–"
MINUS = "−"


class Column(NamedTuple):
    """A heading, whether it is of numbers, and the text of a line."""

    heading: str
    number: bool
    text: Callable[[Line], str]


def accuracy(line: Line) -> str:
    """Mean ± standard deviation, or the reason why there is none."""
    if line.accuracy is None:
        return "failed" if line.failures else "not run yet"
    mean, sd = line.accuracy
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def change(found: Difference | None) -> str:
    """The mean of a difference."""
    return MISSING if found is None else signed(found.mean)


def interval(found: Difference | None) -> str:
    """The confidence interval of a difference."""
    if found is None or found.low is None or found.high is None:
        return MISSING
    return f"[{signed(found.low)}, {signed(found.high)}]"


def reading(line: Line) -> str:
    """The conclusion from the interval."""
    if line.row.recipe.block is None or line.accuracy is None:
        return MISSING
    return "no backbone yet" if line.difference is None else line.difference.reading


def seeds(line: Line) -> str:
    """The number of runs of the accuracy, and of the difference where it is smaller."""
    text = f"{len(line.accuracies)} of {len(line.seeds)}"
    if line.row.recipe.block is not None and len(line.differences) < len(line.accuracies):
        text += f", {len(line.differences)} paired"
    return f"{text}, {len(line.failures)} failed" if line.failures else text


COLUMNS = (
    Column("top-1 %", True, accuracy),
    Column("over the backbone", True, lambda line: change(line.difference)),
    Column("95 % interval", True, lambda line: interval(line.difference)),
    Column("reading", False, reading),
    Column("seeds", False, seeds),
    Column("parameters", True, lambda line: counted(line.parameters)),
    Column("FLOPs", True, lambda line: scaled(line.flops)),
    Column("images/s", True, lambda line: counted(line.images_per_second)),
    Column("peak MiB", True, lambda line: counted(line.peak_bytes, 2**20)),
)
REPORTED = ("the paper", "points", "here", "points here", "95 % interval", "reading", "seeds")
NUMBERS = {column.heading for column in COLUMNS if column.number} | {"points", "points here"}


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; the condition is a column where there are several."""
    headings = ["block", *[column.heading for column in COLUMNS]]
    rows = [[line.row.label, *[column.text(line) for column in COLUMNS]] for line in table.lines]
    groups = [line.row.group or "all" for line in table.lines]
    if set(groups) != {"all"}:
        headings.insert(0, "condition")
        rows = [[group, *row] for group, row in zip(groups, rows, strict=True)]
    return headings, rows


def reported(table: Table) -> list[list[str]]:
    """One row for each statement of the paper, with our measurement beside it."""
    return [_reported(answer, len(table.lines[0].seeds)) for answer in answers(table)]


def _reported(answer: Answer, asked: int) -> list[str]:
    statement, found = answer.statement, answer.difference
    points = MISSING if statement.value is None else signed(statement.value)
    if found is None or answer.label is None:
        return [statement.text, points, _no_answer(answer), *[MISSING] * 4]
    here, of = answer.label, f"{len(answer.seeds)} of {asked}"
    if answer.without:
        left = len(answer.candidates) - len(answer.without)
        here += f" ({left} of {len(answer.candidates)} compared)"
    return [
        statement.text, points, here, signed(found.mean), interval(found), found.reading, of
    ]  # fmt: skip


def _no_answer(answer: Answer) -> str:
    """The reason why a statement has no answer."""
    if not answer.statement.blocks:
        return "see the rows"
    return "not run yet" if answer.without == answer.candidates else "no seed in common yet"


def so_far(table: Table) -> str:
    """The number of finished runs in a sentence."""
    if table.done == table.runs:
        return f"All {table.runs} runs are done."
    return f"{table.done} of {table.runs} runs are done."


def overview(tables: Sequence[Table]) -> str:
    """The number of rows by reading, the median of half an interval, and rows above by seed."""
    lines = {line.row.run_id(0): line for table in tables for line in table.lines}
    found = [line.difference for line in lines.values() if line.difference is not None]
    if not found:
        return "no row has a difference to the backbone yet"
    readings = Counter(each.reading for each in found)
    halves = [(d.high - d.low) / 2 for d in found if d.high is not None and d.low is not None]
    pairs = [pair for line in lines.values() for pair in line.differences.items()]
    above = Counter([seed for seed, points in pairs if points > 0])
    seeds = sorted({seed for seed, _ in pairs})
    parts = [
        f"{len(found)} rows: {', '.join(f'{n} {reading}' for reading, n in readings.items())}",
        *([f"half an interval is {median(halves):.2f} points in the median"] if halves else []),
        f"above the backbone {', '.join(f'{above[s]} with seed {s}' for s in seeds)}",
    ]
    return "; ".join(parts)


def signed(value: float) -> str:
    """Two digits and a sign, which a rounded zero has not.

    Examples
    --------
    >>> signed(0.314), signed(-0.001)
    ('+0.31', '0.00')
    """
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", MINUS)


def counted(value: float | None, unit: int = 1) -> str:
    """A whole number of units, with thousands."""
    return MISSING if value is None else f"{value / unit:,.0f}"


def scaled(value: float | None) -> str:
    """Three digits with a unit.

    Examples
    --------
    >>> scaled(81_234_567), scaled(8.1e9)
    ('81.2 M', '8.1 G')
    """
    if value is None:
        return MISSING
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"
