"""Responses and intervals over λ/s, in which filters of L = s (I − A) are computed.

λ/s lies in [0, 2] on every graph with non-negative weights. s is 1 but for the combinatorial
Laplacian; conversions are made here, where filters are planned and applied, and nowhere below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gspnl.affinity.affinity import Affinity
from gspnl.chebyshev.series import Series
from gspnl.responses import Response
from gspnl.responses.banks import FilterBank
from gspnl.responses.evaluate import evaluate


@dataclass(frozen=True)
class Relative:
    """g as a function of λ/s.

    Parameters
    ----------
    response : callable
        g(λ).
    unit : float
        s.
    """

    response: Response
    unit: float

    def __call__(self, relative: np.ndarray) -> np.ndarray:
        return evaluate(self.response, self.unit * relative)

    @property
    def jumps(self) -> tuple[float, ...]:
        """The λ/s at which g is discontinuous."""
        return tuple(jump / self.unit for jump in getattr(self.response, "jumps", ()))

    def __repr__(self) -> str:
        return repr(self.response)


def unit_of(affinity: Affinity) -> float:
    """Return s of one graph."""
    return 1.0 if affinity.unit is None else float(affinity.unit)


def relative_response(affinity: Affinity, response: Any) -> Any:
    """Return a response as a function of λ/s; values ω, one for each eigenvalue, stay."""
    if affinity.unit is None or not callable(response):
        return response
    return Relative(response, float(affinity.unit))


def relative_bank(affinity: Affinity, bank: FilterBank) -> FilterBank:
    """Return a bank over λ/s."""
    if affinity.unit is None:
        return bank
    return replace(bank, responses=tuple(relative_response(affinity, g) for g in bank.responses))


def relative_series(affinity: Affinity, series: Series) -> Series:
    """Return a series in λ as one in λ/s."""
    if affinity.unit is None:
        return series
    lo, hi = series.interval
    return replace(series, interval=(lo / float(affinity.unit), hi / float(affinity.unit)))
