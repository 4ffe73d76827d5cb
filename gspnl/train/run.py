"""Keep a run in a folder: recipe.toml, metrics.jsonl, checkpoint.safetensors, result.json."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gspnl._base.files import clean, make_folder, open_lock, refuse_endless
from gspnl._base.texts import parse_json
from gspnl.errors import BusyError, FileError, InputError
from gspnl.nn.checkpoints.contents import check_state
from gspnl.train import checkpoints
from gspnl.train.networks import network
from gspnl.train.recipes import Recipe, read, write
from gspnl.train.recipes.definition import DEFAULTS

RECIPE, METRICS = "recipe.toml", "metrics.jsonl"
CHECKPOINT, RESULT = "checkpoint.safetensors", "result.json"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Parameters
    ----------
    out : Path
        Its folder.
    recipe : Recipe
    metrics : tuple of dict
        A row an epoch: "epoch" (from 1), "train_loss", "train_accuracy", "test_loss",
        "test_accuracy", "seconds", "images_per_second", "learning_rate". Accuracies are in [0, 1].
    result : dict
        The content of result.json.
    """

    out: Path
    recipe: Recipe
    metrics: tuple[Mapping[str, Any], ...]
    result: Mapping[str, Any]


def load_run(path: str | PathLike[str]) -> tuple[Recipe, nn.Module]:
    """Rebuild the network of a run, as it was at its last checkpoint.

    Parameters
    ----------
    path : path
        The folder of a run, finished or not, or a checkpoint file.

    Returns
    -------
    recipe : Recipe
    network : Module
        On the CPU, in evaluation mode.

    Raises
    ------
    FileError
        If there is no checkpoint, or it is damaged.
    """
    found = checkpoint_of(path)
    with _described(Path(path)):
        with torch.device("meta"):  # sizes that the file does not hold would fill the memory
            empty = network(found.recipe, found.shape, found.classes)
        check_state(empty.state_dict(), found.part("model"))
        model = network(found.recipe, found.shape, found.classes)
    fit(model, found, Path(path))
    return found.recipe, model.eval()


def checkpoint_of(path: str | PathLike[str]) -> checkpoints.Checkpoint:
    """Read the checkpoint of a run folder, or of a file."""
    path = Path(path)
    return checkpoints.load(path / CHECKPOINT if path.is_dir() else path)


def fit(model: nn.Module, found: checkpoints.Checkpoint, path: Path) -> None:
    """Load the weights of a checkpoint into a network."""
    weights = found.part("model")
    with _described(path):
        check_state(model.state_dict(), weights)
        model.load_state_dict(weights)


@contextmanager
def _described(path: Path) -> Iterator[None]:
    """Raise FileError where recipe and weights of a checkpoint do not agree."""
    try:
        yield
    except (InputError, LookupError, RuntimeError, TypeError) as error:
        raise FileError(
            f"{str(path)!r} does not hold the network that its recipe describes, or needs another "
            f"version of gspnl: {' '.join(str(error).split())[:300]}"
        ) from error


@contextmanager
def claim(out: Path, recipe: Recipe, *, resume: bool) -> Iterator[None]:
    """Make and lock the folder of a run, refuse it where it holds others, remove partial files."""
    make_folder(out)
    names = [each.name for each in out.glob("[!.]*")]
    if names and RECIPE not in names:
        raise InputError(
            f"{str(out)!r} holds {names[0]!r}, and is no folder of a run; name a new one"
        )
    with lock(out):
        begin(out, recipe, resume=resume)
        for name in (RECIPE, METRICS, CHECKPOINT, RESULT):
            clean(out / name)
        yield


def begin(out: Path, recipe: Recipe, *, resume: bool) -> None:
    """Write the recipe of a run, or check that its folder holds the one to resume.

    A run that stopped before its first checkpoint, which left metrics without a row, is begun
    again with any recipe. Other runs are refused, and all without ``resume``.
    """
    kept, rows, done = out / RECIPE, out / METRICS, (out / RESULT).exists()
    saved = done or (out / CHECKPOINT).exists()
    if not kept.exists() or (not saved and rows.exists() and rows.stat().st_size == 0):
        write(recipe, kept)
    elif not resume:
        state = f"finished run, with its numbers in {RESULT}" if done else "run"
        fix = "name another folder" if done else "go on with it by --resume, or name another folder"
        raise InputError(f"{str(out)!r} holds a {state}; {fix}")
    elif (own := read(kept)) != recipe:
        pairs = {name: (getattr(own, name), getattr(recipe, name)) for name in DEFAULTS}
        other = [f"{name} ({a!r} there, {b!r} here)" for name, (a, b) in pairs.items() if a != b]
        raise InputError(
            f"{str(out)!r} holds a run of another recipe: {', '.join(other)}; resume it with "
            f"its own, {str(kept)!r}, or name another folder"
        )


def check_data(out: Path, before: str, now: str) -> None:
    """Raise InputError unless the fingerprint of the data is the one that the run began with."""
    if before != now:
        raise InputError(
            f"{str(out)!r} holds a run on other data (fingerprint {before}, of these {now}); give "
            "the data that it began with, or name another folder"
        )


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Lock a folder against other runs; the lock ends with this process at the latest."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with os.fdopen(open_lock(out / ".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another process is at work in {str(out)!r}; wait for it, or name another folder"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


def finished(out: Path, recipe: Recipe) -> Run | None:
    """Read the run of a folder; None where it has no result yet."""
    for file in (RESULT, METRICS):
        refuse_endless(out / file)
    try:
        result = parse_json((out / RESULT).read_bytes())
        lines = (out / METRICS).read_bytes().decode().splitlines()
        rows = [parse_json(line, finite=False) for line in lines]
        if not isinstance(result, dict) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it holds no numbers by name")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise FileError(
            f"{str(out / RESULT)!r} or {METRICS} cannot be read ({error}); delete {RESULT} and "
            "resume, to have both written again"
        ) from error
    return Run(out, recipe, tuple(rows), result)
