"""Atomic replacement of files, creation of folders, and errors of files that cannot be read."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from gspnl.errors import FileError

TOKEN = 6  # random bytes, in hexadecimal, at the end of a temporary file's name
LONGEST = 255 - len("..") - 2 * TOKEN  # bytes of a file's name within a temporary one
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically: whole, or not at all.

    The path is new or a regular file, whose permissions are kept; a link to one stays, and its
    target is written. Anything else, such as a pipe, a device or a folder, is a FileError.
    """
    fresh = None
    try:
        _regular(path)
        target = Path(os.path.realpath(path))
        earlier = _regular(target)
        fresh = target.with_name(f".{_stem(target)}.{secrets.token_hex(TOKEN)}")
        with fresh.open("xb") as file:
            if earlier is not None:
                _copy_permissions(file.fileno(), earlier)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except (OSError, ValueError) as error:
        raise FileError(
            f"cannot write {str(path)!r}: {reason(error)}; name a file in a folder that exists and "
            "may be written, or free space"
        ) from error
    finally:
        if fresh is not None:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def reason(error: OSError | ValueError) -> str:
    """Return the cause of an error of the file system, without number and path.

    A ValueError is that of a name which no file can have, as one with a NUL.
    """
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _regular(path: Path) -> os.stat_result | None:
    """Return the status of a regular file, None if it does not exist; else raise FileError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISREG(status.st_mode):
        return status
    kind = next((kind for is_kind, kind in KINDS if is_kind(status.st_mode)), "no regular file")
    raise FileError(f"it is {kind}")


def _copy_permissions(descriptor: int, earlier: os.stat_result) -> None:
    """Give a new file the owner, where that is allowed, and the permissions of an earlier one."""
    with suppress(OSError, AttributeError):  # AttributeError: not on Windows
        os.fchown(descriptor, earlier.st_uid, earlier.st_gid)
    with suppress(AttributeError):
        os.fchmod(descriptor, stat.S_IMODE(earlier.st_mode) & 0o777)


def _stem(target: Path) -> str:
    """Return the name of a file, cut so that its temporary name is not too long."""
    name = target.name
    while len(os.fsencode(name)) > LONGEST:
        name = name[:-1]
    return name


def open_lock(path: Path) -> int:
    """Open or create a lock file, without truncating it, and return its descriptor.

    Raise FileError where the path is no regular file.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait
    try:
        _regular(path)
        return os.open(path, flags, 0o666)
    except (OSError, ValueError) as error:
        raise FileError(
            f"cannot lock {str(path)!r}: {reason(error)}; remove it, or name another folder"
        ) from error


def make_folder(path: Path, fix: str = "name another") -> Path:
    """Create a folder unless it exists; raise FileError, whose message ends with ``fix``."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot make the folder {str(path)!r}: {reason(error)}; {fix}") from error
    return path


def refuse_endless(path: Path) -> None:
    """Raise FileError for a pipe, socket or device: reading may wait for ever, or have no end.

    Everything that reads a file which a user names calls this first. Files that are missing and
    folders pass: they have errors of their own.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    kind = next((kind for is_kind, kind in KINDS[1:] if is_kind(mode)), None)
    if kind is not None:
        raise FileError(
            f"cannot read {str(path)!r}: it is {kind}; copy what it gives into a regular file, and "
            "name that"
        )


def read(path: Path, fix: str, what: str = "") -> bytes:
    """Read a regular file; raise FileError, whose message ends with ``fix``."""
    refuse_endless(path)
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {what}{str(path)!r}: {reason(error)}; {fix}") from error


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
    target = Path(os.path.realpath(path))
    for left in target.parent.glob(f".{escape(_stem(target))}.{'[0-9a-f]' * (2 * TOKEN)}"):
        left.unlink(missing_ok=True)
