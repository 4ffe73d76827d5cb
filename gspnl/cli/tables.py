"""``gspnl tables``: the paper's tables, run or resumed, beside what it reports."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gspnl.cli.options import add_number, add_output, add_seed
from gspnl.cli.status import DONE, FAILED, LEFT, ignore, show, to_stderr

if TYPE_CHECKING:
    from gspnl.train.tables import Tables

NAMES = "2 to 9, parameters, orders, depth"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    tables = commands.add_parser(
        "tables",
        help="the paper's tables 2 to 9 and its reviewers' controls: run, resumed, printed",
        description="Run or resume the networks of the paper's tables, and print and write each "
        "table beside what the paper reports: last-epoch accuracy over seeds, the paired "
        "difference to the backbone with a 95 % interval, parameters, FLOPs, images/s and peak "
        "memory. May be stopped at any time; the same command goes on. The files show all that "
        "there is in DIR, of every call. Exit status 1 if a run failed, 3 if another process is at "
        "one still, 130 or 143 if stopped.",
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
        "--only", metavar="BLOCKS", help="run these blocks alone, and backbones, such as nl,snl"
    )
    tables.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0")
    tables.add_argument("--threads", type=int, metavar="N", help="on the CPU (default: torch's)")
    tables.add_argument(
        "--skip-bad", action="store_true", help="leave damaged samples out, and count them"
    )
    tables.add_argument(
        "--list", action="store_true", help="what is done, to do, and how long it may take"
    )
    tables.add_argument(
        "--no-run", action="store_true", help="print and write what is done, and run nothing"
    )
    add_output(tables, "tables as JSON")
    tables.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl.train.interrupts import Stopped
    from gspnl.train.tables import plan_tables, run_tables, tables_so_far
    from gspnl.train.tables.markdown import markdown
    from gspnl.train.tables.writing import as_json

    say = ignore if options.quiet else to_stderr
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
                say=say,
            )
    except Stopped as stop:
        name = signal.Signals(stop.signum).name
        to_stderr(f"gspnl tables: stopped by {name}, and saved; the same command goes on")
        return 128 + stop.signum
    if options.json:
        print(json.dumps(as_json(found), allow_nan=False), flush=True)
    else:
        show("\n".join(markdown(table) for table in found.tables))
    say(f"wrote {options.out}: README.md, tables.json, tables/")
    return _end(found, say)


def _end(found: Tables, say: Callable[[str], None]) -> int:
    """Say what is left; the exit status."""
    from gspnl.train.tables import planning
    from gspnl.train.tables.texts import left

    why = set(found.left.values())
    status = FAILED if planning.FAILED in why else LEFT if planning.BUSY in why else DONE
    failed: dict[str, list[str]] = {}
    for name, reason in found.failed.items():
        if found.left.get(name) == planning.FAILED:
            failed.setdefault(reason, []).append(name)
    for reason, (name, *others) in failed.items():
        more = f" and {len(others)} more" if others else ""
        to_stderr(f"gspnl tables: {name}{more} failed: {reason}")
    if found.left:
        (say if status == DONE else to_stderr)(f"gspnl tables: {left(found.left)}")
    return status


def _list(plan: Any, as_json: bool) -> int:
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
