"""What a response is: a frozen set of finite numbers that maps λ to g(λ)."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

from gspnl._array import Array
from gspnl.errors import InputError
from gspnl.registry import Registry

Response = Callable[[Array], Array]
R = TypeVar("R")

RESPONSES: Registry[type] = Registry("response")


def response(name: str) -> Callable[[type[R]], type[R]]:
    """Register a response class, as a frozen dataclass whose numbers are finite."""

    def file(cls: type[R]) -> type[R]:
        data: type[R] = dataclass(frozen=True)(cls)
        RESPONSES.register(name)(data)
        return data

    return file


POSITIVE = {"positive": True}  # metadata of a parameter that must be > 0


@dataclass(frozen=True)
class Parameters:
    """Checks that every parameter is a finite number, with the ranges a response declares."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise InputError(f"{type(self).__name__}: {f.name}={value!r} must be a number")
            if not math.isfinite(value):
                raise InputError(f"{type(self).__name__}: {f.name}={value!r} must be finite")
            if f.metadata.get("positive") and value <= 0:
                raise InputError(f"{type(self).__name__}: {f.name}={value!r} must be > 0")

    @property
    def jumps(self) -> tuple[float, ...]:
        """The λ at which the response is discontinuous."""
        return ()
