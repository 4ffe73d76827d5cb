"""Find existing results in an output folder, and keep those of runs that finish."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gspnl._base import files
from gspnl._base.texts import parse_json
from gspnl._base.validate import number
from gspnl.errors import FileError, InputError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.grid import GRIDS, Grid, digest, plain

NUMBERS = ("epochs", "parameters", "flops", "images_per_second", "peak_bytes", "seconds")
SEED = re.compile(r"-s(\d+)-[0-9a-f]{8}$")


def write(path: Path, text: str) -> None:
    """Write a file of an output folder."""
    files.make_folder(path.parent, "name another --out")
    files.replace(path, text.encode())


@dataclass(frozen=True)
class Folder:
    """An output folder: ``runs/NAME`` with weights, ``results/NAME.json`` with numbers only.

    Names of runs come from :func:`gspnl.train.tables.grid.run_id`.
    """

    path: Path

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.path / "runs" / name

    def kept(self, name: str) -> Path:
        """The file of a finished run."""
        return self.path / "results" / f"{name}.json"

    def result(self, name: str) -> dict[str, Any] | None:
        """The numbers of a run, None if it has not finished; FileError for a damaged file."""
        fault = "holds the numbers of another recipe; move it away to run this one"
        return _checked(self.kept(name), name, fault)

    def keep(self, name: str, recipe: Recipe) -> dict[str, Any] | None:
        """Copy the numbers of a run that has finished to its small file, and return them."""
        path = self.run(name) / "result.json"
        found = _checked(path, name, "is of another recipe; move that folder away")
        if found is None:
            return None
        small = {**found, "recipe": plain(recipe), "metrics": self.metrics(name)}
        if isinstance(found.get("skipped"), list):
            small["skipped"] = len(found["skipped"])  # their names are this machine's
        write(self.kept(name), json.dumps(small, indent=1, allow_nan=False) + "\n")
        self._failure(name).unlink(missing_ok=True)
        return small

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``, an epoch each; a last line cut short is left out."""
        rows: list[dict[str, Any]] = []
        with suppress(OSError, ValueError):  # no file, no UTF-8, no JSON
            path = self.run(name) / "metrics.jsonl"
            files.refuse_endless(path)
            for line in path.read_text().splitlines():
                rows.append(parse_json(line, finite=False))
        return rows

    def epochs(self, name: str) -> int:
        """The number of epochs that a run resumes after; 0 without a checkpoint."""
        begun = (self.run(name) / "checkpoint.safetensors").is_file()
        return len(self.metrics(name)) if begun else 0

    def fail(self, name: str, reason: str) -> None:
        """Record the reason why a run failed."""
        write(self._failure(name), reason + "\n")

    def failure(self, name: str) -> str | None:
        """The reason why the last attempt failed, None if it did not."""
        with suppress(OSError, UnicodeDecodeError):
            files.refuse_endless(self._failure(name))
            return self._failure(name).read_text().strip() or None
        return None

    def tables(self, protocol: str) -> tuple[str, ...]:
        """The tables of a protocol that have been written before."""
        found = {path.name for path in self.path.glob("tables/*.md")}
        return tuple([name for name in GRIDS if f"{protocol}-{name}.md" in found])

    def seeds(self, grids: Iterable[Grid]) -> list[set[int]]:
        """For each table, the seeds with a result of some row."""
        names = {path.stem for path in self.path.glob("results/*.json")}
        seeds = {int(found[1]) for name in names if (found := SEED.search(name))}
        return [
            {seed for seed in seeds if any(row.run_id(seed) in names for row in grid.rows)}
            for grid in grids
        ]

    def _failure(self, name: str) -> Path:
        return self.path / "failed" / f"{name}.txt"


def _checked(path: Path, name: str, fault: str) -> dict[str, Any] | None:
    """Read a result, and check the numbers that tables show and the recipe."""
    if not path.is_file():
        return None
    found = read(path)
    try:
        number("test_accuracy", found.get("test_accuracy"), least=0, most=1)
        for key in NUMBERS:
            if found.get(key) is not None:
                number(key, found[key], least=0)
    except InputError as error:
        raise FileError(f"{str(path)!r}: {error}; move the file to run this again") from None
    if digest(found["recipe"]) != name.rpartition("-")[2]:
        raise FileError(f"{str(path)!r} {fault}")
    return found


def read(path: Path) -> dict[str, Any]:
    """Read a file of results, if it is one."""
    try:
        state = path.stat()
        found = parsed(path, state.st_mtime_ns, state.st_size, state.st_ino)
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot read {str(path)!r}: {reason}; mend or move it") from error
    except ValueError as error:
        raise FileError(f"{str(path)!r} is no JSON: {error}; move it to run this again") from error
    if not isinstance(found, dict) or not isinstance(found.get("recipe"), dict):
        raise FileError(f"{str(path)!r} is no result of a run; move it to run this again")
    return found


@cache
def parsed(path: Path, *stamp: int) -> Any:
    """Parse a file; again only if it has changed."""
    return parse_json(path.read_bytes())
