"""Describe one graph in numbers: least eigenvalues, degrees, reach, components and storage."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import Array, constant64
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.kernels import Kernel
from gspnl.errors import DegreeError
from gspnl.filters.cache import SpectralCache
from gspnl.filters.low_end import EDGE, LowEnd, low_end, low_end_operations
from gspnl.filters.relative import unit_of
from gspnl.graph.degrees import degrees_of
from gspnl.graph.description import Description
from gspnl.graph.measures import (
    component_modes,
    components_of,
    edges_of,
    reach_of,
    rows_taken,
)
from gspnl.graph.sentence import ALONE, CONNECTED, sentence

ENTRY = 500  # operations of a matrix product in the time of one entry of a row and its logarithm
MOST = 64  # components up to which their modes are taken out of a Lanczos run
APART = 0.1, 2.0  # difference and ratio of λ/s behind groups that stand apart
FAR, FLOOR = 10.0, 1e-6  # ratio alone that shows groups (4 on a path), and the least λ/s for it


def describe(
    cache: SpectralCache,
    log_degrees: Array,
    kernel: Kernel,
    storage: str,
    normalization: str,
    storage_reason: str,
) -> Description:
    """Describe one graph, see :meth:`gspnl.FeatureGraph.describe`."""
    affinity = cache.affinity
    isolated = int(np.isneginf(constant64(log_degrees)).sum())
    degrees, ratio = _degrees(affinity, constant64(log_degrees))
    labels = components_of(affinity, storage == "dense")
    edges = edges_of(affinity, storage == "dense" and hasattr(kernel, "signed"))
    reach, own = reach_of(affinity)
    facts: dict[str, Any] = {
        "nodes": affinity.n_nodes,
        "edges": "all pairs" if edges is None else edges,
        "kernel": str(kernel),
        "normalization": normalization,
        "storage": storage,
        "storage_reason": storage_reason,
        "components": None if labels is None else int(labels.max()) + 1,
        "largest_component": None if labels is None else int(np.bincount(labels).max()),
        "isolated": isolated,
        "degrees": degrees,
        "degree_ratio": ratio,
        "effective_neighbors": reach,
        "self_weight": own,
    }
    second = None
    if affinity.symmetric_core:
        second = _spectral(cache, labels, facts)
    text = sentence(Description(**facts), kernel, second, symmetric=affinity.symmetric_core)
    return Description(**facts, sentence=text)


def _degrees(affinity: Affinity, logs: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """Return the least, median and largest degree above 0, and the largest by the least."""
    logs = np.sort(logs[~np.isneginf(logs)])
    if not len(logs):
        return (0.0, 0.0, 0.0), 1.0
    with np.errstate(over="ignore", under="ignore"):
        ratio = float(np.exp(logs[-1] - logs[0]))
        try:
            d = constant64(degrees_of(affinity))
            d = d[d > 0]
        except DegreeError:  # beyond the range of the dtype, not of float64
            d = np.exp(logs)
        return (float(d.min()), float(np.median(d)), float(d.max())), ratio


def _spectral(cache: SpectralCache, labels: np.ndarray | None, facts: dict[str, Any]) -> Any:
    """Add the eigenvalues to the facts; returns λ₂/s, or None for fewer than two live nodes."""
    affinity, unit = cache.affinity, unit_of(cache.affinity)
    modes = None
    if labels is not None:
        live = facts["components"] - facts["isolated"]
        if live > MOST:
            facts.update(second=0.0, small_eigenvalues=live, small_exact=False)
            return 0.0
        modes = component_modes(affinity, labels)
    low = low_end(cache, modes)
    facts["small_eigenvalues"], facts["small_exact"] = low.below(CONNECTED)
    if len(low.values) < 2:
        return None
    rest = np.sort(low.values[1:])
    second = float(rest[0])
    facts["second"] = unit * second
    facts["second_error"] = unit * float(low.errors[1:][np.argmin(low.values[1:])])
    found = _gap(low)
    if found is not None:
        k, size, apart = found
        facts["gap"] = unit * size
        facts["groups"] = k if apart and facts["self_weight"] <= ALONE else None
    return second


def _gap(low: LowEnd) -> tuple[int, float, bool] | None:
    """Return (k, λ_(k+1) − λ_k, whether it stands apart) of the gap behind the groups, if any.

    It is the largest difference up to the edge; where that is small, the largest ratio of
    neighbours among the small eigenvalues.
    """
    order = np.argsort(low.values[: low.settled])
    known, errors = low.values[order], low.errors[order]
    if len(known) < 2:
        return None
    steps = np.where(known[:-1] <= EDGE, np.diff(known), -1.0)
    k = int(np.argmax(steps))
    if low.whole and steps[k] >= APART[0] and known[k + 1] >= APART[1] * known[k]:
        return k + 1, float(steps[k]), True
    ratios = (known[1:] - errors[1:]) / np.maximum(known[:-1], FLOOR)
    ratios[(known[:-1] > CONNECTED) | (np.arange(len(ratios)) == 0)] = 0.0
    far = int(np.argmax(ratios))
    if ratios[far] >= FAR:
        return far + 1, float(steps[far]), True
    return (k + 1, float(steps[k]), False) if low.whole else None


def operations(affinity: Affinity, storage: str) -> float:
    """Count the operations of a description at most, in units of matrix products."""
    n, product = affinity.n_nodes, affinity.weights.operations(1)
    rows = rows_taken(n, n) * float(n) * ENTRY
    searched = ENTRY / 10 * float(n) ** 2 if storage == "dense" else ENTRY * float(n)
    least = low_end_operations(affinity) if affinity.symmetric_core else 0.0
    return product + rows + searched + least
