"""``gspnl tables``: run or resume the paper's tables, and print them beside its reports."""

from __future__ import annotations

import argparse
import signal
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gspnl.cli.options import add_machine, add_number, add_out, add_output, add_seed
from gspnl.cli.status import DONE, FAILED, LEFT, info, show, show_json, warn
from gspnl.errors import InputError

if TYPE_CHECKING:
    from gspnl.train.tables import Plan, Tables
    from gspnl.train.tables.table import Table

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
    add_out(tables, "gspnl-tables", "folder of runs, results and tables")
    add_number(tables, "--seeds", "N", 3, "runs a network")
    add_seed(tables, "the first seed")
    tables.add_argument(
        "--only", metavar="BLOCKS", help="run only these blocks, such as nl,snl, and backbones"
    )
    add_machine(tables)
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
    from gspnl.cli.log import log_to_stderr
    from gspnl.train.interrupts import Stopped
    from gspnl.train.tables import plan_tables, run_tables, tables_so_far
    from gspnl.train.tables.pages import as_json, markdown

    log_to_stderr(quiet=options.quiet)
    if options.list and options.no_run:
        raise InputError("--list and --no-run exclude each other; leave one of them out")
    asked = {
        "out": options.out,
        "seeds": options.seeds,
        "seed": options.seed,
        "only": () if options.only is None else [n.strip() for n in options.only.split(",")],
    }
    if options.list:
        plan = plan_tables(options.tables, options.protocol, **asked)
        _tell_idle(options, "--list")
        return _list(plan, options.json)
    try:
        if options.no_run:
            found = tables_so_far(plan_tables(options.tables, options.protocol, **asked))
            _tell_idle(options, "--no-run")
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
        warn("gspnl tables: stopped by %s, and saved; the same command goes on", name)
        return 128 + stop.signum
    if options.json:
        show_json(as_json(found))
    else:
        show("\n".join([markdown(table) for table in found.tables]))
    info("gspnl tables: %s", overview(found.tables))
    info("wrote %s: README.md, tables.json, tables/", options.out)
    return _end(found)


def overview(tables: Sequence[Table]) -> str:
    """The number of rows by reading, the median of half an interval, and rows above by seed."""
    from statistics import median

    lines = {line.row.run_id(0): line for table in tables for line in table.lines}
    found = [line.difference for line in lines.values() if line.difference is not None]
    if not found:
        return "no row has a difference to the backbone yet"
    readings = Counter(each.reading for each in found)
    halves = [(d.high - d.low) / 2 for d in found if d.high is not None and d.low is not None]
    pairs = [pair for line in lines.values() for pair in line.differences.items()]
    above = Counter([seed for seed, points in pairs if points > 0])
    parts = [
        f"{len(found)} rows: {', '.join(f'{n} {reading}' for reading, n in readings.items())}",
        *([f"half an interval is {median(halves):.2f} points in the median"] if halves else []),
        "above the backbone "
        + ", ".join(f"{above[seed]} with seed {seed}" for seed in sorted({s for s, _ in pairs})),
    ]
    return "; ".join(parts)


def _tell_idle(options: argparse.Namespace, mode: str) -> None:
    """Name options that have no effect, since nothing is run."""
    flags = ("data", "device", "threads", "skip_bad")
    idle = [flag for flag in flags if getattr(options, flag) not in (None, False)]
    if idle:
        names = ", ".join("--" + flag.replace("_", "-") for flag in idle)
        info(f"gspnl tables: {mode} runs nothing, so {names} has no effect")


def _end(found: Tables) -> int:
    """Log failures and the runs that are left, and return the exit status."""
    from gspnl.train.tables import plan

    reasons = Counter(found.left.values())
    status = FAILED if plan.FAILED in reasons else LEFT if plan.BUSY in reasons else DONE
    failed: dict[str, list[str]] = {}
    for name, reason in found.failed.items():
        if found.left.get(name) == plan.FAILED:
            failed.setdefault(reason, []).append(name)
    for reason, (name, *others) in failed.items():
        more = f" and {len(others)} more" if others else ""
        warn("gspnl tables: %s%s failed: %s", name, more, reason)
    if found.left:
        log = info if status == DONE else warn
        number = "1 run is" if len(found.left) == 1 else f"{len(found.left)} runs are"
        why = ", ".join(f"{n} {reason}" for reason, n in reasons.items())
        log("gspnl tables: %s left: %s", number, why)
    return status


def _list(plan: Plan, as_json: bool) -> int:
    progress = plan.progress()
    if as_json:
        runs = [{"run": name, "state": state} for name, state in progress.states.items()]
        show_json({"runs": runs, "seconds_left": progress.seconds_left})
        return DONE
    width = max(map(len, progress.states))
    for name, state in progress.states.items():
        print(f"{name:<{width}}  {state}")
    print(progress.left, flush=True)
    return DONE
