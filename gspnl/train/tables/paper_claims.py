"""Compare the paper's statements on a table with the same quantity of our rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from gspnl.train.tables.grid import Statement
from gspnl.train.tables.statistics import Difference, difference
from gspnl.train.tables.table import Line, Table


@dataclass(frozen=True)
class Answer:
    """Our measurement of the quantity in a statement of the paper."""

    statement: Statement
    candidates: tuple[str, ...] = ()  #: rows, or blocks over conditions, that could answer it
    without: tuple[str, ...] = ()  #: candidates that have no seed yet, and are left out
    label: str | None = None  #: the candidate that answers it, if any
    difference: Difference | None = None  #: of that candidate to the backbone, over the seeds
    seeds: tuple[int, ...] = ()  #: the seeds that all candidates with numbers have


def answers(table: Table) -> list[Answer]:
    """One answer to each statement of the paper on a table."""
    return [answer(statement, table.lines) for statement in table.grid.reported]


def answer(statement: Statement, lines: Sequence[Line]) -> Answer:
    """Measure the quantity of a statement.

    Of several candidates the one with the largest mean is taken, as the paper does; that is biased
    upwards, which its interval does not account for. Means are over the seeds that all of them
    share: a row of one lucky seed is not compared with the mean of three.
    """
    found = _candidates(statement, lines)
    done = {label: pairs for label, pairs in found.items() if pairs}
    labels, without = tuple(found), tuple([label for label in found if label not in done])
    seeds = tuple(sorted(set.intersection(*map(set, done.values())))) if done else ()
    if not seeds:
        return Answer(statement, labels, without)
    measured = {label: difference([pairs[s] for s in seeds]) for label, pairs in done.items()}
    best = max(measured, key=lambda label: measured[label].mean)
    return Answer(statement, labels, without, best, measured[best], seeds)


def _candidates(statement: Statement, lines: Sequence[Line]) -> Mapping[str, Mapping[int, float]]:
    """Differences by seed of each row or, averaged over the conditions, of each block."""
    groups, found = statement.groups, {}
    for block in statement.blocks:
        own = [
            line
            for line in lines
            if line.row.block == block and (not groups or line.row.group in groups)
        ]
        if statement.pool == "best":
            for line in own:
                name = ", ".join(filter(None, [line.row.label, line.row.group]))
                found[name] = dict(line.differences)
        elif own:
            common = set.intersection(*[set(line.differences) for line in own])
            found[own[0].row.label] = {
                seed: fmean([line.differences[seed] for line in own]) for seed in sorted(common)
            }
    return found
