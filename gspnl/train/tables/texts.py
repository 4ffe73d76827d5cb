"""The columns of a table, as text that Markdown, LaTeX and the figure share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gspnl.train.tables.answers import Answer
from gspnl.train.tables.rows import Line, Table

MISSING = "–"
MINUS = "−"


class Column(NamedTuple):
    """A heading, whether it is of numbers, and what a line has there."""

    heading: str
    number: bool
    text: Callable[[Line], str]


def accuracy(line: Line) -> str:
    """Mean ± standard deviation, or why there is none."""
    if line.accuracy is None:
        return "failed" if line.failures else "not run yet"
    mean, sd = line.accuracy
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


def change(line: Line) -> str:
    """The paired difference to the backbone."""
    return MISSING if line.difference is None else signed(line.difference.mean)


def interval(line: Line) -> str:
    """Its confidence interval."""
    found = line.difference
    if found is None or found.low is None or found.high is None:
        return MISSING
    return f"[{signed(found.low)}, {signed(found.high)}]"


def reading(line: Line) -> str:
    """What the interval allows to be said."""
    if line.row.recipe.block is None or line.accuracy is None:
        return MISSING
    return "no backbone yet" if line.difference is None else line.difference.reading


def seeds(line: Line) -> str:
    """How many runs the accuracy is of, and the difference where it is of fewer."""
    text = f"{len(line.accuracies)} of {len(line.seeds)}"
    if line.row.recipe.block is not None and len(line.differences) < len(line.accuracies):
        text += f", {len(line.differences)} paired"
    return f"{text}, {len(line.failures)} failed" if line.failures else text


COLUMNS = (
    Column("top-1 %", True, accuracy),
    Column("over the backbone", True, change),
    Column("95 % interval", True, interval),
    Column("reading", False, reading),
    Column("seeds", False, seeds),
    Column("parameters", True, lambda line: counted(line.parameters)),
    Column("FLOPs", True, lambda line: scaled(line.flops)),
    Column("images/s", True, lambda line: counted(line.images_per_second)),
    Column("peak MiB", True, lambda line: counted(_mib(line.peak_bytes))),
)


def _mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; the condition is a column where there are several."""
    grouped = any(line.row.group for line in table.lines)
    headings = [*(["condition"] if grouped else []), "block", *(c.heading for c in COLUMNS)]
    rows = [
        [
            *([line.row.group or "all"] if grouped else []),
            line.row.label,
            *(column.text(line) for column in COLUMNS),
        ]
        for line in table.lines
    ]
    return headings, rows


REPORTED = (
    "the paper", "points", "here", "points here", "95 % interval", "reading", "seeds",
)  # fmt: skip


def reported(table: Table) -> list[list[str]]:
    """A row a statement of the paper, with ours beside it."""
    return [_reported(answer, len(table.lines[0].seeds)) for answer in table.answers]


def _reported(answer: Answer, asked: int) -> list[str]:
    statement, found = answer.statement, answer.difference
    value = MISSING if statement.value is None else signed(statement.value)
    if found is None or answer.label is None:
        return [statement.text, value, _none(answer), *[MISSING] * 4]
    ends = (
        MISSING
        if found.low is None or found.high is None
        else f"[{signed(found.low)}, {signed(found.high)}]"
    )
    here, of = answer.label, f"{len(answer.seeds)} of {asked}"
    if answer.without:
        left = len(answer.candidates) - len(answer.without)
        here += f" ({left} of {len(answer.candidates)} compared)"
    return [statement.text, value, here, signed(found.mean), ends, found.reading, of]


def _none(answer: Answer) -> str:
    """Why a statement has no answer."""
    if not answer.statement.blocks:
        return "see the rows"
    if answer.without == answer.candidates:
        return "not run yet"
    return "no seed in common yet"


def signed(value: float) -> str:
    """Two digits and a sign, which a rounded zero has not.

    Examples
    --------
    >>> signed(0.314), signed(-0.001)
    ('+0.31', '0.00')
    """
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", MINUS)


def counted(value: float | None) -> str:
    """A whole number with thousands."""
    return MISSING if value is None else f"{value:,.0f}"


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


def left(why: Mapping[str, str]) -> str:
    """How many runs are left, and why.

    Parameters
    ----------
    why : mapping of str to str
        By run.

    Examples
    --------
    >>> left({"a": "failed", "b": "not run yet", "c": "failed"})
    '3 runs are left: 2 failed, 1 not run yet'
    """
    parts = [f"{count} {reason}" for reason, count in Counter(why.values()).items()]
    number = "1 run is" if len(why) == 1 else f"{len(why)} runs are"
    return f"{number} left: {', '.join(parts)}"


def so_far(table: Table) -> str:
    """How much of it there is."""
    if table.done == table.runs:
        return f"All {table.runs} runs are done."
    return f"{table.done} of {table.runs} runs are done."
