"""Build the graph of a photo's pixels, and compute its eigenpairs."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from gspnl.affinity.approximation.fourier.transform import check_installed
from gspnl.errors import EffortError, GspnlError, SizeError
from gspnl.filters.partial_spectrum import PartialSpectrum
from gspnl.filters.spectrum import Spectrum
from gspnl.graph.build import feature_graph
from gspnl.graph.graph import FeatureGraph
from gspnl.report.settings import Settings

log = logging.getLogger(__name__)

COLUMNS = 3  # features up to which rbf weights are Fourier sums; beyond, products take too long
EXACT = 2_000  # pixels up to which rbf weights are dense and all eigenpairs are computed
TOLERANCES = (1e-6, 1e-4, 1e-2)  # of ‖S − Ŝ‖; the first that can be certified


def photo_graph(features: np.ndarray, settings: Settings) -> FeatureGraph:
    """Build the graph of features (N, C); rbf of many pixels to a certified tolerance.

    Low rank where it is the cheapest, else a Fourier sum where there are few columns and finufft,
    else exact.
    """
    options = {"normalization": settings.normalization, **settings.kernel_options}
    if settings.kernel == "rbf" and len(features) > EXACT:
        fourier = features.shape[1] <= COLUMNS and _installed()
        for tol in TOLERANCES:
            graph = _approximate(features, tol, fourier, options)
            if graph is not None:
                return graph
    return feature_graph(features, settings.kernel, **options)


def _approximate(
    features: np.ndarray, tol: float, fourier: bool, options: dict[str, Any]
) -> FeatureGraph | None:
    """Return the approximate graph for a tolerance, or None."""
    ways: tuple[dict[str, Any], ...] = ({}, {"approximation": "fourier"})
    for way in ways if fourier else ways[:1]:
        try:
            graph = feature_graph(features, "rbf", tol=tol, **way, **options)
        except GspnlError as error:
            log.info("note: no graph of tolerance %g: %s", tol, error)
            continue
        if graph.storage == "lowrank" or (fourier and graph.storage == "fourier"):
            return graph
    return None


def _installed() -> bool:
    """Tell whether a finufft that serves is installed; log the remedy where it is not."""
    try:
        check_installed()
    except GspnlError as error:
        log.info("note: %s", error)
        return False
    return True


def eigenpairs(graph: FeatureGraph, settings: Settings, lowest: int) -> Spectrum | PartialSpectrum:
    """Compute all eigenpairs, or the ``lowest`` of a Fourier sum."""
    if graph.storage == "fourier":
        return graph.spectrum(k=min(lowest, graph.n_nodes))
    try:
        return graph.spectrum()
    except (SizeError, EffortError) as error:  # their remedies are those of a library call
        raise type(error)(
            f"the report on {graph.n_nodes:,} pixels with kernel={settings.kernel!r}: "
            f"{str(error).partition(';')[0]}; pass a smaller --max-nodes, such as 2000, or "
            "--kernel anchors"
        ) from None
