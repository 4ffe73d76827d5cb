"""Fill tables with the results so far, and answer the paper's statements on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from gspnl.train.tables.grid import Grid, Row, Statement
from gspnl.train.tables.statistics import Difference, difference, paired, spread

Results = Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True)
class Line:
    """A row with its numbers; what has not been measured is None."""

    row: Row
    seeds: tuple[int, ...]  #: the seeds asked for
    accuracies: Mapping[int, float]  #: by seed: test accuracy of the last epoch, in percent
    differences: Mapping[int, float]  #: by seed: to the backbone, in points; none for itself
    failures: Mapping[int, str] = field(default_factory=dict)  #: by seed: the reason
    parameters: int | None = None
    flops: int | None = None  #: of one image, forward
    images_per_second: float | None = None  #: in training, the mean of the runs
    peak_bytes: int | None = None  #: memory that training took in addition, the largest
    skipped: int = 0  #: damaged samples left out on request, the largest of the runs

    @cached_property
    def accuracy(self) -> tuple[float, float | None] | None:
        """Mean and standard deviation over the seeds, in percent."""
        return spread(list(self.accuracies.values())) if self.accuracies else None

    @cached_property
    def difference(self) -> Difference | None:
        """Over the backbone, in points, paired by seed; None for the backbone itself."""
        return difference(list(self.differences.values())) if self.differences else None


#: How the numbers of several runs become one of their line.
POOLS: dict[str, Callable[[list[Any]], Any]] = {
    "parameters": max, "flops": max, "images_per_second": fmean, "peak_bytes": max, "skipped": max,
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table so far."""

    grid: Grid
    lines: tuple[Line, ...]

    @property
    def done(self) -> int:
        """The number of finished runs."""
        return sum([len(line.accuracies) for line in self.lines])

    @property
    def runs(self) -> int:
        """The number of all runs."""
        return sum([len(line.seeds) for line in self.lines])


@dataclass(frozen=True)
class Tables:
    """Some tables so far.

    ``failed`` has the reasons of failed runs by name. ``left`` has those of runs that are not done:
    "failed", "being done by another process", "not asked for by --only" or "not run yet".
    """

    protocol: str
    tables: tuple[Table, ...]
    failed: dict[str, str]
    left: dict[str, str]
    commands: tuple[str, ...] = ()  #: the commands that reproduce these tables


def table_so_far(
    grid: Grid, seeds: tuple[int, ...], results: Results, failures: Mapping[str, str]
) -> Table:
    """Fill a table with the results of runs by name, and the reasons why runs failed."""
    lines = []
    for row in grid.rows:
        names = {seed: row.run_id(seed) for seed in seeds}
        runs = {seed: found for seed, name in names.items() if (found := results[name])}
        bases = {seed: results[row.baseline_id(seed)] for seed in seeds if row.recipe.block}
        ours = _accuracies(runs)
        differences = paired(ours, _accuracies(bases))
        failed = {seed: failures[name] for seed, name in names.items() if name in failures}
        numbers = {}
        for name, pool in POOLS.items():
            if values := [run[name] for run in runs.values() if run.get(name) is not None]:
                numbers[name] = pool(values)
        lines.append(Line(row, seeds, ours, differences, failed, **numbers))
    return Table(grid, tuple(lines))


def _accuracies(runs: Mapping[int, Mapping[str, Any] | None]) -> dict[int, float]:
    return {seed: 100.0 * run["test_accuracy"] for seed, run in runs.items() if run}


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
    """Measure the quantity of a statement, over the seeds that all candidates share.

    The candidate with the largest mean is taken, as in the paper; that is biased upwards, which its
    interval does not account for.
    """
    found = _candidates(statement, lines)
    done = {label: pairs for label, pairs in found.items() if pairs}
    without = tuple(label for label in found if label not in done)
    seeds = tuple(sorted(set.intersection(*map(set, done.values())))) if done else ()
    if not seeds:
        return Answer(statement, tuple(found), without)
    measured = {label: difference([pairs[s] for s in seeds]) for label, pairs in done.items()}
    best = max(measured, key=lambda label: measured[label].mean)
    return Answer(statement, tuple(found), without, best, measured[best], seeds)


def _candidates(statement: Statement, lines: Sequence[Line]) -> dict[str, Mapping[int, float]]:
    """Differences by seed of each row or, averaged over the conditions, of each block."""
    groups = statement.groups or {line.row.group for line in lines}
    found: dict[str, Mapping[int, float]] = {}
    for block in statement.blocks:
        own = [line for line in lines if line.row.block == block and line.row.group in groups]
        if statement.pool == "best":
            for line in own:
                label = f"{line.row.label}, {line.row.group}".removesuffix(", ")
                found[label] = line.differences
        elif own:
            common = set.intersection(*[set(line.differences) for line in own])
            found[own[0].row.label] = {
                seed: fmean([line.differences[seed] for line in own]) for seed in sorted(common)
            }
    return found
