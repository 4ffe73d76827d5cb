"""A table with what has been measured so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gspnl.train.recipes import Recipe
from gspnl.train.tables.answers import Answer, answer
from gspnl.train.tables.base import Grid, Row
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
    skipped : int
        Damaged samples that a run left out on request, at most.
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
    skipped: int = 0

    @property
    def accuracy(self) -> tuple[float, float | None] | None:
        """Mean and standard deviation over the seeds, in percent."""
        return spread(list(self.accuracies.values())) if self.accuracies else None

    @property
    def difference(self) -> Difference | None:
        """Over the backbone, in points, paired by seed; None for the backbone itself."""
        return difference(list(self.differences.values())) if self.differences else None


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
        max(_values(runs, "skipped"), default=0),
    )


def _accuracies(runs: Mapping[int, dict[str, Any]]) -> dict[int, float]:
    return {seed: PERCENT * run["test_accuracy"] for seed, run in runs.items()}


def _values(runs: Mapping[int, dict[str, Any]], name: str) -> list[Any]:
    return [run[name] for run in runs.values() if run.get(name) is not None]


def unique(grids: Sequence[Grid], seeds: Sequence[int]) -> dict[str, Recipe]:
    """All runs of some tables, each once, by key: seed by seed, backbones first."""
    runs: dict[str, Recipe] = {}
    for seed in seeds:
        for grid in grids:
            for row in grid.rows:
                for run in (row.baseline(seed), row.run(seed)):
                    runs.setdefault(key(run), run)
    return runs
