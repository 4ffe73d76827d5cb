"""Evaluate a response at eigenvalues, and check its values and its interval."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gspnl._base.array import to_numpy
from gspnl._base.plain import plain
from gspnl.errors import GspnlError, InputError
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
    own = not (type(response).__module__ or "").startswith("gspnl.")
    if own and isinstance(response, type):
        name = response.__name__
        raise InputError(f"the response is the class {name}; pass an instance, such as {name}(…)")
    try:  # a user's function may write into its argument
        values: Any = response(lam.copy() if own else lam)
    except (GspnlError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"the response {response!r} raised {type(error).__name__}: {error}; its argument is an "
            "array of λ: use np.exp for math.exp, and np.where(λ < 1, …) for if"
        ) from error
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
    if own:
        _check_elementwise(response, lam, values)
    return np.asarray(values)


def _check_elementwise(response: Response, lam: np.ndarray, values: np.ndarray) -> None:
    """Raise where g(λ) depends on the other λ, or on the call, at three of them."""
    flat, found = lam.reshape(-1), values.reshape(-1)
    size = float(np.abs(found).max(initial=0.0))
    for k in sorted({0, flat.size // 2, flat.size - 1}) if flat.size > 1 else ():
        alone = numbers(response(flat[k : k + 1].copy())).reshape(-1)
        if alone.shape != (1,) or not abs(alone[0] - found[k]) <= 1e-9 * size:
            raise InputError(
                f"the response {response!r} does not work elementwise: g({flat[k]:.6g}) is "
                f"{found[k]:.6g} beside other λ and {alone.tolist()} alone; compute each g(λ) from "
                "its λ only"
            )


def numbers(x: Any) -> np.ndarray:
    """Return a scalar, a list or an array of any library as float64 NumPy."""
    if type(x) is np.ndarray and x.dtype.kind in "biuf":
        return x.astype(np.float64)
    if isinstance(x, np.ma.MaskedArray):
        raise InputError("responses are a masked array; fill what is masked first")
    try:
        values = to_numpy(plain(x, "the response"))
        if values.dtype.kind in "biuf":
            return values.astype(np.float64)
    except InputError:
        values = np.asarray(None)
    if values.dtype.kind == "c":
        raise InputError(
            "responses are real, and this one is complex; filter by its real and its imaginary part"
        )
    raise InputError(
        f"{x!r} is no response: pass a callable g(λ), such as gspnl.responses.heat(3.0), that "
        "returns numbers, or an array of one number per eigenvalue"
    )
