"""Look up, read, write and edit recipes; files are TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import tomli_w

from gspnl._base import files
from gspnl._base.texts import parse_toml
from gspnl.errors import FileError, InputError
from gspnl.train.recipes.definition import DEFAULTS, RECIPES, Recipe


def recipe(name: str | PathLike[str], **changes: Any) -> Recipe:
    """Look up or read a recipe, with some fields changed.

    Parameters
    ----------
    name : str or path
        A name of :data:`RECIPES`, or a TOML file.
    **changes
        Fields of :class:`Recipe`, checked. Mappings replace the former ones whole.

    Raises
    ------
    InputError, FileError
        For an unknown name or field, or a wrong value; for a missing file, or one that is no TOML.

    Examples
    --------
    >>> from gspnl.train import recipe
    >>> paper = recipe("cifar10-preresnet20", block="snl", seed=1)
    >>> paper.epochs, paper.milestones, paper.block
    (300, (150, 250), 'snl')
    """
    if not isinstance(name, (str, PathLike)):
        raise InputError(f"recipe {name!r} must be a name or a TOML file")
    path = Path(name)
    file = path.suffix == ".toml" or len(path.parts) > 1 or path.exists()
    base = read(path) if file and str(name) not in RECIPES else RECIPES[str(name)]
    return dataclasses.replace(base, **changes)


def read(path: str | PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file; fields that it leaves out have their defaults.

    Raise FileError if the file is missing or no TOML, and InputError for an unknown field, with the
    nearest one named, or a wrong value.
    """
    path = Path(path)
    content = files.read(path, "name a TOML file that exists", "the recipe ")
    try:
        return Recipe(**parse_toml(content))
    except InputError as error:
        raise InputError(f"{str(path)!r}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"{str(path)!r} is no TOML: {error}; mend that line") from error
    except ValueError as error:
        raise FileError(f"{str(path)!r} is no recipe: {error}; mend it") from error


def from_toml(content: str) -> Recipe:
    """Parse a recipe from TOML."""
    return Recipe(**parse_toml(content))


def to_toml(recipe: Recipe) -> str:
    """Format a recipe as TOML: every field, but for those that are None.

    Examples
    --------
    >>> from gspnl.train.recipes import Recipe, from_toml, to_toml
    >>> recipe = Recipe(block="chebyshev", block_options={"order": 3})
    >>> from_toml(to_toml(recipe)) == recipe
    True
    """
    return tomli_w.dumps(to_dict(recipe))


def write(recipe: Recipe, path: str | PathLike[str]) -> None:
    """Write a recipe to a TOML file, whole or not at all; raise FileError if that fails."""
    files.replace(Path(path), to_toml(recipe).encode())


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Fields of a recipe as JSON and TOML hold them: no None, lists for tuples."""
    values = ((name, getattr(recipe, name)) for name in DEFAULTS)
    return {name: plain(value) for name, value in values if value is not None}


def plain(value: Any) -> Any:
    """The value of a field as JSON and TOML hold it: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
