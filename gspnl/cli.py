"""The command line: ``gspnl report`` and ``gspnl verify``.

Nothing heavy is imported before a command runs, so that ``gspnl --help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from gspnl import __version__
from gspnl.errors import GspnlError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

REPORT_OPTIONS: dict[str, tuple[tuple[str, type, str, str], ...]] = {
    "graph": (
        (
            "--kernel",
            str,
            "NAME",
            "anchors, dot, cosine, or for small photos rbf (default: anchors)",
        ),
        ("--rank", int, "R", "number of anchors (default: 64)"),
        ("--sigma", float, "S", "bandwidth of anchors or rbf (default: the kernel's own)"),
        ("--normalization", str, "NAME", "or symmetric, bistochastic (default: random_walk)"),
        ("--max-nodes", int, "N", "larger photos are scaled down to fit (default: 400000)"),
        ("--seed", int, "N", "of the anchors and the segments (default: 0)"),
    ),
    "features, each with a scale, 0 to leave it out": (
        ("--colour", float, "S", "colour in OKLab (default: 1.0)"),
        ("--position", float, "S", "position, the longer side being 1 (default: 0.5)"),
        ("--patch", float, "S", "colours of the 3 x 3 pixels around (default: 0.0)"),
    ),
    "filters": (
        ("--response", str, "G", "such as 'heat(3)' (default: tikhonov(10))"),
        ("--orders", str, "K", "of Chebyshev filters, such as 1,2,4 or 1:30:5 (default: 1:30)"),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; default: those of this process.

    Returns
    -------
    int
        The exit status: 0; 1 if the work failed a check; 2 for bad usage, bad input or output that
        cannot be written, with one line on stderr; 130 if interrupted.

    Examples
    --------
    >>> main(["report", "--rank", "0"])  # on stderr: gspnl report: rank=0 must be ...
    2
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said what there is to say
        return int(stop.code or 0)
    name = f"gspnl {options.command}"
    try:
        return int(options.run(options))
    except GspnlError as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except MemoryError as error:
        print(f"{name}: out of memory: {error}; ask for fewer nodes or anchors", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has gone, as with `gspnl ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except OSError as error:  # a full disk; a traceback exits with 1, which is "a check failed"
        with contextlib.suppress(OSError, ValueError):  # what is left in the buffer fails again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"{name}: {error}", file=sys.stderr)
        return BAD_INPUT


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gspnl",
        description="Graph signal processing on fully-connected feature graphs.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gspnl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_report(commands)
    _add_verify(commands)
    return parser


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="the whole analysis of a photo as a graph: a page, figures and numbers",
        description="Analyse a photo as a fully-connected graph of its pixels: its exact spectrum, "
        "modes and segments, attention, exact filters, and Chebyshev filters with certified "
        "errors. Writes report.html, which opens offline, report.json, and figures as PNG.",
        allow_abbrev=False,
    )
    report.add_argument(
        "image", metavar="IMAGE", nargs="?", help="a photo (default: the one matplotlib ships)"
    )
    for title, options in REPORT_OPTIONS.items():
        group = report.add_argument_group(title)
        for flag, kind, metavar, text in options:
            # What is not given is left to Settings, which holds the defaults.
            group.add_argument(
                flag, type=kind, metavar=metavar, help=text, default=argparse.SUPPRESS
            )
    shown = report.add_argument_group("output")
    shown.add_argument(
        "--pixel", metavar="X,Y", action="append", help="whose attention to show; may be repeated"
    )
    shown.add_argument(
        "--out", metavar="DIR", default="gspnl-report",
        help="folder to write: new, or an earlier report (default: %(default)s)",
    )  # fmt: skip
    shown.add_argument("--json", action="store_true", help="print report.json to stdout")
    shown.add_argument("--quiet", action="store_true", help="no progress on stderr")
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from gspnl.report import Settings, write_report
    from gspnl.report.settings import parse_pixel

    own = {"command", "run", "image", "pixel", "out", "json", "quiet"}
    given = {name: value for name, value in vars(options).items() if name not in own}
    pixels = tuple(parse_pixel(text) for text in options.pixel or ())
    say = _ignore if options.quiet else _to_stderr
    numbers = write_report(options.image, options.out, Settings(pixels=pixels, **given), say=say)
    say(f"wrote {Path(options.out) / 'report.html'}")
    if options.json:
        print(json.dumps(numbers, allow_nan=False), flush=True)
    failed = [check["claim"] for check in numbers["checks"] if not check["passed"]]
    for claim in failed:
        print(f"gspnl report: a check failed: {claim}; see report.html", file=sys.stderr)
    return FAILED if failed else DONE


def _add_verify(commands: Any) -> None:
    verify = commands.add_parser(
        "verify",
        help="every theorem and erratum, a row each: claim, source, number, tolerance, verdict",
        description="Check every claim: measure its number and compare it with a tolerance. Of an "
        "erratum both readings are measured. Exit status 1 if any claim fails; a claim that the "
        "features cannot decide, such as two readings that agree on them, is said to be n/a.",
        allow_abbrev=False,
    )
    verify.add_argument(
        "--features", metavar="FILE", nargs="?", const="",
        help="a .npy file of shape (N, C), or a photo; without FILE, the photo matplotlib ships "
        "(default: random features)",
    )  # fmt: skip
    verify.add_argument(
        "--seed", type=int, metavar="N", default=0,
        help="of random features, embeddings, signals and samples (default: %(default)s)",
    )  # fmt: skip
    verify.add_argument("--json", action="store_true", help="print the rows as JSON to stdout")
    verify.add_argument("--quiet", action="store_true", help="no progress on stderr")
    verify.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    import shutil
    import time

    from gspnl.theory import table, verify
    from gspnl.theory.reading import read_subject

    start = time.perf_counter()
    subject = read_subject(options.features, options.seed)
    say = _ignore if options.quiet else _to_stderr
    say(f"checking claims on {table.about(subject)}")
    verdicts = verify(subject, say=say)
    seconds = time.perf_counter() - start
    if options.json:
        numbers = {"claims": table.rows(verdicts), "seconds": seconds, "subject": subject.facts}
        print(json.dumps(numbers, allow_nan=False), flush=True)
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without λ gets a ? for it
            sys.stdout.reconfigure(errors="replace")
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        lines = [
            table.about(subject),
            table.text(verdicts, width),
            "",
            table.summary(verdicts, seconds),
        ]
        print("\n".join(lines), flush=True)
    failed = [verdict for verdict in verdicts if verdict.passed is False]
    for verdict in failed:
        print(f"gspnl verify: a claim failed: {verdict.id}: {verdict.claim}", file=sys.stderr)
    return FAILED if failed else DONE


def _ignore(line: str) -> None:
    """Say nothing."""


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
