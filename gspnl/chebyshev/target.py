"""Targets of a fit: a response on an interval, or values ω on a spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate, make_interval, numbers

MAX_ORDER = 100_000  # more than any resolved response needs, and minutes of work


@dataclass(frozen=True, eq=False)
class Target:
    """A response on an interval, or values ω on a spectrum, to which a series is fitted."""

    response: Response | None
    interval: tuple[float, float]
    spectrum: np.ndarray | None = None
    values: np.ndarray | None = None
    multiplicities: np.ndarray | None = None
    probes: np.ndarray | None = None  # further λ at which an expansion is compared with g

    def on(self, x: np.ndarray) -> np.ndarray:
        """Evaluate g at points x of [−1, 1], mapped to the interval."""
        lo, hi = self.interval
        return self.at((lo + hi) / 2 + (hi - lo) / 2 * x)

    def at(self, lam: np.ndarray) -> np.ndarray:
        """Evaluate g at points λ."""
        if self.response is None:
            raise InputError(
                "values ω on a spectrum determine no polynomial elsewhere; use "
                "method='least_squares'"
            )
        return evaluate(self.response, lam)

    def on_spectrum(self) -> np.ndarray:
        """Return g, or ω, at the eigenvalues of the spectrum."""
        assert self.spectrum is not None
        return self.values if self.values is not None else self.at(self.spectrum)

    @property
    def jumps(self) -> bool:
        """Whether the response declares a jump inside the interval."""
        lo, hi = self.interval
        return any(lo <= jump < hi for jump in getattr(self.response, "jumps", ()))


def make_target(response: Any, interval: tuple[float, float], spectrum: Any) -> Target:
    """Check the response, interval and spectrum of a fit."""
    lo, hi = make_interval(interval)
    lam = multiplicities = None
    if spectrum is not None:
        lam = numbers(getattr(spectrum, "eigenvalues", spectrum))
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
    values = numbers(response)
    if lam is None:
        raise InputError("an array of responses needs spectrum=, the eigenvalues it belongs to")
    if values.shape != lam.shape:
        raise InputError(f"{values.shape} responses were given for {lam.shape} eigenvalues")
    if not np.isfinite(values).all():
        raise InputError("the responses ω hold values that are not finite")
    return Target(None, (lo, hi), lam, values, multiplicities)


def check_order(order: Any) -> None:
    """Raise unless ``order`` is a whole number from 0 to :data:`MAX_ORDER`."""
    whole_number("order", order, 0, MAX_ORDER)
