"""One check a field of a recipe: what is wrong with a value, or the value in its own type."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from gspnl.errors import InputError
from gspnl.train.schedules import SCHEDULES

PRECISIONS = ("float32", "bfloat16", "float16")

# What the makers of data, backbone and block take besides options, and what says it.
GIVEN = {
    "data_options": {
        "name": "set the field data",
        "path": "give it to train as data, or as --data",
        "skip_bad": "give it to train as skip_bad, or as --skip-bad",
    },
    "backbone_options": {
        "name": "set the field backbone",
        "classes": "the data decide it",
        "channels": "the data decide it",
    },
    "block_options": {
        "block": "set the field block",
        "blocks": "set the field block",
        "where": "set the field place",
        "place": "set the field place",
        "reduction": "set the field reduction",
        "units": "set the field units",
        "channels": "the place decides it",
        "model": "set the field backbone",
        "example": "leave it out",
    },
}

Check = Callable[[str, Any], Any]


def text(name: str, value: Any, *, optional: bool = False) -> str | None:
    """A name."""
    if value is None and optional:
        return None
    if not isinstance(value, str) or not value.strip():
        rest = ", or None for none" if optional else ""
        raise InputError(f"{name}={value!r} must be a name; give a text such as 'abc'{rest}")
    return value


def file(name: str, value: Any) -> str | None:
    """A path, kept as text so that a recipe can be written."""
    return text(name, str(value) if isinstance(value, Path) else value, optional=True)


def whole(name: str, value: Any, *, least: int, optional: bool = False) -> int | None:
    """A whole number."""
    if value is None and optional:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise InputError(
            f"{name}={value!r} must be a whole number, not a {type(value).__name__}; give {least} "
            "or more"
        ) from None
    if number < least:
        raise InputError(f"{name}={number} must be at least {least}; give a larger number")
    return number


def real(name: str, value: Any, *, above: float | None = None, below: float = math.inf) -> float:
    """A finite number ≥ 0, or > ``above``, and < ``below``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(
            f"{name}={value!r} must be a number, not a {type(value).__name__}; give one such as 0.1"
        )
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{name}={value!r} must be finite; give a number such as 0.1")
    if above is not None and number <= above:
        raise InputError(
            f"{name}={value!r} must be above {above:g}; give a smaller step, such as 0.1"
            if name == "learning_rate"
            else f"{name}={value!r} must be above {above:g}; give a larger number"
        )
    if number < 0:
        raise InputError(f"{name}={value!r} must not be negative; give 0 to leave it off")
    if number >= below:
        raise InputError(f"{name}={value!r} must be below {below:g}; give a smaller number")
    return number


def truth(name: str, value: Any) -> bool:
    """A switch."""
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r} must be true or false; give one of the two")
    return value


def one_of(name: str, value: Any, *, names: tuple[str, ...]) -> str:
    """A name among few."""
    if value not in names or not isinstance(value, str):
        raise InputError(f"{name}={value!r} is none of {', '.join(names)}; give one of these")
    return value


def schedule(name: str, value: Any) -> str:
    """A registered schedule."""
    SCHEDULES[value]
    return str(value)


def names(name: str, value: Any) -> tuple[str, ...]:
    """Texts in order."""
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise InputError(f"{name}={value!r} must be a list of texts, such as ['pad_crop(4)']")
    return tuple(text(f"{name}[{i}]", item) or "" for i, item in enumerate(value))


def milestones(name: str, value: Any) -> tuple[int, ...]:
    """Epochs that increase."""
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise InputError(f"{name}={value!r} must be a list of epochs, such as [150, 250]")
    epochs = tuple(whole(f"{name}[{i}]", item, least=1) or 0 for i, item in enumerate(value))
    if any(b <= a for a, b in pairwise(epochs)):
        raise InputError(f"{name}={list(value)} must increase; sort it and drop what is double")
    return epochs


def options(name: str, value: Any) -> dict[str, Any]:
    """Options that a file can hold, and that nothing else decides."""
    if not isinstance(value, Mapping):
        raise InputError(
            f"{name}={value!r} must map names to values, as {name}.KEY=VALUE after --set does, not "
            f"be of type {type(value).__name__}"
        )
    for key, item in value.items():
        text(f"a key of {name}", key)
        if key in GIVEN[name]:
            raise InputError(f"{name} must not have {key!r}; {GIVEN[name][key]}")
        _writable(f"{name}[{key!r}]", item)
    return dict(value)


def _writable(name: str, value: Any) -> None:
    if isinstance(value, (list, tuple)):
        for item in value:
            _writable(name, item)
    elif not isinstance(value, (str, bool, int, float)) or value != value:
        raise InputError(
            f"{name}={value!r} cannot be written to a recipe; give a text, a number, true, false "
            "or a list of these, or leave it out for its default"
        )


FIELDS: dict[str, Check] = {
    "data": text,
    "data_options": options,
    "backbone": text,
    "backbone_options": options,
    "block": partial(text, optional=True),
    "place": partial(text, optional=True),
    "reduction": partial(whole, least=1),
    "units": partial(whole, least=1, optional=True),
    "block_options": options,
    "epochs": partial(whole, least=1),
    "batch_size": partial(whole, least=1),
    "learning_rate": partial(real, above=0.0),
    "momentum": partial(real, below=1.0),
    "weight_decay": real,
    "nesterov": truth,
    "schedule": schedule,
    "milestones": milestones,
    "gamma": partial(real, above=0.0),
    "warmup": real,
    "label_smoothing": partial(real, below=1.0),
    "clip": real,
    "precision": partial(one_of, names=PRECISIONS),
    "channels_last": truth,
    "sync_batch_norm": truth,
    "augmentation": names,
    "evaluation": names,
    "pretrained": file,
    "seed": partial(whole, least=0),
}
