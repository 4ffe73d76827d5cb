"""Find existing results in an output folder, and keep those of runs that finish."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from gspnl._base import files
from gspnl.errors import FileError, InputError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.grid import GRIDS, Grid
from gspnl.train.tables.protocols import PROTOCOLS
from gspnl.train.tables.run_id import digest, plain

NUMBERS = ("test_accuracy", "epochs", "parameters", "flops", "images_per_second", "peak_bytes",
           "seconds")  # fmt: skip
SEED = re.compile(r"-s(\d+)-[0-9a-f]{8}$")


@dataclass(frozen=True)
class Folder:
    """An output folder: ``runs/NAME`` with weights, ``results/NAME.json`` with numbers only.

    Names of runs come from :func:`gspnl.train.tables.run_id.run_id`. A file is parsed again only if
    it has changed.
    """

    path: Path
    _parsed: dict[Path, tuple[Any, dict[str, Any]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def make(self, path: Path) -> None:
        """Make a folder in it."""
        files.make_folder(path, "name another --out")

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.path / "runs" / name

    def kept(self, name: str) -> Path:
        """The file of a finished run."""
        return self.path / "results" / f"{name}.json"

    def page(self, protocol: str, name: str) -> Path:
        """The files of a table, without their suffix."""
        return self.path / "tables" / f"{protocol}-{name}"

    def result(self, name: str) -> dict[str, Any] | None:
        """The numbers of a run, None if it has not finished; FileError for a damaged file."""
        return self._checked(
            self.kept(name),
            name,
            "holds the numbers of another recipe; move it away to run this one",
        )

    def results(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The file and the content of every finished run."""
        for path in sorted(self.path.glob("results/*.json")):
            yield path, self._read(path)

    def keep(self, name: str, recipe: Recipe) -> dict[str, Any] | None:
        """Copy the numbers of a run that has finished to its small file, and return them."""
        found = self._checked(
            self.run(name) / "result.json", name, "is of another recipe; move that folder away"
        )
        if found is None:
            return None
        small = {**found, "recipe": plain(recipe), "metrics": self.metrics(name)}
        if isinstance(found.get("skipped"), list):
            small["skipped"] = len(found["skipped"])  # their names are this machine's
        target = self.kept(name)
        self.make(target.parent)
        files.replace(target, (json.dumps(small, indent=1, allow_nan=False) + "\n").encode())
        self._failure(name).unlink(missing_ok=True)
        return small

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``, an epoch each; a last line cut short is left out."""
        rows: list[dict[str, Any]] = []
        try:
            for line in (self.run(name) / "metrics.jsonl").read_text().splitlines():
                rows.append(json.loads(line, parse_constant=lambda text: None))
        except (OSError, ValueError):  # no file, no UTF-8, no JSON
            pass
        return rows

    def epochs(self, name: str) -> int:
        """The number of epochs that a run resumes after; 0 without a checkpoint."""
        begun = (self.run(name) / "checkpoint.safetensors").is_file()
        return len(self.metrics(name)) if begun else 0

    def fail(self, name: str, reason: str) -> None:
        """Record the reason why a run failed."""
        path = self._failure(name)
        self.make(path.parent)
        files.replace(path, (reason + "\n").encode())

    def failure(self, name: str) -> str | None:
        """The reason why the last attempt failed, None if it did not."""
        try:
            return self._failure(name).read_text().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def tables(self, protocol: str) -> tuple[str, ...]:
        """The tables of a protocol that have been written before."""
        found = {path.name for path in self.path.glob("tables/*.md")}
        return tuple([name for name in GRIDS if f"{protocol}-{name}.md" in found])

    def seeds(self, grids: Iterable[Grid]) -> list[tuple[int, ...]]:
        """For each table, the seeds with a result of some row."""
        names = {path.stem for path in self.path.glob("results/*.json")}
        seeds = sorted({int(found[1]) for name in names if (found := SEED.search(name))})
        return [
            tuple(seed for seed in seeds if any(row.run_id(seed) in names for row in grid.rows))
            for grid in grids
        ]

    def check_protocol(self, protocol: str) -> None:
        """Raise InputError if the folder has tables of another protocol."""
        for other in PROTOCOLS:
            if other != protocol and (names := self.tables(other)):
                raise InputError(
                    f"{str(self.path)!r} holds tables of the protocol {other!r} "
                    f"({', '.join(names)}), and {protocol!r} is asked for; name another --out for "
                    "it"
                )

    def _failure(self, name: str) -> Path:
        return self.path / "failed" / f"{name}.txt"

    def _checked(self, path: Path, name: str, other: str) -> dict[str, Any] | None:
        """Read a result, and check the numbers that tables show and the recipe."""
        if not path.is_file():
            return None
        found = self._read(path)
        for key in NUMBERS:
            value: Any = found.get(key)
            if value is None and key != "test_accuracy":
                continue
            if type(value) not in (int, float) or not 0 <= value < inf:  # a bool is no number
                raise FileError(
                    f"{str(path)!r}: {key!r} is {value!r}, not a number ≥ 0; move the file to run "
                    "this again"
                )
        if found["test_accuracy"] > 1:
            raise FileError(
                f"{str(path)!r}: 'test_accuracy' is {found['test_accuracy']}, not a share in "
                "[0, 1]; move the file to run this again"
            )
        if digest(found["recipe"]) != name.rpartition("-")[2]:
            raise FileError(f"{str(path)!r} {other}")
        return found

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            state = path.stat()
            stamp = state.st_mtime_ns, state.st_size, state.st_ino
            if path in self._parsed and self._parsed[path][0] == stamp:
                return self._parsed[path][1]
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(
                f"cannot read {str(path)!r}: {error.strerror or error}; mend or move it"
            ) from error
        except ValueError as error:
            raise FileError(
                f"{str(path)!r} is no JSON: {error}; move it to run this again"
            ) from error
        if not isinstance(found, dict) or not isinstance(found.get("recipe"), dict):
            raise FileError(f"{str(path)!r} is no result of a run; move it to run this again")
        self._parsed[path] = stamp, found
        return found
