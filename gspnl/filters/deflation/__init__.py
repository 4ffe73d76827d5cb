r"""A graph with its smallest λ set aside, and the narrow band in which the others lie.

The spectrum of a fully-connected graph is {0} and a band near 1. A polynomial on [0, 2] spends its
order on the gap between; here the modes below the band are filtered exactly and the recurrence runs
on the operator without them, :math:`S - \sum_i μ_i v_i v_i^T`, over the band's own interval.
"""

from __future__ import annotations

from functools import singledispatch

from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights import LowRank, Weights
from gspnl.filters.deflation.base import Deflated
from gspnl.filters.deflation.lowrank import OnePass
from gspnl.filters.deflation.recurrence import Recurrence, clenshaw, combine, recurrence

__all__ = [
    "Deflated",
    "OnePass",
    "Recurrence",
    "clenshaw",
    "combine",
    "deflate",
    "recurrence",
]


@singledispatch
def deflate(weights: Weights, affinity: Affinity, count: int) -> Deflated:
    """Set aside the ``count`` modes of least λ (0: none) of one graph held as ``weights``."""
    return Recurrence.of(affinity, count)


@deflate.register
def _(weights: LowRank, affinity: Affinity, count: int) -> Deflated:
    return OnePass.of(affinity, weights, count)
