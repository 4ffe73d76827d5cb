"""Check node numbers: one, or a sequence of them; negative ones count from the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import values_of
from gspnl.errors import InputError


def node_numbers(name: str, value: Any, n: int, least: int = 0) -> np.ndarray:
    """Return node numbers in [0, n) as an array of shape () or (k,), with k ≥ ``least``."""
    empty = isinstance(value, (list, tuple)) and not value
    try:
        chosen = np.zeros(0, int) if empty and not least else values_of(value, name)
    except InputError:
        chosen = np.zeros(0)
    if chosen.dtype.kind not in "iu" or chosen.ndim > 1 or chosen.size < least:
        raise InputError(f"{name}={value!r} must be a node number or a sequence of them")
    if chosen.size and (chosen.min() < -n or chosen.max() >= n):
        raise InputError(f"{name}={value!r} is outside the {n} nodes of this graph")
    return np.asarray(chosen % n)
