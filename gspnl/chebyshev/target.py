"""What a series is fitted to, checked: a response, or values ω on a spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._array import to_numpy
from gspnl.errors import InputError
from gspnl.responses import Response


@dataclass(frozen=True, eq=False)
class Target:
    """What a series is fitted to: a response on an interval, or values ω on a given spectrum."""

    response: Response | None
    interval: tuple[float, float]
    spectrum: np.ndarray | None = None
    values: np.ndarray | None = None
    multiplicities: np.ndarray | None = None

    def on(self, x: np.ndarray) -> np.ndarray:
        """G at points x of [−1, 1]."""
        lo, hi = self.interval
        return self.at((lo + hi) / 2 + (hi - lo) / 2 * x)

    def at(self, lam: np.ndarray) -> np.ndarray:
        """G at points λ."""
        return evaluate(self._callable(), lam)

    def on_spectrum(self) -> np.ndarray:
        """g, or ω, at the eigenvalues of the spectrum."""
        assert self.spectrum is not None
        return self.values if self.values is not None else self.at(self.spectrum)

    def _callable(self) -> Response:
        if self.response is None:
            raise InputError(
                "values ω on a spectrum determine no polynomial elsewhere; use "
                "method='least_squares'"
            )
        return self.response


def make_target(response: Any, interval: tuple[float, float], spectrum: Any) -> Target:
    """Check what a fit is asked for."""
    lo, hi = (float(v) for v in interval)
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise InputError(f"interval={interval!r} must be (lo, hi), both finite, with lo < hi")
    lam = multiplicities = None
    if spectrum is not None:
        lam = _numbers(getattr(spectrum, "eigenvalues", spectrum))
        multiplicities = np.asarray(getattr(spectrum, "multiplicities", np.ones(lam.shape)))
        slack = 1e-8 * (hi - lo)
        if lam.ndim != 1 or lam.size == 0 or not np.isfinite(lam).all():
            raise InputError("spectrum must hold a one-dimensional array of finite eigenvalues")
        if lam.min() < lo - slack or lam.max() > hi + slack:
            raise InputError(
                f"the spectrum spans [{lam.min():.6g}, {lam.max():.6g}], outside interval="
                f"({lo:g}, {hi:g}); widen the interval"
            )
    if callable(response):
        return Target(response, (lo, hi), lam, None, multiplicities)
    values = _numbers(response)
    if lam is None:
        raise InputError("an array of responses needs spectrum=, the eigenvalues it belongs to")
    if values.shape != lam.shape:
        raise InputError(f"{values.shape} responses were given for {lam.shape} eigenvalues")
    if not np.isfinite(values).all():
        raise InputError("the responses ω hold values that are not finite")
    return Target(None, (lo, hi), lam, values, multiplicities)


def check_order(order: Any) -> None:
    """Raise unless ``order`` is a whole number ≥ 0."""
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
        raise InputError(f"order={order!r} must be a whole number ≥ 0")


def evaluate(response: Response, lam: np.ndarray) -> np.ndarray:
    """g(λ) in float64; raises, naming the λ, where g is not finite or changes the shape."""
    values = _numbers(response(lam))
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
            f"{values[lam == first].flat[0]}; choose one that is finite on [0, 2]"
        )
    return values


def _numbers(x: Any) -> np.ndarray:
    """A scalar, a list or an array of any library, as float64 NumPy."""
    return np.asarray(x if isinstance(x, (int, float, list, tuple, np.generic)) else to_numpy(x),
                      dtype=np.float64)  # fmt: skip
