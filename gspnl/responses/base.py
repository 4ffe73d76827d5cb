"""Base class and registry of responses, whose parameters are checked and immutable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

import numpy as np

from gspnl._base.array import Array
from gspnl._base.registry import Registry
from gspnl._base.validate import number, whole_number

Response = Callable[[Array], Array]
R = TypeVar("R")

RESPONSES: Registry[type] = Registry("response")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def response(name: str) -> Callable[[type[R]], type[R]]:
    """Register a response class as a frozen dataclass with checked parameters."""

    def file(cls: type[R]) -> type[R]:
        data: type[R] = dataclass(frozen=True)(cls)
        RESPONSES.register(name)(data)
        return data

    return file


def parameter(where: str, value: Any, **bounds: float) -> Any:
    """Check a finite number; integers stay integers, NumPy scalars become Python numbers."""
    value = value.item() if isinstance(value, np.generic) else value
    number(where, value, **bounds)
    return value


def positive(where: str, value: Any) -> Any:
    """Check that a parameter is > 0."""
    return parameter(where, value, above=0)


def optional_number(where: str, value: Any) -> Any:
    """Check that a parameter is a finite number, or None."""
    return None if value is None else parameter(where, value)


def whole(where: str, value: Any) -> int:
    """Check that a parameter is a whole number ≥ 0; floats such as 3.0 become integers."""
    integral = isinstance(value, (float, np.floating)) and value.is_integer()
    return whole_number(where, int(value) if integral else value)


POSITIVE = {"check": positive}  # metadata of a field; without it any finite number passes
OPTIONAL = {"check": optional_number}
WHOLE = {"check": whole}


@dataclass(frozen=True)
class Parameters:
    """Base class of responses: a parameter is a finite number, or passes its field's ``check``."""

    def __post_init__(self) -> None:
        for f in fields(self):
            check = f.metadata.get("check", parameter)
            value = check(f"{type(self).__name__}: {f.name}", getattr(self, f.name))
            object.__setattr__(self, f.name, value)

    @property
    def jumps(self) -> tuple[float, ...]:
        """The λ at which the response is discontinuous."""
        return ()
