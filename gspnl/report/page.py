"""Render the HTML page of a report: one file that loads no other."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

from gspnl.errors import MissingExtraError
from gspnl.report.charts import error_chart, plotly_script, spectrum_chart
from gspnl.report.figures import DPI

if TYPE_CHECKING:
    from jinja2 import Environment

PICKED = 10  # orders in the table that is always open
FEATURES = {
    "colour": "its colour in OKLab",
    "position": "its position, as a fraction of the longer side",
    "patch": "the colours around it",
}


def render(numbers: dict[str, Any], figures: dict[str, bytes]) -> str:
    """Return the HTML. Every number in it is one of ``numbers``, rounded.

    Parameters
    ----------
    numbers : dict
        Of :func:`gspnl.report.numbers.collect`.
    figures : dict
        File name → PNG.

    Raises
    ------
    MissingExtraError
        Without Jinja or plotly.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(
        numbers,
        pictures={name: _picture(png) for name, png in figures.items()},
        charts={"spectrum": spectrum_chart(numbers), "comparison": error_chart(numbers)},
        plotly=plotly_script(),
        feature_names=FEATURES,
        picked=_picked(numbers["orders"]),
        pixels_given="--pixel" in numbers["command"],
    )


def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError(
            "a report needs Jinja, which is not installed: pip install 'gspnl[report]'"
        ) from error
    environment = Environment(
        loader=PackageLoader("gspnl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters |= {
        "thousands": "{:,}".format,
        "short": _short,
        "scientific": _scientific,
        "power": _power,
        "rgb": _rgb,
    }
    return environment


def _picked(orders: list[Any]) -> list[Any]:
    """At most PICKED of the orders, evenly spaced, the first and the last included."""
    last = len(orders) - 1
    return [orders[i] for i in sorted({round(i * last / (PICKED - 1)) for i in range(PICKED)})]


def _picture(png: bytes) -> dict[str, Any]:
    """The address and size of a PNG, whose IHDR chunk holds the size at byte 16.

    With the size in the page, text is as large in all figures and nothing moves while they load.
    """
    width, height = (round(pixels * 96 / DPI) for pixels in struct.unpack(">II", png[16:24]))
    address = "data:image/png;base64," + base64.b64encode(png).decode()
    return {"src": address, "width": width, "height": height}


def _short(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 1 else f"{seconds:.1f}"


def _scientific(value: float | None) -> str:
    return "–" if value is None else f"{value:.2e}".replace("-", "−")


def _power(count: int) -> str:
    """94371840000 as 9.4 · 10¹⁰."""
    digits = len(str(count)) - 1
    if digits < 6:
        return f"{count:,}"
    raised = str(digits).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{count / 10**digits:.1f} · 10{raised}"


def _rgb(colour: list[float]) -> str:
    return ", ".join(str(round(255 * c)) for c in colour)
