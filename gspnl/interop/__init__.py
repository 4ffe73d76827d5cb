"""Other libraries' graphs and operators: from them, and to them."""

from gspnl.interop.given import Given, graph_from_weights
from gspnl.interop.gsp import from_pygsp, to_pygsp
from gspnl.interop.networks import from_networkx, to_networkx
from gspnl.interop.operators import as_linear_operator
from gspnl.interop.products import from_linear_operator

__all__ = [
    "Given",
    "as_linear_operator",
    "from_linear_operator",
    "from_networkx",
    "from_pygsp",
    "graph_from_weights",
    "to_networkx",
    "to_pygsp",
]
