"""Types of a recipe's fields for pydantic, and its errors as one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo

from gspnl.errors import InputError

# Arguments of the functions that make data, backbone and block, and what sets them.
RESERVED = {
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
        "layout": "leave it out, since backbones have feature maps (B, C, H, W)",
    },
}


def builtin(value: Any) -> Any:
    """Convert numpy scalars, lists and paths, which strict types refuse."""
    if isinstance(value, (list, tuple)):
        return tuple([item.item() if isinstance(item, np.generic) else item for item in value])
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def _increasing(value: tuple[int, ...]) -> tuple[int, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("must increase; sort it and drop duplicates")
    return value


def _options(value: Any, info: ValidationInfo) -> dict[str, Any]:
    name = str(info.field_name)
    if not isinstance(value, Mapping):
        raise ValueError(
            f"must map names to values, as {name}.KEY=VALUE after --set does, not be of type "
            f"{type(value).__name__}"
        )
    for key, item in value.items():
        if not isinstance(key, str) or not key.strip():
            raise ValueError(f"has the key {key!r}, which must be a text such as 'abc'")
        if key in RESERVED[name]:
            raise InputError(f"{name} must not have {key!r}; {RESERVED[name][key]}")
        if not _writable(item):
            raise InputError(
                f"{name}[{key!r}]={item!r} cannot be written to a recipe; give a text, a number, "
                "true, false or a list of these, or leave it out for its default"
            )
    return dict(value)


def _writable(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_writable, value))
    return isinstance(value, (str, bool, int, float)) and value == value


Name = Annotated[str, Field(pattern=r"\S")]
Names = tuple[Name, ...]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Units = Annotated[int, Field(ge=1, le=1000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Milestones = Annotated[tuple[Count, ...], AfterValidator(_increasing)]
Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Options = Annotated[Mapping[str, Any], BeforeValidator(_options)]


MOST = 20  # faults that are named


def one_line(error: ValidationError, defaults: Mapping[str, Any]) -> str:
    """Join what is wrong with each field: its name, its value, what to give, its default."""
    found: dict[str, str] = {}
    for each in error.errors()[:MOST]:
        reason = each.get("ctx", {}).get("error")
        if isinstance(reason, InputError) or not each["loc"]:  # a message of this package, whole
            found[str(reason)] = str(reason)
            continue
        name, *inside = each["loc"]
        if name not in defaults:
            near = difflib.get_close_matches(str(name), defaults, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            fields = f"{hint} Fields: {', '.join(defaults)}."
            found[str(name)] = f"recipes have no field {name!r}{fields}"
            continue
        where = str(name) + "".join(f"[{i}]" for i in inside if isinstance(i, int))
        text = str(reason or each["msg"]).replace("Input should", "must").replace("tuple", "list")
        if each["type"] == "string_pattern_mismatch":
            text = "must not be blank"
        found[where] = f"{where}={each['input']!r} {text}; the default is {defaults[str(name)]!r}"
    return "; ".join(found.values())
