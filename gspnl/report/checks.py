"""Check the numbers of a report, each against a second way to compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl.report.analysis import Analysis

TOLERANCE = 1e-10  # rounding of float64 over the nodes of a photo is near 1e-13


@dataclass(frozen=True)
class Check:
    """A claim, a number that is 0 or less in exact arithmetic, and its tolerance."""

    id: str
    claim: str
    value: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the number is at most the tolerance; a NaN fails."""
        return bool(self.value <= self.tolerance)


def run_checks(analysis: Analysis) -> list[Check]:
    """Run the checks that apply to this graph."""
    return [
        Check(name, claim, value, TOLERANCE)
        for name, claim, measure in CHECKS
        if (value := measure(analysis)) is not None
    ]


def _eigenpairs(analysis: Analysis) -> float:
    u = analysis.modes
    residual = analysis.graph.laplacian(u) - u * analysis.mode_values
    return float((np.linalg.norm(residual, axis=0) / np.linalg.norm(u, axis=0)).max())


def _two_routes(analysis: Analysis) -> float:
    signals, spectrum = analysis.signals, analysis.spectrum
    gains = np.broadcast_to(
        analysis.settings.response_function(spectrum.eigenvalues), spectrum.eigenvalues.shape
    )
    gap = spectrum.filter(signals, gains) - analysis.smooth
    size = np.linalg.norm(signals) or 1.0  # a black photo is a signal of 0
    return float(np.linalg.norm(gap) / (size * max(np.abs(gains).max(), 1.0)))


def _rows(analysis: Analysis) -> float | None:
    if analysis.graph.normalization not in ("random_walk", "bistochastic"):
        return None
    return float(np.abs(analysis.rows.sum(axis=1) - 1).max())


def _certificate(analysis: Analysis) -> float:
    # The exact filter, against which errors are measured, has rounding errors of its own.
    return float((analysis.table.errors - analysis.table.bounds).max())


CHECKS: tuple[tuple[str, str, Callable[[Analysis], float | None]], ...] = (
    ("eigenpairs", "the modes shown satisfy L u = λ u: largest ‖L u − λ u‖ / ‖u‖", _eigenpairs),
    (
        "two-routes",
        "the exact filter equals U g(Λ) U⁻¹ Z: relative difference of the two routes",
        _two_routes,
    ),
    ("rows", "attention is a weighted mean: largest deviation of a row sum of A from 1", _rows),
    (
        "certificate",
        "no Chebyshev filter errs more than it certifies: largest error − bound",
        _certificate,
    ),
)
