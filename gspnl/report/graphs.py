"""Build the graph of a photo's pixels, and compute its eigenpairs."""

from __future__ import annotations

import logging

import numpy as np

from gspnl.affinity.approximation.fourier.transform import check_installed
from gspnl.errors import EffortError, GspnlError, InputError, SizeError
from gspnl.filters.partial_spectrum import PartialSpectrum
from gspnl.filters.spectrum import Spectrum
from gspnl.graph.build import feature_graph
from gspnl.graph.graph import FeatureGraph
from gspnl.report.settings import Settings

log = logging.getLogger(__name__)

COLUMNS = 3  # features that rbf weights take as Fourier sums
EXACT = 2_000  # pixels up to which rbf weights are dense and all eigenpairs are computed
TOLERANCES = (1e-6, 1e-4, 1e-2)  # of a Fourier sum; the first that can be certified


def photo_graph(features: np.ndarray, settings: Settings) -> FeatureGraph:
    """Build the graph of features (N, C); rbf in few columns as a Fourier sum, with finufft."""
    n, columns = features.shape
    options = {"normalization": settings.normalization, **settings.kernel_options}
    if settings.kernel == "rbf" and columns <= COLUMNS and n > EXACT and _installed():
        refused = ""
        for tol in TOLERANCES:
            try:
                return feature_graph(features, "rbf", approximation="fourier", tol=tol, **options)
            except (InputError, SizeError) as error:
                refused = str(error)
        log.info("note: exact weights, since a Fourier sum was refused: %s", refused)
    return feature_graph(features, settings.kernel, **options)


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
