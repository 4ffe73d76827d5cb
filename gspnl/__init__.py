"""Graph signal processing on fully-connected feature graphs.

The public names load on first use, so ``import gspnl`` costs next to nothing and never imports
torch or matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gspnl import chebyshev, errors, images, plotting, responses
    from gspnl.build import feature_graph
    from gspnl.chebyshev import Series
    from gspnl.comparison import Comparison, compare
    from gspnl.errors import GspnlError
    from gspnl.filters import ChebyshevFilter
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
    from gspnl.responses import RESPONSES, Response
    from gspnl.spectrum import Spectrum

__version__ = "0.1.0"

_HOME = {
    "feature_graph": "build",
    "FeatureGraph": "graph",
    "Spectrum": "spectrum",
    "ChebyshevFilter": "filters",
    "Series": "chebyshev",
    "compare": "comparison",
    "Comparison": "comparison",
    "GspnlError": "errors",
    "Kernel": "kernels",
    "KERNELS": "kernels",
    "Response": "responses",
    "RESPONSES": "responses",
    "graph_from_weights": "interop",
    "from_networkx": "interop",
    "to_networkx": "interop",
    "from_pygsp": "interop",
    "to_pygsp": "interop",
    "as_linear_operator": "interop",
    "from_linear_operator": "interop",
}
_MODULES = ("chebyshev", "errors", "images", "plotting", "responses")

__all__ = [
    "KERNELS",
    "RESPONSES",
    "ChebyshevFilter",
    "Comparison",
    "FeatureGraph",
    "GspnlError",
    "Kernel",
    "Response",
    "Series",
    "Spectrum",
    "as_linear_operator",
    "chebyshev",
    "compare",
    "errors",
    "feature_graph",
    "from_linear_operator",
    "from_networkx",
    "from_pygsp",
    "graph_from_weights",
    "images",
    "plotting",
    "responses",
    "to_networkx",
    "to_pygsp",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"gspnl.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"gspnl.{_HOME[name]}"), name)
    raise AttributeError(f"module 'gspnl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
