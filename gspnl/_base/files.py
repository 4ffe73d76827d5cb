"""Atomic replacement of files, creation of folders, and errors of files that cannot be read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from gspnl.errors import FileError

TOKEN = 6  # random bytes, in hexadecimal, at the end of a temporary file's name


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically: whole, or not at all."""
    fresh = None
    try:
        target = path.resolve()  # replace the target of a link, not the link
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(TOKEN)}")
        with fresh.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as error:
        raise FileError(
            f"cannot write {str(path)!r}: {error.strerror or error}; name a file in a folder that "
            "exists, or free space"
        ) from error
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)


def make_folder(path: Path, fix: str = "name another") -> Path:
    """Create a folder unless it exists; raise FileError, whose message ends with ``fix``."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot make the folder {str(path)!r}: {error.strerror or error}; {fix}"
        ) from error
    return path


@contextmanager
def readable(name: str, kind: str) -> Iterator[None]:
    """Raise FileError, with a fix, for a file that is missing, a folder, or not permitted.

    Parameters
    ----------
    name : str
        The file, as the message quotes it.
    kind : str
        What to pass instead of a folder: "a photo".
    """
    try:
        yield
    except FileNotFoundError:
        raise FileError(f"there is no file {name}; check the path") from None
    except IsADirectoryError:
        raise FileError(f"{name} is a folder; pass {kind} in it") from None
    except PermissionError:
        raise FileError(f"{name} may not be read; change its permissions") from None


def clean(path: Path) -> None:
    """Remove temporary files of :func:`replace` that a killed process left beside a file."""
    target = path.resolve()
    for left in target.parent.glob(f".{escape(target.name)}.{'[0-9a-f]' * (2 * TOKEN)}"):
        left.unlink(missing_ok=True)
