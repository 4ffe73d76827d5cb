"""Run the command line ``gspnl COMMAND``; each command is a module.

Nothing heavy is imported before a command runs, so that ``gspnl --help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from gspnl._base.extras import fix
from gspnl._base.version import __version__
from gspnl.cli import audit, bench, figures, report, tables, train, verify
from gspnl.cli.status import BAD_INPUT, INTERRUPTED
from gspnl.errors import GspnlError

EXTRAS = {  # what a command needs
    "audit": "train",
    "bench": "dev",
    "figures": "train",
    "report": "report",
    "tables": "train",
    "train": "train",
    "verify": "report",
}
LONGEST = 2000  # characters of an error message
COMMANDS = (audit, bench, figures, report, tables, train, verify)


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
        cannot be written, with one line on stderr; 3 if other processes work on the rest; 130 if
        interrupted, 143 by SIGTERM where a command saves first.

    Examples
    --------
    >>> main(["report", "--rank", "0"])  # on stderr: gspnl report: rank=0 must be ...
    2
    """
    # Set before torch is loaded: its waiting threads sleep. If they spin, a step of training beside
    # other work takes many times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed its message
        return int(stop.code or 0)
    name = f"gspnl {options.command}"
    try:
        return int(options.run(options))
    except GspnlError as error:
        print(f"{name}: {_one_line(str(error))}", file=sys.stderr)
        return BAD_INPUT
    except RecursionError:
        print(f"{name}: the input is nested too deeply; flatten it", file=sys.stderr)
        return BAD_INPUT
    except ImportError as error:  # of an optional package, or of one that is broken
        print(f"{name}: {fix(error, EXTRAS[options.command])}", file=sys.stderr)
        return BAD_INPUT
    except RuntimeError as error:  # Python 3.11 wraps a Ctrl-C in a class body, while it imports
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
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
        with contextlib.suppress(OSError, ValueError):  # the rest of the buffer would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"{name}: {error}", file=sys.stderr)
        return BAD_INPUT
    finally:
        from gspnl.cli.log import end_log

        end_log()


def _one_line(message: str) -> str:
    """Put a message on one line, and leave out the middle of an absurdly long one."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {_one_line(message)}; see {self.prog} --help\n")

    def parse_known_args(self, *args: Any, **options: Any) -> tuple[Any, list[str]]:
        """Report unknown arguments as errors of the command, not of the outer parser."""
        found, unknown = super().parse_known_args(*args, **options)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gspnl",
        description="Graph signal processing on fully-connected feature graphs.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gspnl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
