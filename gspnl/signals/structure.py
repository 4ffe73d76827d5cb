"""Warn where a graph only averages: its second λ is near 1, so it has no clusters to follow."""

from __future__ import annotations

import warnings

from gspnl.affinity.kernels import Exponential
from gspnl.errors import AveragingWarning
from gspnl.filters.deflation.recurrence import lower_end
from gspnl.graph.graph import FeatureGraph

AVERAGING = 0.8  # λ₂ above which every mode but the constant one nearly vanishes in a product


def warn_of_averaging(graph: FeatureGraph, what: str, second: float | None = None) -> None:
    """Warn where λ₂ of one graph is above :data:`AVERAGING`; a few products, or cached numbers."""
    second = _second(graph) if second is None else second
    if second <= AVERAGING:
        return
    remedy = (
        "build it with a smaller sigma= or temperature=, near the distance of neighbours"
        if isinstance(graph.kernel, Exponential)
        else "build it with kernel='rbf' and sigma= near the distance of neighbouring features"
    )
    warnings.warn(
        f"{what} follows the structure of the graph, and this one only averages: its second λ is "
        f"{second:.2f} (0 for separate clusters, 1 for none), so its result says little; {remedy}",
        AveragingWarning,
        stacklevel=4,  # past takes_progress
    )


def _second(graph: FeatureGraph) -> float:
    cache = graph.caches.single()
    if cache.affinity.low_rank is not None:
        return cache.deflation(1).ends[0]
    return lower_end(cache.affinity, AVERAGING)
