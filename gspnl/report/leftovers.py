"""Restore or remove what a killed process left beside the folder of a report."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gspnl._base.files import refuse_endless
from gspnl._base.texts import parse_json

TOKEN = 6  # random bytes, in hexadecimal, at the end of a name


def beside(out: Path) -> Path:
    """Return an unused path in the same folder, so that a rename does not copy."""
    return out.parent / f".{out.name}.{secrets.token_hex(TOKEN)}"


def earlier_beside(out: Path) -> Path:
    """Return the path of the earlier report while it is replaced: not hidden, as it may stay."""
    return out.parent / f"{out.name}.earlier-{secrets.token_hex(TOKEN)}"


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a lock of the folder, which ends with the process; yields whether it was free."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # no such locks, or no such folder
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(handle)


def recover(out: Path, names: set[str]) -> None:
    """Rename an earlier report back to ``out`` if there is none, and remove other leftovers.

    Only folders named by :func:`beside` and :func:`earlier_beside` that hold nothing but files of a
    report, and that no running process has locked.

    Parameters
    ----------
    out : Path
    names : set of str
        Files that a report has.
    """
    name = re.escape(out.name)
    token = f"[0-9a-f]{{{2 * TOKEN}}}"
    kinds = {kind: re.compile(f"{kind}{token}") for kind in (rf"{name}\.earlier-", rf"\.{name}\.")}
    if not out.parent.is_dir():
        return
    for pattern in kinds.values():  # earlier reports first
        found = [p for p in out.parent.iterdir() if pattern.fullmatch(p.name)]
        for folder in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True):
            if folder.is_symlink() or not folder.is_dir() or not _is_report(folder, names):
                continue
            with locked(folder) as free, suppress(OSError):
                if not free:
                    continue
                if not out.exists() and (folder / "report.json").exists():
                    folder.rename(out)
                else:
                    shutil.rmtree(folder, ignore_errors=True)


def _is_report(folder: Path, names: set[str]) -> bool:
    """Tell whether a folder holds files of a report only, perhaps not all of them."""
    own = set(names)
    with suppress(OSError, ValueError, KeyError, TypeError):
        refuse_endless(folder / "report.json")
        own |= set(parse_json((folder / "report.json").read_bytes(), finite=False)["files"])
    return all(entry.is_file() and entry.name in own for entry in folder.iterdir())
