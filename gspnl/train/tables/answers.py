"""What the paper says of a table, answered by the same quantity of our rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from gspnl.train.tables.base import Statement
from gspnl.train.tables.statistics import Difference, difference

if TYPE_CHECKING:
    from gspnl.train.tables.rows import Line


@dataclass(frozen=True)
class Answer:
    """What was measured of a statement of the paper.

    Parameters
    ----------
    statement : Statement
    candidates : tuple of str
        Whose numbers could answer it: rows, or blocks over several conditions.
    without : tuple of str
        Those of them that have no seed yet, and are left out.
    label : str or None
        The candidate that answers it; None where nothing does yet, or no number can.
    difference : Difference or None
        Of that candidate to the backbone, over the seeds of the answer.
    seeds : tuple of int
        Those that all candidates with numbers have: they are compared on nothing else.
    """

    statement: Statement
    candidates: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    label: str | None = None
    difference: Difference | None = None
    seeds: tuple[int, ...] = ()


def answer(statement: Statement, lines: Sequence[Line]) -> Answer:
    """The same quantity as a statement is about, from our rows.

    Of several candidates the one with the largest mean is taken, as the paper does; that is biased
    upwards, which its interval does not know. Means are over the seeds that all of them share: a
    row of one lucky seed is not compared with the mean of three.
    """
    found = _candidates(statement, lines)
    there = {label: pairs for label, pairs in found.items() if pairs}
    labels, without = tuple(found), tuple(label for label in found if label not in there)
    seeds = tuple(sorted(set.intersection(*map(set, there.values())))) if there else ()
    if not seeds:
        return Answer(statement, labels, without)
    measured = {
        label: difference([pairs[seed] for seed in seeds]) for label, pairs in there.items()
    }
    best = max(measured, key=lambda label: measured[label].mean)
    return Answer(statement, labels, without, best, measured[best], seeds)


def _candidates(statement: Statement, lines: Sequence[Line]) -> Mapping[str, Mapping[int, float]]:
    """Differences by seed, by row or, over the conditions, by block."""
    about = [
        line
        for line in lines
        if line.row.block in statement.blocks
        and (not statement.groups or line.row.group in statement.groups)
    ]
    if statement.pool == "best":
        return {_name(line): line.differences for line in about}
    found = {}
    for block in statement.blocks:
        own = [line for line in about if line.row.block == block]
        if own:
            whole = set.intersection(*(set(line.differences) for line in own))
            found[own[0].row.label] = {
                seed: fmean(line.differences[seed] for line in own) for seed in sorted(whole)
            }
    return found


def _name(line: Line) -> str:
    return f"{line.row.label}, {line.row.group}" if line.row.group else line.row.label
