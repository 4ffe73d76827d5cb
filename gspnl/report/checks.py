"""Check the numbers of a report, each against a second way to compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl.filters.partial_spectrum import PartialSpectrum
from gspnl.report.analysis import Analysis

TOLERANCE = 1e-10  # rounding of float64 over the nodes of a photo is near 1e-13
SEARCHED = 1e-7  # of eigenpairs that are searched for to residuals of 1e-10, in the norm ‖T⁻¹ · ‖


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
        Check(name, claim, value, TOLERANCES.get(name, _plain)(analysis))
        for name, claim, measure in CHECKS
        if (value := measure(analysis)) is not None
    ]


def _eigenpairs(analysis: Analysis) -> float:
    u = analysis.modes
    residual = analysis.graph.laplacian(u) - u * analysis.mode_values
    return float((np.linalg.norm(residual, axis=0) / np.linalg.norm(u, axis=0)).max())


def _two_routes(analysis: Analysis) -> float | None:
    signals, spectrum = analysis.signals, analysis.spectrum
    if isinstance(spectrum, PartialSpectrum):
        return None
    gains = np.broadcast_to(
        analysis.settings.response_function(spectrum.eigenvalues), spectrum.eigenvalues.shape
    )
    gap = spectrum.filter(signals, gains) - analysis.smooth
    size = np.linalg.norm(signals) or 1.0  # a black photo is a signal of 0
    return float(np.linalg.norm(gap) / (size * max(np.abs(gains).max(), 1.0)))


def _on_modes(analysis: Analysis) -> float | None:
    spectrum = analysis.spectrum
    if not isinstance(spectrum, PartialSpectrum):
        return None
    gains = np.asarray(analysis.settings.response_function(spectrum.eigenvalues))
    before, after = spectrum.gft(analysis.signals), spectrum.gft(analysis.smooth)
    size = np.linalg.norm(before) or 1.0
    gap = np.linalg.norm(after - np.reshape(gains, (-1, 1)) * before)
    return float(gap / (size * max(np.abs(gains).max(), 1.0)))


def _rows(analysis: Analysis) -> float | None:
    if analysis.graph.normalization not in ("random_walk", "bistochastic"):
        return None
    return float(np.abs(analysis.rows.sum(axis=1) - 1).max())


def _certificate(analysis: Analysis) -> float:
    # The exact filter, against which errors are measured, has rounding errors of its own.
    return float((analysis.table.errors - analysis.table.bounds).max())


def _plain(analysis: Analysis) -> float:
    return TOLERANCE


def _of_pairs(analysis: Analysis) -> float:
    return SEARCHED if isinstance(analysis.spectrum, PartialSpectrum) else TOLERANCE


def _of_rows(analysis: Analysis) -> float:
    """Add what degrees of a Fourier sum are off, whose rows are those of exact weights."""
    found = analysis.graph.approximation
    if found is None or found.method != "fourier":
        return TOLERANCE
    # For rbf each entry of W is off by at most trace_error, hence row i by l_i Σ_j r_j times it.
    affinity = analysis.graph.affinity
    left = np.asarray(affinity.left)
    right = len(left) if affinity.right is None else float(affinity.right.sum())
    return TOLERANCE + float(found.trace_error * left[analysis.nodes].max() * right)


CHECKS: tuple[tuple[str, str, Callable[[Analysis], float | None]], ...] = (
    ("eigenpairs", "the modes shown satisfy L u = λ u: largest ‖L u − λ u‖ / ‖u‖", _eigenpairs),
    (
        "two-routes",
        "the exact filter equals U g(Λ) U⁻¹ Z: relative difference of the two routes",
        _two_routes,
    ),
    (
        "on-modes",
        "the exact filter multiplies each mode shown by g(λ): relative difference of coefficients",
        _on_modes,
    ),
    ("rows", "attention is a weighted mean: largest deviation of a row sum of A from 1", _rows),
    (
        "certificate",
        "no Chebyshev filter errs more than it certifies: largest error − bound",
        _certificate,
    ),
)

TOLERANCES: dict[str, Callable[[Analysis], float]] = {
    "eigenpairs": _of_pairs,
    "on-modes": _of_pairs,
    "rows": _of_rows,
}
