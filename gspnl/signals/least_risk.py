"""Search for the strength of least Monte-Carlo risk, several strengths by one recurrence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gspnl.chebyshev.series import Family, Series
from gspnl.errors import ConvergenceError
from gspnl.filters.exact import resolved_series
from gspnl.filters.relative import Relative
from gspnl.responses import Response
from gspnl.signals.risk import Risk

# log2 of the strengths times s: groups that share a recurrence, in the order of its length.
GROUPS = (np.arange(-6, 1), np.arange(1, 5), np.arange(5, 8), np.arange(8, 11))
BEYOND = 2  # strengths of higher risk after which the search ends
CLOSE = 1e-5  # error of a response


def least_risk(risk: Risk, smoother: Callable[[float], Response], unit: float) -> float:
    """Return the strength of least risk between 2⁻⁶ and 2¹⁰, divided by ``unit``.

    The risk is computed at powers of 2, and its minimum is that of the parabola through the best
    three, over the logarithm of the strength.
    """
    logs, risks = np.zeros(0), np.zeros(0)
    for group in GROUPS:
        members = [Relative(smoother(2.0**log / unit), unit) for log in group]
        risks = np.append(risks, risk(Family.of([_series(g) for g in members])))
        logs = np.append(logs, group)
        if int(np.argmin(risks)) < len(risks) - BEYOND:
            break
    best = int(np.argmin(risks))
    log = float(logs[best])
    if 0 < best < len(risks) - 1:
        low, middle, high = risks[best - 1 : best + 2]
        log += float(low - high) / (2 * float(low - 2 * middle + high))
    return float(2.0**log) / unit


def _series(response: Response) -> Series:
    """Expand a response over λ/s, and cut the series where the rest is small."""
    series = resolved_series(response, (0.0, 2.0))
    if series is None:
        raise ConvergenceError(f"{response!r} does not resolve into a series of moderate length")
    c = series.coefficients
    tails = np.cumsum(np.abs(c[::-1]))[::-1]
    return replace(series, coefficients=c[: max(int((tails > CLOSE).sum()), 1)])
