"""Write the report of a photo to a folder."""

from __future__ import annotations

import json
import os
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl.report.analysis import analyse
from gspnl.report.checks import run_checks
from gspnl.report.clock import Clock
from gspnl.report.figures import PICTURES, draw
from gspnl.report.folder import NUMBERS, check_target, publish
from gspnl.report.leftovers import recover
from gspnl.report.numbers import collect
from gspnl.report.page import render
from gspnl.report.settings import Settings

PAGE = "report.html"


def write_report(
    image: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "gspnl-report",
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Analyse a photo as a graph, and write a page, its figures and its numbers to a folder.

    Progress is logged: one line as each step ends.

    Parameters
    ----------
    image : path, optional
        Default: the photo that matplotlib ships, 512 × 600.
    out : path
        A folder that is new, empty, or written by an earlier report. An earlier report is replaced
        as a whole, once the new one is complete. If the process is killed while it replaces it, the
        earlier one may be found as ``<out>.earlier-…``; the next run with the same ``out`` renames
        it back, and removes what else was left.
    settings : Settings, optional

    Returns
    -------
    dict
        What report.json holds: "nodes", "rank" (None where not all eigenvalues are known: rbf of
        large photos), "normalization", "kernel", "eigenvalues", "seconds"
        by step, "peak_bytes", "orders" with "order", "error", "bound" and "seconds" each, "checks",
        and the other numbers of the page. A bound that is infinite is None.

    Raises
    ------
    FileError
        If the photo cannot be read, or the folder cannot be written or replaced.
    InputError
        For a pixel outside the photo.
    SizeError
        For a kernel that stores all pairs, on a photo whose pairs do not fit in memory.
    MissingExtraError
        Without matplotlib, Pillow, Jinja or plotly.

    Examples
    --------
    >>> import tempfile, gspnl.report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = gspnl.report.Settings(rank=8, orders="1:4", max_nodes=1000)
    ...     numbers = gspnl.report.write_report(out=folder + "/report", settings=settings)
    >>> numbers["nodes"], numbers["rank"], len(numbers["orders"])
    (986, 8, 4)
    """
    settings = Settings() if settings is None else settings
    target = Path(os.path.realpath(out))
    clock = Clock()
    recover(target, {PAGE, NUMBERS, *PICTURES})
    check_target(target)
    analysis = analyse(image, settings, clock)
    with clock.step("checks"):
        checks = run_checks(analysis)
    with clock.step("figures"):
        figures = draw(analysis)
    numbers = collect(analysis, checks, clock, None if image is None else os.fspath(image))
    numbers["files"] = sorted([*figures, PAGE, NUMBERS])
    files = {
        **figures,
        PAGE: render(numbers, figures).encode(errors="replace"),
        NUMBERS: json.dumps(numbers, allow_nan=False, indent=1).encode(),
    }
    publish(target, files)
    return numbers
