"""Filter signals of one graph, exactly or by a Chebyshev series."""

from __future__ import annotations

from typing import Any

from gspnl._base.array import Array
from gspnl.errors import InputError
from gspnl.filters.cache import SpectralCache
from gspnl.filters.chebyshev import chebyshev_filter
from gspnl.filters.exact import exact_filter
from gspnl.responses import Response

EXACT = {"method": "interpolate", "deflate": None, "interval": None, "allow_nonsymmetric": False}


def filter_signals(
    cache: SpectralCache, Z: Array, response: Response | Array, options: dict[str, Any]
) -> Array:
    """Filter checked signals (..., N, c): exactly, unless ``options`` has an order or a tol.

    See :meth:`gspnl.FeatureGraph.filter` for the options.
    """
    if options["order"] is not None or options["tol"] is not None:
        return chebyshev_filter(cache, response, **options).apply(Z)
    for name, default in EXACT.items():
        if options[name] is not default and options[name] != default:
            raise InputError(
                "method=, deflate=, interval= and allow_nonsymmetric= belong to a Chebyshev "
                "filter; pass order= or tol= with them"
            )
    return exact_filter(cache, response, Z)
