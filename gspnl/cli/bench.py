"""``gspnl bench``: run the measured comparisons with peers."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from gspnl.cli.options import add_output, add_seed
from gspnl.cli.scripts import Script, by_name, runnable, scripts
from gspnl.cli.status import DONE, FAILED, info, show_json, warn

RESULTS, SEED = "GSPNL_BENCH_RESULTS", "GSPNL_BENCH_SEED"  # read by benchmarks/_measure.py


def add(commands: Any) -> None:
    """Add the command to the parser."""
    bench = commands.add_parser(
        "bench",
        help="the measured comparisons with peers",
        description="Run benchmark scripts, each in a process of its own, and print their "
        "figures. Some take minutes. Exit status 1 if one fails; 2 if a peer that it compares "
        "with is not installed.",
        allow_abbrev=False,
    )
    bench.add_argument("names", metavar="NAME", nargs="*", help="which (default: all)")
    bench.add_argument("--list", action="store_true", help="print the benchmarks, and run nothing")
    add_seed(bench, "of the random features and signals")
    add_output(bench, "the figures as JSON")
    bench.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl._base.effort import Work, progress
    from gspnl._base.validate import whole_number
    from gspnl.cli.log import Lined, log_to_stderr

    known = scripts()
    if options.list:
        return _list(by_name(options.names, known), options.json)
    whole_number("seed", options.seed)
    picked = runnable(by_name(options.names, known))
    log_to_stderr(quiet=options.quiet)
    tables: list[dict[str, Any]] = []
    failed: list[str] = []
    for script in picked:
        info(f"running {script.name}: {script.about}")
        # Lines even on a terminal: the script writes there too.
        with progress(False if options.quiet else Lined()), Work(script.name):
            status, found = measure(script, options.seed, to_stdout=not options.json)
        tables += found
        if status:
            failed.append(script.name)
            warn(f"gspnl bench: {script.name} failed with exit status {status}; see above")
    if options.json:
        show_json({"tables": tables, "failed": failed})
    return FAILED if failed else DONE


def measure(script: Script, seed: int, *, to_stdout: bool) -> tuple[int, list[dict[str, Any]]]:
    """Run a script in a fresh process, so that its memory figures are its own.

    Returns its exit status and its tables, each ``{"benchmark", "title", "machine", "rows": [{
    "name", "value"}]}``. Its own output goes to stdout, or else to stderr.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        environment = {**os.environ, RESULTS: str(results), SEED: str(seed)}
        sys.stdout.flush()
        done = subprocess.run(
            [sys.executable, str(script.path)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if to_stdout else sys.stderr.fileno(),
            check=False,
        )
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return done.returncode, [{"benchmark": script.name, **json.loads(line)} for line in lines]


def _list(picked: list[Script], as_json: bool) -> int:
    if as_json:
        rows = [
            {
                "name": script.name,
                "about": script.about,
                "needs": list(script.peers),
                "missing": list(script.missing),
            }
            for script in picked
        ]
        show_json({"benchmarks": rows})
        return DONE
    width = max((len(script.name) for script in picked), default=0)
    for script in picked:
        lacks = f" (not installed: {', '.join(script.missing)})" if script.missing else ""
        print(f"{script.name:<{width}}  {script.about}{lacks}")
    return DONE
