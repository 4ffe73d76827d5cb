"""Show a graph in a notebook: its description where that is cheap, else what is known at once."""

from __future__ import annotations

from typing import Any

from gspnl._base.effort import clock, rate
from gspnl.graph.describe import operations
from gspnl.graph.description import Description, html_table, storage_cell

CHEAP = 1.5e10  # operations, about half a second, that the display of a graph may take


def glance(graph: Any, known: Description | None) -> str:
    """Return the HTML table of a graph: all numbers where they are known or cheap.

    It never raises, so that a cell of a notebook always shows the graph.
    """
    left = "graph.describe() computes the rest"
    try:
        if known is None and not graph.shape[:-2]:
            known, seconds = _if_cheap(graph)
            left += f" (about {seconds})" if seconds else ""
    except Exception as error:  # the display of a graph must not hide the graph
        left = f"graph.describe() raises {type(error).__name__}: {error}"
    if known is not None:
        return known._repr_html_()
    batch = graph.shape[:-2]
    size = f"{' × '.join(map(str, batch))} graphs of " if batch else ""
    table = [
        ("nodes", f"{size}{graph.n_nodes:,}"),
        ("kernel", str(graph.kernel)),
        ("normalization", graph.normalization),
        ("storage", storage_cell(graph.storage, graph.storage_reason)),
    ]
    return html_table(table, "graph[i].describe() describes one of them." if batch else f"{left}.")


def _if_cheap(graph: Any) -> tuple[Description | None, str]:
    """Return the description, or None and the time that it would take."""
    weights = graph.weights
    if graph.storage == "operator":
        return None, ""  # the products of a user take as long as they take
    fresh = "affinity" not in vars(graph)
    first = weights.operations(1) * (2 + 50 * (graph.normalization == "bistochastic"))
    if fresh and first > CHEAP:
        cost = first + 24 * weights.operations(8)
        return None, clock(max(1.0, cost / rate()))
    cost = operations(graph.affinity, graph.storage) + fresh * first
    if cost > CHEAP:
        return None, clock(max(1.0, cost / rate()))
    return graph.describe(), ""
