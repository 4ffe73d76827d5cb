"""Graph signal processing on fully-connected feature graphs.

The public names load on first use, so ``import gspnl`` costs next to nothing and never imports
torch or matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gspnl._base.version import __version__ as __version__

if TYPE_CHECKING:
    from gspnl import chebyshev, errors, plotting, responses, theory
    from gspnl import nn as nn
    from gspnl import train as train
    from gspnl._base.effort import patience, progress
    from gspnl.affinity.approximation import Approximation
    from gspnl.affinity.kernels import KERNELS, Kernel
    from gspnl.chebyshev import Series
    from gspnl.errors import GspnlError
    from gspnl.filters import ChebyshevBank, ChebyshevFilter
    from gspnl.filters.directed import DirectedSpectrum
    from gspnl.filters.partial_spectrum import PartialSpectrum
    from gspnl.filters.spectrum import Spectrum
    from gspnl.graph.as_linear_operator import as_linear_operator
    from gspnl.graph.build import feature_graph
    from gspnl.graph.curl import Curl, curl
    from gspnl.graph.description import Description
    from gspnl.graph.from_linear_operator import from_linear_operator
    from gspnl.graph.from_weights import graph_from_weights
    from gspnl.graph.graph import FeatureGraph
    from gspnl.graph.neighbor_graph import neighbor_graph
    from gspnl.graph.networkx import from_networkx, to_networkx
    from gspnl.graph.pygsp import from_pygsp, to_pygsp
    from gspnl.plotting.comparison import Comparison, compare
    from gspnl.responses import RESPONSES, Response, banks
    from gspnl.responses.banks import BANKS, FilterBank
    from gspnl.signals import images, stability
    from gspnl.signals.choose_response import choose_response
    from gspnl.signals.choose_strength import choose_strength
    from gspnl.signals.denoise import denoise
    from gspnl.signals.energy import dirichlet_energy, local_variation, smoothness
    from gspnl.signals.inpaint import inpaint
    from gspnl.signals.localize import localize
    from gspnl.signals.propagate_labels import PropagatedLabels, propagate_labels
    from gspnl.signals.spectral_clustering import spectral_clustering
    from gspnl.signals.spectral_density import SpectralDensity, spectral_density
    from gspnl.signals.total_variation import total_variation
    from gspnl.signals.transforms import analyze, plan_bank, synthesize

_HOME = {
    "feature_graph": "graph.build",
    "neighbor_graph": "graph.neighbor_graph",
    "patience": "_base.effort",
    "progress": "_base.effort",
    "FeatureGraph": "graph.graph",
    "Curl": "graph.curl",
    "curl": "graph.curl",
    "Description": "graph.description",
    "Approximation": "affinity.approximation",
    "DirectedSpectrum": "filters.directed",
    "Spectrum": "filters.spectrum",
    "PartialSpectrum": "filters.partial_spectrum",
    "spectral_density": "signals.spectral_density",
    "SpectralDensity": "signals.spectral_density",
    "ChebyshevFilter": "filters",
    "ChebyshevBank": "filters",
    "BANKS": "responses.banks",
    "FilterBank": "responses.banks",
    "analyze": "signals.transforms",
    "synthesize": "signals.transforms",
    "plan_bank": "signals.transforms",
    "Series": "chebyshev",
    "compare": "plotting.comparison",
    "Comparison": "plotting.comparison",
    "GspnlError": "errors",
    "Kernel": "affinity.kernels",
    "KERNELS": "affinity.kernels",
    "Response": "responses",
    "RESPONSES": "responses",
    "PropagatedLabels": "signals.propagate_labels",
    "propagate_labels": "signals.propagate_labels",
    "choose_response": "signals.choose_response",
    "choose_strength": "signals.choose_strength",
    "denoise": "signals.denoise",
    "dirichlet_energy": "signals.energy",
    "local_variation": "signals.energy",
    "smoothness": "signals.energy",
    "inpaint": "signals.inpaint",
    "localize": "signals.localize",
    "spectral_clustering": "signals.spectral_clustering",
    "total_variation": "signals.total_variation",
    "graph_from_weights": "graph.from_weights",
    "from_networkx": "graph.networkx",
    "to_networkx": "graph.networkx",
    "from_pygsp": "graph.pygsp",
    "to_pygsp": "graph.pygsp",
    "as_linear_operator": "graph.as_linear_operator",
    "from_linear_operator": "graph.from_linear_operator",
}
_MODULES = {
    "banks": "responses.banks",
    "chebyshev": "chebyshev",
    "errors": "errors",
    "images": "signals.images",
    "nn": "nn",
    "plotting": "plotting",
    "responses": "responses",
    "stability": "signals.stability",
    "theory": "theory",
    "train": "train",
}

__all__ = [
    "BANKS",
    "KERNELS",
    "RESPONSES",
    "Approximation",
    "ChebyshevBank",
    "ChebyshevFilter",
    "Comparison",
    "Curl",
    "Description",
    "DirectedSpectrum",
    "FeatureGraph",
    "FilterBank",
    "GspnlError",
    "Kernel",
    "PartialSpectrum",
    "PropagatedLabels",
    "Response",
    "Series",
    "SpectralDensity",
    "Spectrum",
    "analyze",
    "as_linear_operator",
    "banks",
    "chebyshev",
    "choose_response",
    "choose_strength",
    "compare",
    "curl",
    "denoise",
    "dirichlet_energy",
    "errors",
    "feature_graph",
    "from_linear_operator",
    "from_networkx",
    "from_pygsp",
    "graph_from_weights",
    "images",
    "inpaint",
    "local_variation",
    "localize",
    "neighbor_graph",
    "patience",
    "plan_bank",
    "plotting",
    "progress",
    "propagate_labels",
    "responses",
    "smoothness",
    "spectral_clustering",
    "spectral_density",
    "stability",
    "synthesize",
    "theory",
    "to_networkx",
    "to_pygsp",
    "total_variation",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"gspnl.{_MODULES[name]}")
    if name in _HOME:
        return getattr(importlib.import_module(f"gspnl.{_HOME[name]}"), name)
    raise AttributeError(f"module 'gspnl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
