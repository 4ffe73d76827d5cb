"""Graph signal processing on fully-connected feature graphs.

The public names load on first use, so ``import gspnl`` costs next to nothing and never imports
torch or matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gspnl import banks, chebyshev, errors, images, plotting, responses, stability, theory
    from gspnl import nn as nn
    from gspnl import train as train
    from gspnl.approximation import Approximation
    from gspnl.banks import BANKS, FilterBank
    from gspnl.build import feature_graph
    from gspnl.chebyshev import Series
    from gspnl.comparison import Comparison, compare
    from gspnl.density import SpectralDensity, spectral_density
    from gspnl.errors import GspnlError
    from gspnl.filters import ChebyshevBank, ChebyshevFilter
    from gspnl.graph import FeatureGraph
    from gspnl.interop import (
        as_linear_operator,
        from_linear_operator,
        from_networkx,
        from_pygsp,
        graph_from_weights,
        to_networkx,
        to_pygsp,
    )
    from gspnl.kernels import KERNELS, Kernel
    from gspnl.operators import (
        PropagatedLabels,
        choose_strength,
        denoise,
        dirichlet_energy,
        inpaint,
        local_variation,
        localize,
        propagate_labels,
        smoothness,
        spectral_clustering,
        total_variation,
    )
    from gspnl.partial import PartialSpectrum
    from gspnl.responses import RESPONSES, Response
    from gspnl.spectrum import Spectrum
    from gspnl.transforms import analyze, plan_bank, synthesize

__version__ = "0.1.0"

_HOME = {
    "feature_graph": "build",
    "FeatureGraph": "graph",
    "Approximation": "approximation",
    "Spectrum": "spectrum",
    "PartialSpectrum": "partial",
    "spectral_density": "density",
    "SpectralDensity": "density",
    "ChebyshevFilter": "filters",
    "ChebyshevBank": "filters",
    "BANKS": "banks",
    "FilterBank": "banks",
    "analyze": "transforms",
    "synthesize": "transforms",
    "plan_bank": "transforms",
    "Series": "chebyshev",
    "compare": "comparison",
    "Comparison": "comparison",
    "GspnlError": "errors",
    "Kernel": "kernels",
    "KERNELS": "kernels",
    "Response": "responses",
    "RESPONSES": "responses",
    "PropagatedLabels": "operators",
    "choose_strength": "operators",
    "denoise": "operators",
    "dirichlet_energy": "operators",
    "inpaint": "operators",
    "local_variation": "operators",
    "localize": "operators",
    "propagate_labels": "operators",
    "smoothness": "operators",
    "spectral_clustering": "operators",
    "total_variation": "operators",
    "graph_from_weights": "interop",
    "from_networkx": "interop",
    "to_networkx": "interop",
    "from_pygsp": "interop",
    "to_pygsp": "interop",
    "as_linear_operator": "interop",
    "from_linear_operator": "interop",
}
_MODULES = (
    "banks", "chebyshev", "errors", "images", "nn", "plotting", "responses", "stability", "theory",
    "train",
)  # fmt: skip

__all__ = [
    "BANKS",
    "KERNELS",
    "RESPONSES",
    "Approximation",
    "ChebyshevBank",
    "ChebyshevFilter",
    "Comparison",
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
    "choose_strength",
    "compare",
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
    "plan_bank",
    "plotting",
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
        return importlib.import_module(f"gspnl.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"gspnl.{_HOME[name]}"), name)
    raise AttributeError(f"module 'gspnl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
