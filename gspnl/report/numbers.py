"""Collect the numbers of a report, for report.json and for the page."""

from __future__ import annotations

import math
import platform
from typing import Any

import numpy as np

from gspnl._base.version import __version__
from gspnl.filters.spectrum import Spectrum
from gspnl.plotting.spectra import multiplicities
from gspnl.report.analysis import Analysis
from gspnl.report.checks import Check
from gspnl.report.clock import Clock, peak_bytes

TARGETS = (1e-1, 1e-2, 1e-3, 1e-6)  # errors; for each, the lowest order certified to it


def collect(
    analysis: Analysis, checks: list[Check], clock: Clock, image: str | None
) -> dict[str, Any]:
    """Return values of strict JSON; numbers that are not finite become None."""
    settings, graph, spectrum = analysis.settings, analysis.graph, analysis.spectrum
    n, found = graph.n_nodes, analysis.segments
    numbers = {
        "gspnl": __version__,
        "command": settings.command(image),
        "seed": settings.seed,
        "photo": {
            "name": analysis.name,
            "width": analysis.shape[1],
            "height": analysis.shape[0],
            "full_width": analysis.full_size[1],
            "full_height": analysis.full_size[0],
        },
        "nodes": n,
        "edges": n * n,
        "features": {
            "colour": settings.colour,
            "position": settings.position,
            "patch": settings.patch,
            "columns": analysis.features.shape[1],
        },
        "kernel": settings.kernel,
        "kernel_options": settings.kernel_options,
        "normalization": graph.normalization,
        "storage": graph.storage,
        "storage_reason": graph.storage_reason,
        "approximation": _approximation(analysis),
        "all_eigenvalues": isinstance(spectrum, Spectrum),
        "rank": rank(analysis),
        "eigenvalues": spectrum.eigenvalues,
        "multiplicities": multiplicities(spectrum),
        "segments": [
            {"share": share, "colour": colour}
            for share, colour in zip(found.shares, found.colours, strict=True)
        ],
        "attention": [_attention(analysis, i) for i in range(len(analysis.nodes))],
        "response": repr(settings.response_function),
        "smoothing": analysis.smoothing,
        "exact_seconds": analysis.table.exact_seconds,
        "orders": [
            {"order": order, "error": error, "bound": bound, "seconds": seconds}
            for order, error, bound, seconds in zip(
                analysis.table.orders, analysis.table.errors, analysis.table.bounds,
                analysis.table.seconds, strict=True,
            )
        ],
        "certified": [{"error": e, "order": _least_order(analysis, e)} for e in TARGETS],
        "checks": [
            {"id": c.id, "claim": c.claim, "value": c.value, "tolerance": c.tolerance,
             "passed": c.passed}
            for c in checks
        ],
        "seconds": {**clock.seconds, "total": clock.total},
        "peak_bytes": peak_bytes(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "machine": platform.platform(terse=True),
    }  # fmt: skip
    return {key: strict(value) for key, value in numbers.items()}


def rank(analysis: Analysis) -> int | None:
    """Numerical rank of A: the number of eigenvalues 1 − λ above 1e-12 in magnitude.

    None where only the lowest eigenvalues are known.
    """
    spectrum = analysis.spectrum
    if not isinstance(spectrum, Spectrum):
        return None
    counted = np.abs(1 - spectrum.eigenvalues) > 1e-12
    return int(spectrum.multiplicities[counted].sum())


def _approximation(analysis: Analysis) -> dict[str, Any] | None:
    """Method, rank, Fourier modes of each axis, and bound of ‖S − Ŝ‖_F, of an approximate graph."""
    found = analysis.graph.approximation
    if found is None:
        return None
    return {
        "method": found.method, "rank": found.rank, "modes": found.modes, "bound": found.bound
    }  # fmt: skip


def strict(value: Any) -> Any:
    """Convert NumPy's numbers and arrays to Python's, and infinities and NaN to None."""
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return strict(value.tolist())
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    if isinstance(value, np.generic):
        return strict(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _attention(analysis: Analysis, i: int) -> dict[str, Any]:
    """A reference pixel, the pixels that hold half of its weight, its largest weight × N."""
    row = analysis.rows[i]
    share = np.cumsum(np.sort(row)[::-1]) / row.sum()
    return {
        "pixel": analysis.pixels[i],
        "half_in": int(np.searchsorted(share, 0.5)) + 1,
        "largest": row.max() * analysis.graph.n_nodes,
    }


def _least_order(analysis: Analysis, error: float) -> int | None:
    """The lowest order compared whose bound is at most ``error``; None if there is none."""
    enough = analysis.table.orders[analysis.table.bounds <= error]
    return int(enough.min()) if enough.size else None
