"""Checks of the numbers that verbs on a graph take."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from gspnl.errors import InputError


def amount(value: Any, name: str, *, positive: bool = False) -> float:
    """Return a finite number ≥ 0 (or > 0), or raise."""
    right = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not right or not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise InputError(f"{name}={value!r} must be a finite number {'> 0' if positive else '≥ 0'}")
    return float(value)


def whole(value: Any, name: str, least: int, most: float = math.inf, why: str = "") -> int:
    """Return a whole number in a range, or raise."""
    right = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not right or not least <= value <= most:
        upper = "" if most == math.inf else f" and at most {most:g}{why}"
        raise InputError(f"{name}={value!r} must be a whole number, at least {least}{upper}")
    return int(value)
