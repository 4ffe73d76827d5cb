"""``gspnl report``: analyse a photo as a graph."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gspnl.cli.options import add_out, add_output
from gspnl.cli.status import DONE, FAILED, info, show_json

OPTIONS: dict[str, tuple[tuple[str, type, str, str], ...]] = {
    "graph": (
        (
            "--kernel",
            str,
            "NAME",
            "anchors, dot, cosine or rbf (default: anchors)",
        ),
        ("--rank", int, "R", "number of anchors (default: 64)"),
        ("--sigma", float, "S", "bandwidth of anchors or rbf (default: that of the kernel)"),
        ("--normalization", str, "NAME", "or symmetric, bistochastic (default: random_walk)"),
        ("--max-nodes", int, "N", "a photo with more pixels is scaled down (default: 400000)"),
        ("--seed", int, "N", "seed of the anchors and the segments (default: 0)"),
    ),
    "scales of the features, 0 to leave a feature out": (
        ("--colour", float, "S", "colour in OKLab (default: 1.0)"),
        ("--position", float, "S", "position, the longer side being 1 (default: 0.5)"),
        ("--patch", float, "S", "colours of the 3 x 3 pixels around (default: 0.0)"),
    ),
    "filters": (
        ("--response", str, "G", "response of the filter, as 'heat(3)' (default: tikhonov(10))"),
        ("--orders", str, "K", "Chebyshev orders, as 1,2,4 or 1:30:5 (default: 1:30)"),
    ),
}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    report = commands.add_parser(
        "report",
        help="analyse a photo as a graph: a page, figures and numbers",
        description="Analyse a photo as a fully-connected graph of its pixels: its exact spectrum, "
        "modes and segments, attention, exact filters, and Chebyshev filters with certified "
        "errors. Writes report.html, which opens offline, report.json, and figures as PNG.",
        allow_abbrev=False,
    )
    report.add_argument(
        "image", metavar="IMAGE", nargs="?", help="a photo (default: the one matplotlib ships)"
    )
    for title, options in OPTIONS.items():
        group = report.add_argument_group(title)
        for flag, kind, metavar, text in options:
            # SUPPRESS: an option that is left out takes its default from Settings.
            group.add_argument(
                flag, type=kind, metavar=metavar, help=text, default=argparse.SUPPRESS
            )
    shown = report.add_argument_group("output")
    shown.add_argument(
        "--pixel", metavar="X,Y", action="append", help="show its attention; may be repeated"
    )
    add_out(shown, "gspnl-report", "folder to write, new or an earlier report")
    add_output(shown, "report.json")
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl.cli.log import log_to_stderr
    from gspnl.report import Settings, write_report
    from gspnl.report.settings import parse_pixel

    own = {"command", "run", "image", "pixel", "out", "json", "quiet"}
    given = {name: value for name, value in vars(options).items() if name not in own}
    pixels = tuple(parse_pixel(text) for text in options.pixel or ())
    log_to_stderr(quiet=options.quiet)
    numbers = write_report(options.image, options.out, Settings(pixels=pixels, **given))
    info("wrote %s", Path(options.out) / "report.html")
    if options.json:
        show_json(numbers)
    failed = [check["claim"] for check in numbers["checks"] if not check["passed"]]
    for claim in failed:
        print(f"gspnl report: a check failed: {claim}; see report.html", file=sys.stderr)
    return FAILED if failed else DONE
