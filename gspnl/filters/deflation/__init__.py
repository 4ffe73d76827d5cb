r"""Deflation of the modes of least λ: exact filters on them, a series on the others.

The spectrum of a fully-connected graph is {0} and a band near 1. A polynomial on [0, 2] spends its
order on the gap between them. With the modes below the band filtered exactly, the
recurrence runs on the operator without them, :math:`S - \sum_i μ_i v_i v_i^T`, over the interval
of the band.
"""

from __future__ import annotations

from gspnl._base.blas import on_one_thread
from gspnl.affinity.affinity import Affinity
from gspnl.filters.deflation.base import Deflation
from gspnl.filters.deflation.lowrank import LowRankDeflation
from gspnl.filters.deflation.recurrence import RecurrenceDeflation

__all__ = ["Deflation", "LowRankDeflation", "RecurrenceDeflation", "deflate"]


@on_one_thread
def deflate(affinity: Affinity, count: int) -> Deflation:
    """Deflate the ``count`` modes of least λ of one graph (0: none)."""
    weights = affinity.low_rank
    if weights is not None:
        return LowRankDeflation.of(affinity, weights, count)
    return RecurrenceDeflation.of(affinity, count)
