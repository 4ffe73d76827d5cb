"""Add options that several commands share."""

from __future__ import annotations

from typing import Any


def add_number(command: Any, flag: str, metavar: str, default: int, text: str) -> None:
    """Add a whole number; its help ends with the default."""
    command.add_argument(
        flag, type=int, metavar=metavar, default=default, help=f"{text} (default: %(default)s)"
    )


def add_test_images(
    command: Any, *, image: str, count: int, images: str, nodes: str, seed: str
) -> None:
    """Add the choice of test images for a trained network; the texts are the helps."""
    command.add_argument(
        "--data", metavar="PATH",
        help="the data set of the run's recipe (default: where its name alone finds it)",
    )  # fmt: skip
    add_number(command, "--image", "N", 0, image)
    add_number(command, "--images", "K", count, images)
    add_number(command, "--nodes", "N", 1024, nodes)
    add_seed(command, seed)


def add_seed(command: Any, text: str) -> None:
    """Add ``--seed`` with its help."""
    add_number(command, "--seed", "N", 0, text)


def add_machine(command: Any) -> None:
    """Add ``--device``, ``--threads`` and ``--skip-bad`` of training."""
    command.add_argument(
        "--device", metavar="D", help="such as cpu or cuda:0 (default: a GPU if there is one)"
    )
    command.add_argument(
        "--threads", type=int, metavar="N", help="on the CPU, of each process (default: torch's)"
    )
    command.add_argument(
        "--skip-bad", action="store_true", help="leave damaged samples out, and count them"
    )


def add_out(command: Any, default: str, what: str) -> None:
    """Add the folder to write, which has a default."""
    command.add_argument(
        "--out", metavar="DIR", default=default, help=f"{what} (default: %(default)s)"
    )


def add_output(command: Any, what: str) -> None:
    """Add ``--json``, which prints ``what``, and ``--quiet``."""
    command.add_argument("--json", action="store_true", help=f"print {what} to stdout")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
