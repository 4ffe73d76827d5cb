"""``gspnl tables``: run or resume the paper's tables, and print them beside its reports."""

from __future__ import annotations

import argparse
import json
import logging
import signal
from typing import TYPE_CHECKING, Any

from gspnl.cli.options import add_number, add_output, add_seed
from gspnl.cli.status import DONE, FAILED, LEFT, log_to_stderr, show

if TYPE_CHECKING:
    from gspnl.train.tables import Plan, Tables

log = logging.getLogger(__name__)

NAMES = "2 to 9, parameters, orders, depth"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    tables = commands.add_parser(
        "tables",
        help="run, resume and print the paper's tables 2 to 9 and its reviewers' controls",
        description="Run or resume the networks of the paper's tables, and print and write each "
        "table beside what the paper reports: last-epoch accuracy over seeds, the paired "
        "difference to the backbone with a 95 % interval, parameters, FLOPs, images/s and peak "
        "memory. May be stopped at any time; the same command resumes. The files show all results "
        "in DIR, of earlier calls too. Exit status 1 if a run failed, 3 if another process still "
        "has a run locked, 130 or 143 if stopped.",
        allow_abbrev=False,
    )
    tables.add_argument(
        "tables", metavar="TABLE", nargs="*",
        help=f"{NAMES} (default: the paper's, without repetitions)",
    )  # fmt: skip
    tables.add_argument(
        "--protocol", default="paper", metavar="NAME",
        help="paper: its data and schedules; mini: PreResNet-20 on a folder or zip of class "
        "folders, minutes a run (default: %(default)s)",
    )  # fmt: skip
    tables.add_argument(
        "--data", metavar="PATH",
        help="mini: the folder or zip; paper: the folder with the data sets as published",
    )  # fmt: skip
    tables.add_argument(
        "--out", metavar="DIR", default="gspnl-tables",
        help="folder of runs, results and tables (default: %(default)s)",
    )  # fmt: skip
    add_number(tables, "--seeds", "N", 3, "runs a network")
    add_seed(tables, "the first seed")
    tables.add_argument(
        "--only", metavar="BLOCKS", help="run only these blocks, such as nl,snl, and backbones"
    )
    tables.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0")
    tables.add_argument("--threads", type=int, metavar="N", help="on the CPU (default: torch's)")
    tables.add_argument(
        "--skip-bad", action="store_true", help="leave damaged samples out, and count them"
    )
    tables.add_argument(
        "--list", action="store_true", help="list finished runs, runs to do, and the time left"
    )
    tables.add_argument(
        "--no-run", action="store_true", help="print and write the tables so far, and run nothing"
    )
    add_output(tables, "tables as JSON")
    tables.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl.train.interrupts import Stopped
    from gspnl.train.tables import plan_tables, run_tables, tables_so_far
    from gspnl.train.tables.columns import overview
    from gspnl.train.tables.pages import as_json, markdown

    log_to_stderr(quiet=options.quiet)
    asked = {
        "out": options.out,
        "seeds": options.seeds,
        "seed": options.seed,
        "only": () if options.only is None else [n.strip() for n in options.only.split(",")],
    }
    if options.list:
        return _list(plan_tables(options.tables, options.protocol, **asked), options.json)
    try:
        if options.no_run:
            found = tables_so_far(plan_tables(options.tables, options.protocol, **asked))
        else:
            found = run_tables(
                options.tables,
                options.protocol,
                **asked,
                data=options.data,
                skip_bad=options.skip_bad,
                device=options.device,
                threads=options.threads,
            )
    except Stopped as stop:
        name = signal.Signals(stop.signum).name
        log.warning("gspnl tables: stopped by %s, and saved; the same command goes on", name)
        return 128 + stop.signum
    if options.json:
        print(json.dumps(as_json(found), allow_nan=False), flush=True)
    else:
        show("\n".join([markdown(table) for table in found.tables]))
    log.info("gspnl tables: %s", overview(found.tables))
    log.info("wrote %s: README.md, tables.json, tables/", options.out)
    return _end(found)


def _end(found: Tables) -> int:
    """Log failures and the runs that are left, and return the exit status."""
    from gspnl.train.tables import plan

    why = set(found.left.values())
    status = FAILED if plan.FAILED in why else LEFT if plan.BUSY in why else DONE
    failed: dict[str, list[str]] = {}
    for name, reason in found.failed.items():
        if found.left.get(name) == plan.FAILED:
            failed.setdefault(reason, []).append(name)
    for reason, (name, *others) in failed.items():
        more = f" and {len(others)} more" if others else ""
        log.warning("gspnl tables: %s%s failed: %s", name, more, reason)
    if found.left:
        level = logging.INFO if status == DONE else logging.WARNING
        log.log(level, "gspnl tables: %s", plan.why_left(found.left.values()))
    return status


def _list(plan: Plan, as_json: bool) -> int:
    progress = plan.progress()
    if as_json:
        runs = [{"run": name, "state": state} for name, state in progress.states.items()]
        print(json.dumps({"runs": runs, "seconds_left": progress.seconds_left}), flush=True)
        return DONE
    width = max(map(len, progress.states))
    for name, state in progress.states.items():
        print(f"{name:<{width}}  {state}")
    print(progress.left, flush=True)
    return DONE
