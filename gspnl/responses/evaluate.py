"""Evaluate a response at eigenvalues, and check its values and its interval."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gspnl._base.array import is_array, to_numpy
from gspnl.errors import InputError
from gspnl.responses.base import Response


def make_interval(interval: Any) -> tuple[float, float]:
    """Return (lo, hi) as numbers, or raise."""
    try:
        lo, hi = map(float, interval)
    except (TypeError, ValueError):
        lo = hi = math.nan
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise InputError(f"interval={interval!r} must be (lo, hi), both finite, with lo < hi")
    return lo, hi


def evaluate(response: Response, lam: np.ndarray) -> np.ndarray:
    """Return g(λ) in float64; raise, naming the λ, where g is not finite or changes the shape."""
    values: Any = response(lam)
    if type(values) is not np.ndarray or values.dtype != np.float64:
        values = numbers(values)
    if values.shape != lam.shape:
        if values.shape != ():
            raise InputError(
                f"the response returned shape {values.shape} for λ of shape {lam.shape}; "
                "it must work elementwise"
            )
        values = np.full(lam.shape, float(values))
    if not np.isfinite(values).all():
        first = lam[~np.isfinite(values)].flat[0]
        raise InputError(
            f"the response {response!r} is not finite on the spectrum: g({first:.6g}) = "
            f"{values[lam == first].flat[0]}; choose one that is finite there"
        )
    return np.asarray(values)


def numbers(x: Any) -> np.ndarray:
    """Return a scalar, a list or an array of any library as float64 NumPy."""
    if type(x) is np.ndarray and x.dtype.kind in "biuf":
        return x.astype(np.float64)
    try:
        values = np.asarray(to_numpy(x) if is_array(x) else x)
        if values.dtype.kind in "biuf":
            return values.astype(np.float64)
    except ValueError:  # a ragged list
        values = np.asarray(None)
    if values.dtype.kind == "c":
        raise InputError(
            "responses are real, and this one is complex; filter by its real and its imaginary part"
        )
    raise InputError(
        f"{x!r} is no response: pass a callable g(λ), such as gspnl.responses.heat(3.0), that "
        "returns numbers, or an array of one number per eigenvalue"
    )
