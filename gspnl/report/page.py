"""The page: numbers and pictures in a template, in one file that needs no other."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from gspnl.report.charts import error_chart, plotly_script, spectrum_chart
from gspnl.report.figures import DPI

PICKED = 10  # orders in the table that stands open


def render(numbers: dict[str, Any], figures: dict[str, bytes]) -> str:
    """Return the HTML. Every number in it is one of ``numbers``, shortened."""
    template = Template((files("gspnl.report") / "template.html").read_text(encoding="utf-8"))
    addresses = {name.replace(".", "_"): _image(png) for name, png in figures.items()}
    # Width and height, so that text is as large in all figures and nothing moves while they load.
    sizes = {name.replace(".png", "_size"): _size(png) for name, png in figures.items()}
    return template.substitute(
        addresses | sizes,
        plotly=plotly_script(),
        spectrum_chart=spectrum_chart(numbers),
        comparison_chart=error_chart(numbers),
        **_texts(numbers),
        **_tables(numbers),
    )


def _texts(numbers: dict[str, Any]) -> dict[str, str]:
    photo, seconds = numbers["photo"], numbers["seconds"]
    name = escape(photo["name"])
    size = f"{photo['width']} × {photo['height']}"
    full = f"{photo['full_width']} × {photo['full_height']}"
    kernel = numbers["kernel"] + "".join(
        f", {key}={value}" for key, value in numbers["kernel_options"].items()
    )
    low = numbers["storage"] == "lowrank"
    return {
        "title": f"{name} as a graph of {numbers['nodes']:,} nodes",
        "lead": f"The {size} pixels of the photo"
        + (f" (scaled down from {full})" if full != size else "")
        + f", joined by all {_power(numbers['edges'])} pairs, were analysed in "
        f"{seconds['total']:.1f} s: the spectrum exactly in {seconds['spectrum']:.1f} s, a filter "
        f"of all colours exactly in {_short(numbers['exact_seconds'])} s, and Chebyshev filters of "
        f"{len(numbers['orders'])} orders with a certified bound on the error of each.",
        "columns": str(numbers["features"]["columns"]),
        "features": _features(numbers["features"]),
        "kernel": escape(kernel),
        "normalization": escape(numbers["normalization"]),
        "storage": "<i>W</i> has low rank and is never stored: everything here costs time and "
        "memory in proportion to the number of nodes." if low else
        "<i>W</i> is stored, pair by pair.",
        "attention_text": "The pixels are " + (
            "those asked for." if "--pixel" in numbers["command"] else
            "the innermost ones of the largest segments."
        ),
        "rank": f"{numbers['rank']:,}",
        "response": escape(numbers["response"]),
        "filter": "It averages over pixels that look alike and lie near, and leaves edges where "
        "they are." if numbers["smoothing"] else "",
        "orders_note": f" ({PICKED} of {len(numbers['orders'])})"
        if len(numbers["orders"]) > PICKED else "",
        "command": escape(numbers["command"]),
        "reproduce": f"gspnl {numbers['gspnl']}, seed {numbers['seed']}, "
        f"Python {numbers['versions']['python']}, NumPy {numbers['versions']['numpy']}, "
        f"{escape(numbers['machine'])}.",
    }  # fmt: skip


def _tables(numbers: dict[str, Any]) -> dict[str, str]:
    photo, orders = numbers["photo"], numbers["orders"]
    peak = numbers["peak_bytes"]
    last = len(orders) - 1
    picked = sorted({round(i * last / (PICKED - 1)) for i in range(PICKED)})
    every = _rows(_order(row) for row in orders)
    return {
        "tiles": "\n".join(
            f"<div><b>{value}</b><span>{label}</span></div>"
            for value, label in (
                (f"{numbers['nodes']:,}", "nodes"),
                (_power(numbers["edges"]), "edges, all pairs"),
                (f"{numbers['seconds']['spectrum']:.1f} s", "exact spectrum"),
                (f"{_short(numbers['exact_seconds'])} s", "exact filter"),
                (f"{numbers['seconds']['total']:.1f} s", "whole analysis"),
                (f"{peak / 2**30:.2f} GiB" if peak else "–", "peak memory"),
            )
        ),
        "facts": _rows(
            (escape(name), f"<td class=n>{value}</td>")
            for name, value in (
                ("photo", f"{photo['width']} × {photo['height']}"),
                ("nodes", f"{numbers['nodes']:,}"),
                ("edges", f"{numbers['edges']:,}"),
                ("features a node", numbers["features"]["columns"]),
                ("rank", f"{numbers['rank']:,}"),
                ("distinct eigenvalues", f"{len(numbers['eigenvalues']):,}"),
                ("storage of W", escape(numbers["storage"])),
            )
        ),
        "times": _rows((name, _n(f"{value:.2f}")) for name, value in numbers["seconds"].items()),
        "segments": "\n".join(
            f"<span>{_swatch(segment['colour'])}{100 * segment['share']:.1f} %</span>"
            for segment in numbers["segments"]
        ),
        "attention": "<table><tr><th>pixel</th><th class=n>pixels that hold half of the weight</th>"
        "<th class=n>largest weight × N</th></tr>"
        + _rows(
            (f"({view['pixel'][0]}, {view['pixel'][1]})", _n(f"{view['half_in']:,}"),
             _n(f"{view['largest']:.1f}"))
            for view in numbers["attention"]
        )
        + "</table>",
        "certified": _rows(
            (_n(f"{row['error']:g}"), _n("none" if row["order"] is None else row["order"]))
            for row in numbers["certified"]
        ),
        "orders": _rows(_order(orders[i]) for i in picked),
        "all_orders": f"<details><summary>All {len(orders)} orders</summary><table><tr>"
        "<th class=n>order</th><th class=n>measured error</th><th class=n>certified bound</th>"
        f"<th class=n>seconds</th></tr>{every}</table></details>" if len(orders) > PICKED else "",
        "checks": _rows(
            (escape(check["claim"]), _n(_science(check["value"])), _n(f"{check['tolerance']:g}"),
             "passed" if check["passed"] else "<td class=fail>failed</td>")
            for check in numbers["checks"]
        ),
    }  # fmt: skip


def _features(scales: dict[str, Any]) -> str:
    parts = [
        ("colour", "its colour in OKLab"),
        ("position", "its position, as a share of the longer side"),
        ("patch", "the colours around it"),
    ]
    return "; ".join(f"{text}, × {scales[key]:g}" for key, text in parts if scales[key])


def _order(row: dict[str, Any]) -> tuple[str, ...]:
    bound = "none" if row["bound"] is None else _science(row["bound"])
    return _n(row["order"]), _n(_science(row["error"])), _n(bound), _n(f"{row['seconds']:.3f}")


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    """Table rows; a cell that brings no <td> of its own gets a plain one."""
    return "\n".join(
        "<tr>"
        + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )


def _n(value: Any) -> str:
    return f"<td class=n>{value}</td>"


def _swatch(colour: list[float]) -> str:
    rgb = ", ".join(str(round(255 * c)) for c in colour)
    return f'<b style="background:rgb({rgb})"></b>'


def _short(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 1 else f"{seconds:.1f}"


def _science(value: float | None) -> str:
    return "–" if value is None else f"{value:.2e}".replace("-", "−")


def _power(count: int) -> str:
    """94371840000 as 9.4 · 10¹⁰."""
    digits = len(str(count)) - 1
    if digits < 6:
        return f"{count:,}"
    raised = str(digits).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{count / 10**digits:.1f} · 10{raised}"


def _size(png: bytes) -> str:
    """The size attributes of a picture; a PNG starts with its signature and an IHDR chunk."""
    width, height = struct.unpack(">II", png[16:24])
    return f'width="{round(width * 96 / DPI)}" height="{round(height * 96 / DPI)}"'


def _image(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
