"""Changes to a recipe as text, ``key=value``."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from gspnl.errors import InputError
from gspnl.train.recipes.base import Recipe
from gspnl.train.recipes.files import changed, recipe

OPTIONS = ("backbone_options", "block_options", "data_options")


def edited(name: str, changes: Sequence[str], **given: Any) -> Recipe:
    """A recipe with changes.

    Parameters
    ----------
    name : str
        A name or a TOML file.
    changes : sequence of str
        As "block=snl", "milestones=[10, 15]", "block_options.order=3"; nothing after the sign is
        None. Values are TOML, or else plain text.
    **given
        Fields; None for what is left as it is.

    Returns
    -------
    Recipe

    Raises
    ------
    InputError
        For what is no change, a field that is given twice, and as :func:`gspnl.train.recipe`.

    Examples
    --------
    >>> from gspnl.train.recipes.edits import edited
    >>> edited("mini", ["block=chebyshev", "block_options.order=3"], seed=2).block_options
    {'order': 3}
    """
    base = recipe(name)
    found: dict[str, Any] = {}
    for change in changes:
        key, sign, text = change.partition("=")
        key = key.strip()
        if not sign or not key:
            raise InputError(f"--set {change!r} is no change; write it as key=value")
        field, dot, option = key.partition(".")
        if dot and field in OPTIONS:
            found[field] = {**found.get(field, getattr(base, field)), option: value(text)}
        else:
            found[key] = value(text)
    own = {field: item for field, item in given.items() if item is not None}
    twice = [field for field in own if field in found]
    if twice:
        raise InputError(
            f"{twice[0]} is given twice, by --set and by --{twice[0]}; leave one of them out"
        )
    return changed(base, found | own)


def value(text: str) -> Any:
    """A value as TOML reads it, or the text itself."""
    text = text.strip()
    if not text:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
