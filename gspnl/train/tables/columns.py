"""Format the columns of tables as text, which Markdown and LaTeX share."""

from __future__ import annotations

from gspnl.train.tables.statistics import Difference
from gspnl.train.tables.table import Answer, Line, Table, answers

MISSING = "–"


def accuracy(line: Line) -> str:
    """Mean ± standard deviation, or the reason why there is none."""
    if line.accuracy is None:
        return "failed" if line.failures else "not run yet"
    mean, sd = line.accuracy
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


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


HEADINGS = ("condition", "block", "top-1 %", "over the backbone", "95 % interval", "reading",
            "seeds", "parameters", "FLOPs", "images/s", "peak MiB")  # fmt: skip
REPORTED = ("the paper", "points", "here", "points here", "95 % interval", "reading", "seeds")
TEXTS = {"condition", "block", "reading", "seeds", "the paper", "here"}  # the others are numbers


def cells(table: Table) -> tuple[tuple[str, ...], list[list[str]]]:
    """Headings and rows; the condition is a column where there are several."""
    rows = [
        [
            line.row.group or "all",
            line.row.label,
            accuracy(line),
            MISSING if line.difference is None else signed(line.difference.mean),
            interval(line.difference),
            reading(line),
            seeds(line),
            counted(line.parameters),
            scaled(line.flops),
            counted(line.images_per_second),
            counted(line.peak_bytes, 2**20),
        ]
        for line in table.lines
    ]
    first = 0 if any(line.row.group for line in table.lines) else 1
    return HEADINGS[first:], [row[first:] for row in rows]


def reported(table: Table) -> list[list[str]]:
    """One row for each statement of the paper, with our measurement beside it."""
    return [_reported(answer, len(table.lines[0].seeds)) for answer in answers(table)]


def _reported(answer: Answer, asked: int) -> list[str]:
    statement, found, without = answer.statement, answer.difference, len(answer.without)
    text = [statement.text, MISSING if statement.value is None else signed(statement.value)]
    if found is None:
        reason = "no seed in common yet"
        if without == len(answer.candidates):
            reason = "not run yet" if statement.blocks else "see the rows"
        return [*text, reason, *[MISSING] * 4]
    here, candidates = f"{answer.label}", len(answer.candidates)
    if without:
        here += f" ({candidates - without} of {candidates} compared)"
    of = f"{len(answer.seeds)} of {asked}"
    return [*text, here, signed(found.mean), interval(found), found.reading, of]


def so_far(table: Table) -> str:
    """The number of finished runs in a sentence."""
    if table.done == table.runs:
        return f"All {table.runs} runs are done."
    return f"{table.done} of {table.runs} runs are done."


def signed(value: float) -> str:
    """Two digits and a sign, which a rounded zero has not."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def counted(value: float | None, unit: int = 1) -> str:
    """A whole number of units, with thousands."""
    return MISSING if value is None else f"{value / unit:,.0f}"


def scaled(value: float | None) -> str:
    """Three digits with a unit, such as "81.2 M"."""
    if value is None:
        return MISSING
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"
