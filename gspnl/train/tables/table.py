"""Fill tables with the results so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from gspnl.train.tables.grid import Grid, Row
from gspnl.train.tables.statistics import Difference, difference, paired, spread

PERCENT = 100.0
Results = Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True)
class Line:
    """A row with its numbers; what has not been measured is None."""

    row: Row
    seeds: tuple[int, ...]  #: the seeds asked for
    accuracies: Mapping[int, float]  #: by seed: test accuracy of the last epoch, in percent
    differences: Mapping[int, float]  #: by seed: to the backbone, in points; none for itself
    parameters: int | None = None
    flops: int | None = None  #: of one image, forward
    images_per_second: float | None = None  #: in training, the mean of the runs
    peak_bytes: int | None = None  #: memory that training took in addition, the largest
    failures: Mapping[int, str] = field(default_factory=dict)  #: by seed: the reason
    skipped: int = 0  #: damaged samples left out on request, the largest of the runs

    @cached_property
    def accuracy(self) -> tuple[float, float | None] | None:
        """Mean and standard deviation over the seeds, in percent."""
        return spread(list(self.accuracies.values())) if self.accuracies else None

    @cached_property
    def difference(self) -> Difference | None:
        """Over the backbone, in points, paired by seed; None for the backbone itself."""
        return difference(list(self.differences.values())) if self.differences else None


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
    grid: Grid, seeds: Sequence[int], results: Results, failure: Callable[[str], str | None]
) -> Table:
    """Fill a table with the results of runs by name; ``failure`` is the reason why one failed."""
    return Table(grid, tuple([_line(row, tuple(seeds), results, failure) for row in grid.rows]))


def _line(
    row: Row, seeds: tuple[int, ...], results: Results, failure: Callable[[str], str | None]
) -> Line:
    names = {seed: row.run_id(seed) for seed in seeds}
    runs = {seed: found for seed, name in names.items() if (found := results[name]) is not None}
    bases = {seed: results[row.baseline_id(seed)] for seed in seeds if row.recipe.block}
    ours, base = _accuracies(runs), _accuracies(bases)
    reasons = {seed: failure(name) for seed, name in names.items() if seed not in runs}
    speeds = _values(runs, "images_per_second")
    return Line(
        row,
        seeds,
        ours,
        paired(ours, base),
        max(_values(runs, "parameters"), default=None),
        max(_values(runs, "flops"), default=None),
        fmean(speeds) if speeds else None,
        max(_values(runs, "peak_bytes"), default=None),
        {seed: reason for seed, reason in reasons.items() if reason is not None},
        max(_values(runs, "skipped"), default=0),
    )


def _accuracies(runs: Mapping[int, Mapping[str, Any] | None]) -> dict[int, float]:
    return {seed: PERCENT * run["test_accuracy"] for seed, run in runs.items() if run is not None}


def _values(runs: Mapping[int, Mapping[str, Any]], name: str) -> list[Any]:
    return [run[name] for run in runs.values() if run.get(name) is not None]
