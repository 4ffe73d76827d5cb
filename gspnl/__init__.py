"""Graph signal processing on fully-connected feature graphs.

The public names load on first use, so ``import gspnl`` costs next to nothing and never imports
torch or matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gspnl import chebyshev, errors, images, plotting, responses
    from gspnl.approximation import Approximation
    from gspnl.build import feature_graph
    from gspnl.chebyshev import Series
    from gspnl.comparison import Comparison, compare
    from gspnl.density import SpectralDensity, spectral_density
    from gspnl.errors import GspnlError
    from gspnl.filters import ChebyshevFilter
    from gspnl.graph import FeatureGraph
    from gspnl.kernels import KERNELS, Kernel
    from gspnl.partial import PartialSpectrum
    from gspnl.responses import RESPONSES, Response
    from gspnl.spectrum import Spectrum

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
    "Series": "chebyshev",
    "compare": "comparison",
    "Comparison": "comparison",
    "GspnlError": "errors",
    "Kernel": "kernels",
    "KERNELS": "kernels",
    "Response": "responses",
    "RESPONSES": "responses",
}
_MODULES = ("chebyshev", "errors", "images", "plotting", "responses")

__all__ = [
    "KERNELS",
    "RESPONSES",
    "Approximation",
    "ChebyshevFilter",
    "Comparison",
    "FeatureGraph",
    "GspnlError",
    "Kernel",
    "PartialSpectrum",
    "Response",
    "Series",
    "SpectralDensity",
    "Spectrum",
    "chebyshev",
    "compare",
    "errors",
    "feature_graph",
    "images",
    "plotting",
    "responses",
    "spectral_density",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"gspnl.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"gspnl.{_HOME[name]}"), name)
    raise AttributeError(f"module 'gspnl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
