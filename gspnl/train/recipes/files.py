"""Recipes as TOML."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl._base.files import replace
from gspnl.errors import FileError, InputError, MissingExtraError
from gspnl.train.recipes.base import RECIPES, Recipe

FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))


def recipe(name: str | PathLike[str], **changes: Any) -> Recipe:
    """Look up or read a recipe, with some fields changed.

    Parameters
    ----------
    name : str or path
        A name of :data:`RECIPES`, or a TOML file.
    **changes
        Fields of :class:`Recipe`, checked. The mappings ``data_options``,
        ``backbone_options`` and ``block_options`` replace the former ones whole.

    Returns
    -------
    Recipe

    Raises
    ------
    InputError
        For an unknown name or field, or a wrong value.
    FileError
        If the file is missing or no TOML.

    Examples
    --------
    >>> from gspnl.train import recipe
    >>> paper = recipe("cifar10-preresnet20", block="snl", seed=1)
    >>> paper.epochs, paper.milestones, paper.block
    (300, (150, 250), 'snl')
    """
    if isinstance(name, str) and name in RECIPES:
        return changed(RECIPES[name], changes)
    try:
        path = Path(name)
    except TypeError:
        raise InputError(f"recipe {name!r} must be a name or a TOML file") from None
    if path.suffix == ".toml" or path.is_file():
        return changed(read(path), changes)
    if len(path.parts) > 1:
        raise FileError(f"{str(name)!r} is no recipe file; name a TOML file that exists")
    return changed(RECIPES[str(name)], changes)


def changed(base: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Another recipe, with unknown fields refused."""
    for field in changes:
        if field not in FIELDS:
            raise InputError(f"recipes have no field {field!r}{_near(field)}")
    return dataclasses.replace(base, **changes)


def read(path: str | PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file; what it leaves out has its default.

    Parameters
    ----------
    path : path

    Returns
    -------
    Recipe

    Raises
    ------
    FileError
        If the file is missing or no TOML.
    InputError
        For an unknown field, with the nearest one named, or a wrong value.
    """
    path = Path(path)
    try:
        content = path.read_bytes().decode()
    except OSError as error:
        raise FileError(
            f"cannot read the recipe {str(path)!r}: {error.strerror or error}; name a TOML file "
            "that exists"
        ) from error
    except UnicodeDecodeError as error:
        raise FileError(f"{str(path)!r} is no recipe: it is no text in UTF-8") from error
    try:
        return from_toml(content)
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"{str(path)!r} is no TOML: {error}; mend that line") from error
    except InputError as error:
        raise InputError(f"{str(path)!r}: {error}") from error


def from_toml(content: str) -> Recipe:
    """Parse a recipe from TOML."""
    return changed(Recipe(), tomllib.loads(content))


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML, every field; those that are None are left out.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    str

    Examples
    --------
    >>> from gspnl.train import Recipe
    >>> from gspnl.train.recipes import from_toml, to_toml
    >>> recipe = Recipe(block="chebyshev", block_options={"order": 3})
    >>> from_toml(to_toml(recipe)) == recipe
    True
    """
    try:
        import tomli_w
    except ImportError as error:
        raise MissingExtraError(
            "writing recipes needs tomli-w; pip install 'gspnl[train]'"
        ) from error
    return tomli_w.dumps(fields(recipe))


def write(recipe: Recipe, path: str | PathLike[str]) -> None:
    """Write a recipe to a TOML file, whole or not at all.

    Parameters
    ----------
    recipe : Recipe
    path : path

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    replace(Path(path), to_toml(recipe).encode())


def fields(recipe: Recipe) -> dict[str, Any]:
    """Fields of a recipe as JSON and TOML hold them: no None, lists for tuples."""
    found = {name: getattr(recipe, name) for name in FIELDS}
    return {name: plain(value) for name, value in found.items() if value is not None}


def differences(one: Recipe, other: Recipe) -> list[str]:
    """The fields that differ, as text."""
    return [
        f"{name} ({getattr(one, name)!r} there, {getattr(other, name)!r} here)"
        for name in FIELDS
        if getattr(one, name) != getattr(other, name)
    ]


def plain(value: Any) -> Any:
    """The value of a field as JSON and TOML hold it: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _near(field: str) -> str:
    near = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{hint} Fields: {', '.join(FIELDS)}."
