"""What is there of a run: its folder, and the small file that is kept of a finished one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from gspnl._base import files
from gspnl.errors import FileError
from gspnl.train.recipes import Recipe
from gspnl.train.tables.keys import DEFAULT, digest, key, plain

NUMBERS = ("test_accuracy", "epochs", "parameters", "flops", "images_per_second", "peak_bytes",
           "seconds")  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """Where runs are: ``runs/KEY`` with weights, ``results/KEY.json`` with numbers only.

    Parameters
    ----------
    path : Path
    """

    path: Path

    def run(self, recipe: Recipe) -> Path:
        """The run folder of a recipe."""
        return self.path / "runs" / key(recipe)

    def kept(self, recipe: Recipe) -> Path:
        """The file of a finished run."""
        return self.path / "results" / f"{key(recipe)}.json"

    def result(self, recipe: Recipe) -> dict[str, Any] | None:
        """The numbers of a run, None if it has not finished.

        Raises
        ------
        FileError
            If the file is damaged, or of another recipe.
        """
        path = self.kept(recipe)
        if not path.is_file():
            return None
        found = _read(path)
        _check(found, path)
        if digest(_known(found["recipe"])) != digest(plain(recipe)):
            raise FileError(
                f"{str(path)!r} holds the numbers of another recipe; move it away to run this one"
            )
        return found

    def results(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Every finished run that is kept: its file and what it holds."""
        for path in sorted(self.path.glob("results/*.json")):
            yield path, _read(path)

    def keep(self, recipe: Recipe) -> dict[str, Any] | None:
        """Copy the numbers of a run that has finished to its small file, and return them."""
        path = self.run(recipe) / "result.json"
        if not path.is_file():
            return None
        found = _read(path)
        _check(found, path)
        if digest(_known(found["recipe"])) != digest(plain(recipe)):
            raise FileError(f"{str(path)!r} is of another recipe; move that folder away")
        own: dict[str, Any] = {
            "recipe": plain(recipe),
            "metrics": self.metrics(recipe),
        }
        if isinstance(found.get("skipped"), list):
            own["skipped"] = len(found["skipped"])  # their names are this machine's
        small = {**found, **own}
        target = self.kept(recipe)
        make(target.parent)
        files.replace(target, (json.dumps(small, indent=1, allow_nan=False) + "\n").encode())
        self._failure(recipe).unlink(missing_ok=True)
        return small

    def page(self, protocol: str, name: str) -> Path:
        """The files of a table, without their suffix."""
        return self.path / "tables" / f"{protocol}-{name}"

    def metrics(self, recipe: Recipe) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``, an epoch each; a last line cut short is left out."""
        path = self.run(recipe) / "metrics.jsonl"
        rows = []
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        for line in lines:
            try:
                rows.append(json.loads(line, parse_constant=lambda text: None))
            except ValueError:
                break
        return rows

    def begun(self, recipe: Recipe) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.run(recipe) / "checkpoint.safetensors").is_file()

    def fail(self, recipe: Recipe, reason: str) -> None:
        """Note why a run failed."""
        path = self._failure(recipe)
        make(path.parent)
        files.replace(path, (reason + "\n").encode())

    def failure(self, recipe: Recipe) -> str | None:
        """Why the last attempt failed, None if it did not."""
        try:
            return self._failure(recipe).read_text().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def _failure(self, recipe: Recipe) -> Path:
        return self.path / "failed" / f"{key(recipe)}.txt"


def make(path: Path) -> None:
    """Make a folder."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot make the folder {str(path)!r}: {error.strerror or error}; name another --out"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            f"cannot read {str(path)!r}: {error.strerror or error}; mend or move it"
        ) from error
    except ValueError as error:
        raise FileError(f"{str(path)!r} is no JSON: {error}; move it to run this again") from error
    if not isinstance(found, dict) or not isinstance(found.get("recipe"), dict):
        raise FileError(f"{str(path)!r} is no result of a run; move it to run this again")
    return found


def _check(found: dict[str, Any], path: Path) -> None:
    """Every number that tables show is one, or is known to be missing; accuracy must be there."""
    for name in NUMBERS:
        value = found.get(name)
        if value is None and name != "test_accuracy":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < inf:
            raise FileError(
                f"{str(path)!r}: {name!r} is {value!r}, not a number ≥ 0; move the file to run "
                "this again"
            )
    if found["test_accuracy"] > 1:
        raise FileError(
            f"{str(path)!r}: 'test_accuracy' is {found['test_accuracy']}, not a share in [0, 1]; "
            "move the file to run this again"
        )


def _known(recipe: dict[str, Any]) -> dict[str, Any]:
    """With the defaults of what a file leaves out."""
    return {**DEFAULT, **recipe}
