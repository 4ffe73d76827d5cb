"""What a response is: a frozen set of parameters that maps λ to g(λ)."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

import numpy as np

from gspnl._base.array import Array
from gspnl._base.registry import Registry
from gspnl.errors import InputError

Response = Callable[[Array], Array]
R = TypeVar("R")

RESPONSES: Registry[type] = Registry("response")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def response(name: str) -> Callable[[type[R]], type[R]]:
    """Register a response class, as a frozen dataclass whose parameters are checked."""

    def file(cls: type[R]) -> type[R]:
        data: type[R] = dataclass(frozen=True)(cls)
        RESPONSES.register(name)(data)
        return data

    return file


def number(where: str, value: Any) -> Any:
    """Check that a parameter is a finite number; NumPy's own become Python's, for repr and hash."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{where}={value!r} must be a number")
    if not math.isfinite(value):
        raise InputError(f"{where}={value!r} must be finite")
    return value


def positive(where: str, value: Any) -> Any:
    """Check that a parameter is > 0."""
    value = number(where, value)
    if value <= 0:
        raise InputError(f"{where}={value!r} must be > 0")
    return value


def optional_number(where: str, value: Any) -> Any:
    """Check that a parameter is a finite number, or None."""
    return None if value is None else number(where, value)


def whole(where: str, value: Any) -> Any:
    """Check that a parameter is a whole number ≥ 0."""
    value = number(where, value)
    if value != int(value) or value < 0:
        raise InputError(f"{where}={value!r} must be a whole number ≥ 0")
    return int(value)


POSITIVE = {"check": positive}  # metadata of a field; the default is a finite number
OPTIONAL = {"check": optional_number}
WHOLE = {"check": whole}


@dataclass(frozen=True)
class Parameters:
    """Checks every parameter: a finite number, or what the field's ``check`` takes."""

    def __post_init__(self) -> None:
        for f in fields(self):
            check = f.metadata.get("check", number)
            value = check(f"{type(self).__name__}: {f.name}", getattr(self, f.name))
            object.__setattr__(self, f.name, value)

    @property
    def jumps(self) -> tuple[float, ...]:
        """The λ at which the response is discontinuous."""
        return ()
