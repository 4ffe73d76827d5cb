"""Warn where a graph only averages: its second λ is near 1, so it has no clusters to follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import Array
from gspnl._base.warn import warn
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import AveragingWarning
from gspnl.filters.relative import unit_of
from gspnl.filters.second import second_above
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.sentence import AVERAGING, remedy
from gspnl.responses import Response


def warn_of_averaging(graph: FeatureGraph, what: str, second: float | None = None) -> None:
    """Warn once where λ₂ of one graph is above :data:`AVERAGING`.

    Parameters
    ----------
    graph : FeatureGraph
        One graph with a symmetric core.
    what : str
        Name of the verb.
    second : float, optional
        λ₂, where it is known; else it takes a few products, or cached numbers.
    """
    if graph.caches.warned:
        return
    if second is None:
        found = second_above(graph.caches.single(), AVERAGING)
    else:
        found = second / unit_of(graph.affinity)
    if found is not None and found > AVERAGING:
        _warn(graph, what, found)


def warn_after_smoothing(
    graph: FeatureGraph, what: str, Z: Array, Y: Array, response: Response
) -> None:
    """Warn once where the graph that has smoothed Z to Y = g(L) Z only averages.

    Most graphs with structure are recognised by the two signals alone, without a product. Graphs of
    a batch are judged one by one, up to the first that averages.
    """
    if graph.caches.warned:
        return
    batch = graph.shape[:-2]
    for key in np.ndindex(*batch):
        signals = _one(Z, key), _one(Y, key)
        found = second_above(graph.caches.item(key), AVERAGING, signals, response)
        if found is not None:
            where = f"graph[{', '.join(map(str, key))}] of this batch" if batch else "this one"
            _warn(graph, what, found, where)
            return


def _one(signals: Any, key: tuple[int, ...]) -> Array:
    """Return the signals (N, c) of one graph of a batch, the first where there are many."""
    if signals.ndim == 1:
        return signals[:, None]
    if signals.ndim > 2 and key:
        signals = signals[(*key, ...)]
    while signals.ndim > 2:
        signals = signals[0, ...]
    return signals


def _warn(graph: FeatureGraph, what: str, second: float, where: str = "this one") -> None:
    unit = " of the largest degree" if NORMALIZATIONS[graph.normalization].regular else ""
    warn(
        f"{what} follows the structure of the graph, and {where} only averages: its second λ is "
        f"{second:.2f}{unit} (0 for separate clusters, 1 for none), so the result may say little; "
        f"{remedy(graph.kernel, graph.storage)}",
        AveragingWarning,
    )
    graph.caches.warned = True
