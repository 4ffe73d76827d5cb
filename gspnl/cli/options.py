"""Add options that several commands share, and apply ``--set``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gspnl.errors import InputError

if TYPE_CHECKING:
    from gspnl.train import Recipe


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


def edited_recipe(name: str, changes: Sequence[str], **fields: Any) -> Recipe:
    """Look up or read a recipe, with changes as text; None for fields that are left as they are.

    Examples
    --------
    >>> edited_recipe("mini", ["block=chebyshev", "block_options.order=3"], seed=2).block_options
    {'order': 3}
    """
    import dataclasses

    from gspnl.train import recipe

    base = recipe(name)
    defaults = {field.name for field in dataclasses.fields(base)}
    found: dict[str, Any] = {}
    for change in changes:
        key, sign, text = (part.strip() for part in change.partition("="))
        if not sign or not key:
            raise InputError(f"--set {change!r} is no change; write it as key=value")
        field, _, option = key.partition(".")
        if option and field.endswith("_options") and field in defaults:
            found[field] = {**found.get(field, getattr(base, field)), option: _value(text)}
        else:
            found[key] = _value(text)
    own = {field: item for field, item in fields.items() if item is not None}
    if twice := sorted(own.keys() & found):
        raise InputError(
            f"{twice[0]} is given twice, by --set and by --{twice[0]}; leave one of them out"
        )
    return dataclasses.replace(base, **found | own)


def _value(text: str) -> Any:
    """Parse a value as TOML; text that is no TOML is itself, and no text is None."""
    import tomllib

    from gspnl._base.texts import parse_toml

    try:
        found = parse_toml(f"value = {text}") if text else {"value": None}
        return found["value"] if len(found) == 1 else text
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    except ValueError as error:
        raise InputError(f"--set ...={text[:24]}: {error}; give a smaller value") from None
