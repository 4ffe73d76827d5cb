"""Write the files of a report to a folder: all or none, and only over an earlier report."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

from gspnl.errors import FileError

NUMBERS = "report.json"
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # file managers write these anywhere


def check_target(out: Path) -> None:
    """Raise FileError unless ``out`` is writable and new, empty, or an earlier report.

    The disk is left as it was.
    """
    try:
        if out == Path.cwd() or not out.name:
            raise FileError(f"{str(out)!r} cannot be replaced; pass --out with a new folder")
        if out.exists() and not out.is_dir():
            raise FileError(f"{str(out)!r} is a file, and a report is a folder; pass another --out")
        if out.is_dir():
            _check_ours(out)
        there = next(folder for folder in out.parents if folder.exists())
        if not there.is_dir():
            raise FileError(
                f"{str(there)!r} is a file, so {str(out)!r} cannot be made; pass another --out"
            )
        trial = _beside(there / out.name)
        trial.mkdir()
        trial.rmdir()
    except FileError:
        raise
    except OSError as error:
        raise _cannot_write(out, error) from error


def publish(out: Path, files: dict[str, bytes]) -> None:
    """Write the files to a temporary folder beside ``out``, then rename it to ``out``.

    If this is interrupted, the earlier report stays and the temporary folder is removed.

    Raises
    ------
    FileError
        If the folder cannot be written, or holds files that no report wrote.
    """
    fresh, former = _beside(out), _beside(out)
    made: list[Path] = []
    try:
        for folder in reversed([out.parent, *out.parent.parents]):
            if not folder.exists():
                made.append(folder)
                folder.mkdir()
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        check_target(out)  # the folder may have changed during the analysis
        if out.exists():
            out.rename(former)
        fresh.rename(out)
    except FileError:
        raise
    except OSError as error:
        raise _cannot_write(out, error) from error
    finally:
        if not out.exists():  # an error or an interrupt: restore
            if former.exists():
                former.rename(out)
            shutil.rmtree(fresh, ignore_errors=True)
            for folder in reversed(made):
                if folder.exists() and not any(folder.iterdir()):
                    folder.rmdir()
        for folder in (fresh, former):
            shutil.rmtree(folder, ignore_errors=True)


def _beside(path: Path) -> Path:
    """An unused path in the same folder, so that a rename does not copy."""
    return path.parent / f".{path.name}.{secrets.token_hex(6)}"


def _check_ours(out: Path) -> None:
    """Raise FileError unless an earlier report wrote every file of the folder."""
    held = {entry.name for entry in out.iterdir()} - LITTER
    if not held:
        return
    try:
        former = json.loads((out / NUMBERS).read_text(encoding="utf-8"))
        ours = set(former["files"]) if "gspnl" in former else set()
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    if not ours:
        raise FileError(
            f"{str(out)!r} holds files and is no report of gspnl; pass --out with a new folder"
        )
    if held - ours:
        raise FileError(
            f"{str(out)!r} holds {sorted(held - ours)[0]!r}, which no report wrote and "
            "replacing the folder would delete; move it away, or pass another --out"
        )


def _cannot_write(out: Path, error: OSError) -> FileError:
    return FileError(
        f"cannot write {str(out)!r}: {error.strerror or error}; pass another --out, or free space"
    )
