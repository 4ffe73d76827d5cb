"""Write the files of a report to a folder: all or none, and only over an earlier report."""

from __future__ import annotations

import shutil
from pathlib import Path

from gspnl._base.files import refuse_endless
from gspnl._base.texts import parse_json
from gspnl.errors import FileError
from gspnl.report.leftovers import beside, earlier_beside, locked, recover

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
            _check_own(out)
        existing = next(folder for folder in out.parents if folder.exists())
        if not existing.is_dir():
            raise FileError(
                f"{str(existing)!r} is a file, so {str(out)!r} cannot be made; pass another --out"
            )
        trial = beside(existing / out.name)
        trial.mkdir()
        trial.rmdir()
    except FileError:
        raise
    except OSError as error:
        raise _cannot_write(out, error) from error


def publish(out: Path, files: dict[str, bytes]) -> None:
    """Write the files to a temporary folder beside ``out``, then rename it to ``out``.

    If this is interrupted, the earlier report stays and the temporary folder is removed. A killed
    process may leave both, the earlier report as ``<out>.earlier-…``: see :func:`recover`.

    Raises
    ------
    FileError
        If the folder cannot be written, or holds files that no report wrote.
    """
    new, earlier = beside(out), earlier_beside(out)
    created: list[Path] = []
    try:
        for folder in reversed([out.parent, *out.parent.parents]):
            if not folder.exists():
                created.append(folder)
                folder.mkdir()
        recover(out, set(files))
        new.mkdir()
        with locked(new):  # by which other processes know that it is in use
            for name, content in files.items():
                (new / name).write_bytes(content)
            check_target(out)  # the folder may have changed during the analysis
            if out.exists():
                with locked(out):
                    out.rename(earlier)
                    new.rename(out)
            else:
                new.rename(out)
    except FileError:
        raise
    except OSError as error:
        raise _cannot_write(out, error) from error
    finally:
        if not out.exists():  # an error or an interrupt: restore
            if earlier.exists():
                earlier.rename(out)
            shutil.rmtree(new, ignore_errors=True)
            for folder in reversed(created):
                if folder.exists() and not any(folder.iterdir()):
                    folder.rmdir()
        for folder in (new, earlier):
            shutil.rmtree(folder, ignore_errors=True)


def _check_own(out: Path) -> None:
    """Raise FileError unless an earlier report wrote every file of the folder."""
    names = {entry.name for entry in out.iterdir()} - LITTER
    if not names:
        return
    try:
        refuse_endless(out / NUMBERS)
        earlier = parse_json((out / NUMBERS).read_bytes(), finite=False)
        own = set(earlier["files"]) if "gspnl" in earlier else set()
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    if not own:
        raise FileError(
            f"{str(out)!r} holds files and is no report of gspnl; pass --out with a new folder"
        )
    if names - own:
        raise FileError(
            f"{str(out)!r} holds {sorted(names - own)[0]!r}, which no report wrote and "
            "replacing the folder would delete; move it away, or pass another --out"
        )


def _cannot_write(out: Path, error: OSError) -> FileError:
    return FileError(
        f"cannot write {str(out)!r}: {error.strerror or error}; pass another --out, or free space"
    )
