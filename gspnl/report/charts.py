"""Interactive charts of the page: the data and layout that plotly.js draws."""

from __future__ import annotations

import base64
from typing import Any

from gspnl.errors import MissingExtraError

BLUE, ORANGE = "#0072B2", "#D55E00"
LAYOUT = {
    "template": None,
    "margin": {"l": 70, "r": 20, "t": 10, "b": 55},
    "height": 380,
    "font": {"family": "system-ui, sans-serif", "size": 14, "color": "#222"},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "legend": {"x": 0.98, "y": 0.98, "xanchor": "right", "bgcolor": "rgba(255,255,255,0.8)"},
}
AXIS = {"gridcolor": "#e3e3e3", "zeroline": False, "linecolor": "#666", "ticks": "outside"}


def plotly_script() -> str:
    """Return plotly.js as a data: URL, so that the page loads no other file."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(
            "a report needs plotly, which is not installed: pip install 'gspnl[report]'"
        ) from error
    code = base64.b64encode(get_plotlyjs().encode()).decode()
    return f"data:text/javascript;charset=utf-8;base64,{code}"


def spectrum_chart(numbers: dict[str, Any]) -> list[Any]:
    """Plot the eigenvalues λ in ascending order; hovering shows the multiplicity."""
    lam, counts = numbers["eigenvalues"], numbers["multiplicities"]
    traces = []
    for name, many, colour, symbol, size in (
        ("single", False, BLUE, "circle", 7), ("repeated", True, ORANGE, "diamond", 11)
    ):  # fmt: skip
        at = [i for i, count in enumerate(counts) if (count > 1) == many]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [i + 1 for i in at],
                "y": [lam[i] for i in at],
                "customdata": [counts[i] for i in at],
                "marker": {"color": colour, "symbol": symbol, "size": size},
                "hovertemplate": "number %{x}<br>λ = %{y:.6f}<br>%{customdata:,} ×<extra></extra>",
            }
        )
    return _chart(
        traces,
        {"title": {"text": "number of the eigenvalue, repeated ones counted once"}},
        {"title": {"text": "eigenvalue λ"}},
        legend={**LAYOUT["legend"], "y": 0.02, "yanchor": "bottom"},  # type: ignore[dict-item]
    )


def error_chart(numbers: dict[str, Any]) -> list[Any]:
    """Plot measured error and certified bound against the order; hovering shows the seconds."""
    rows = numbers["orders"]
    traces = []
    for name, key, colour, dash in (
        ("certified bound", "bound", ORANGE, "dash"), ("measured error", "error", BLUE, "solid")
    ):  # fmt: skip
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [row["order"] for row in rows],
                "y": [row[key] or None for row in rows],  # a logarithmic axis has no 0
                "customdata": [row["seconds"] for row in rows],
                "line": {"color": colour, "dash": dash},
                "marker": {"color": colour, "size": 7},
                "hovertemplate": f"order %{{x}}<br>{name} %{{y:.3e}}<br>"
                "%{customdata:.3f} s<extra></extra>",
            }
        )
    return _chart(
        traces,
        {"title": {"text": "Chebyshev order K"}},
        {"title": {"text": "relative error"}, "type": "log", "exponentformat": "power"},
    )


def _chart(
    traces: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], **layout: Any
) -> list[Any]:
    """The arguments of ``Plotly.newPlot`` after the element: traces, layout and options."""
    full = {**LAYOUT, "xaxis": {**AXIS, **x}, "yaxis": {**AXIS, **y}, **layout}
    options = {"responsive": True, "displayModeBar": False}
    return [traces, full, options]
