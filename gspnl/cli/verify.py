"""``gspnl verify``: check every claim and print its number."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gspnl.cli.options import add_output, add_seed
from gspnl.cli.status import DONE, FAILED, info, show, show_json


def add(commands: Any) -> None:
    """Add the command to the parser."""
    verify = commands.add_parser(
        "verify",
        help="check every theorem and erratum: claim, source, number, tolerance, verdict",
        description="Check every claim: measure its number and compare it with a tolerance. For an "
        "erratum, both the printed and the corrected reading are measured. A claim that these "
        "features cannot decide (both readings agree on them, say) is reported as n/a. Exit "
        "status 1 if any claim fails.",
        allow_abbrev=False,
    )
    verify.add_argument(
        "--features", metavar="FILE", nargs="?", const="",
        help="a .npy file of shape (N, C), or a photo; without FILE, the photo matplotlib ships "
        "(default: random features)",
    )  # fmt: skip
    add_seed(verify, "seed of random features, embeddings, signals and samples")
    add_output(verify, "the rows as JSON")
    verify.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    import shutil
    import time

    from gspnl.cli.log import log_to_stderr
    from gspnl.theory import read_subject, tables, verify

    start = time.perf_counter()
    subject = read_subject(options.features, options.seed)
    log_to_stderr(quiet=options.quiet)
    info("checking claims on %s", tables.about(subject))
    verdicts = verify(subject)
    seconds = time.perf_counter() - start
    if options.json:
        numbers = {"claims": tables.rows(verdicts), "seconds": seconds, "subject": subject.facts}
        show_json(numbers)
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        lines = [
            tables.about(subject),
            tables.text(verdicts, width),
            "",
            tables.summary(verdicts, seconds),
        ]
        show("\n".join(lines))
    failed = [verdict for verdict in verdicts if verdict.passed is False]
    for verdict in failed:
        print(f"gspnl verify: a claim failed: {verdict.id}: {verdict.claim}", file=sys.stderr)
    return FAILED if failed else DONE
