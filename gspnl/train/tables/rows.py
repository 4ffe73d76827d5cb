"""A table with what has been measured so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gspnl.train.recipes.base import Recipe
from gspnl.train.tables.base import Grid, Row, Statement
from gspnl.train.tables.folder import Folder
from gspnl.train.tables.keys import key
from gspnl.train.tables.statistics import Difference, difference, paired, spread

PERCENT = 100.0


@dataclass(frozen=True)
class Line:
    """A row with its numbers; what has not been measured is None.

    Parameters
    ----------
    row : Row
    seeds : tuple of int
        Those that were asked for.
    accuracies : mapping of int to float
        Last-epoch test accuracy in percent, by seed.
    differences : mapping of int to float
        To the backbone of the same seed, in points.
    parameters, flops : int or None
        Of the network; FLOPs of one image, forward.
    images_per_second : float or None
        In training, the mean of the runs.
    peak_bytes : int or None
        Memory that training took beyond what the process held before, the largest of the runs.
    failures : mapping of int to str
        Why runs failed, by seed.
    """

    row: Row
    seeds: tuple[int, ...]
    accuracies: Mapping[int, float]
    differences: Mapping[int, float]
    parameters: int | None
    flops: int | None
    images_per_second: float | None
    peak_bytes: int | None
    failures: Mapping[int, str]

    @property
    def accuracy(self) -> tuple[float, float | None] | None:
        """Mean and standard deviation over the seeds, in percent."""
        return spread(list(self.accuracies.values())) if self.accuracies else None

    @property
    def difference(self) -> Difference | None:
        """Over the backbone, in points, paired by seed; None for the backbone itself."""
        return difference(list(self.differences.values())) if self.differences else None


@dataclass(frozen=True)
class Answer:
    """What was measured of a statement of the paper; None where nothing was, or can be."""

    statement: Statement
    label: str | None
    difference: Difference | None


@dataclass(frozen=True)
class Table:
    """A table so far.

    Parameters
    ----------
    grid : Grid
    protocol : str
    lines : tuple of Line
    answers : tuple of Answer
        One for each statement of the paper.
    done, runs : int
        Finished runs, and all.
    """

    grid: Grid
    protocol: str
    lines: tuple[Line, ...]
    answers: tuple[Answer, ...]
    done: int
    runs: int


def collect(grid: Grid, protocol: str, folder: Folder, seeds: Sequence[int]) -> Table:
    """Read what there is of a table."""
    found = {
        key(run): folder.result(run)
        for row in grid.rows
        for seed in seeds
        for run in (row.run(seed), row.baseline(seed))
    }
    lines = tuple(_line(row, folder, tuple(seeds), found) for row in grid.rows)
    return Table(
        grid,
        protocol,
        lines,
        tuple(answer(statement, lines) for statement in grid.reported),
        sum(len(line.accuracies) for line in lines),
        len(lines) * len(seeds),
    )


def _line(
    row: Row, folder: Folder, seeds: tuple[int, ...], found: Mapping[str, dict[str, Any] | None]
) -> Line:
    def results(recipe_of: Any) -> dict[int, dict[str, Any]]:
        runs = {seed: found[key(recipe_of(seed))] for seed in seeds}
        return {seed: run for seed, run in runs.items() if run is not None}

    runs = results(row.run)
    ours = _accuracies(runs)
    alone = row.recipe.block is None
    differences = {} if alone else paired(ours, _accuracies(results(row.baseline)))
    missing = [seed for seed in seeds if seed not in runs]
    failures = {seed: folder.failure(row.run(seed)) for seed in missing}
    speeds = _values(runs, "images_per_second")
    return Line(
        row,
        seeds,
        ours,
        differences,
        max(_values(runs, "parameters"), default=None),
        max(_values(runs, "flops"), default=None),
        fmean(speeds) if speeds else None,
        max(_values(runs, "peak_bytes"), default=None),
        {seed: reason for seed, reason in failures.items() if reason is not None},
    )


def _accuracies(runs: Mapping[int, dict[str, Any]]) -> dict[int, float]:
    return {seed: PERCENT * run["test_accuracy"] for seed, run in runs.items()}


def _values(runs: Mapping[int, dict[str, Any]], name: str) -> list[Any]:
    return [run[name] for run in runs.values() if run.get(name) is not None]


def answer(statement: Statement, lines: Sequence[Line]) -> Answer:
    """The same quantity as a statement is about, from our rows.

    Of several blocks the one with the largest mean is taken, as the paper does; that is biased
    upwards, which its interval does not know.
    """
    best: Answer = Answer(statement, None, None)
    for label, pairs in _candidates(statement, lines):
        if not pairs:
            continue
        found = difference(pairs)
        if best.difference is None or found.mean > best.difference.mean:
            best = Answer(statement, label, found)
    return best


def _candidates(statement: Statement, lines: Sequence[Line]) -> list[tuple[str, list[float]]]:
    about = [
        line
        for line in lines
        if line.row.block in statement.blocks
        and (not statement.groups or line.row.group in statement.groups)
    ]
    if statement.pool == "best":
        return [(_name(line), list(line.differences.values())) for line in about]
    found = []
    for block in statement.blocks:
        own = [line for line in about if line.row.block == block]
        if own:
            shared = set.intersection(*(set(line.differences) for line in own))
            means = [fmean(line.differences[seed] for line in own) for seed in sorted(shared)]
            found.append((own[0].row.label, means))
    return found


def _name(line: Line) -> str:
    return f"{line.row.label}, {line.row.group}" if line.row.group else line.row.label


def unique(grids: Sequence[Grid], seeds: Sequence[int]) -> dict[str, Recipe]:
    """All runs of some tables, each once, by key: seed by seed, backbones first."""
    runs: dict[str, Recipe] = {}
    for seed in seeds:
        for grid in grids:
            for row in grid.rows:
                for run in (row.baseline(seed), row.run(seed)):
                    runs.setdefault(key(run), run)
    return runs
