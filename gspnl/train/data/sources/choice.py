"""Which kind of source a path is."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from gspnl.errors import InputError
from gspnl.train.data.base import DataError
from gspnl.train.data.sources.base import Source
from gspnl.train.data.sources.folders import Folder
from gspnl.train.data.sources.tars import Tar
from gspnl.train.data.sources.zips import Zip


def open_source(path: Path | None, what: str) -> Source:
    """Open a folder, a zip or a tar; ``what`` says, for errors, what it should hold.

    Raises
    ------
    InputError
        If there is no path.
    DataError
        If it leads nowhere, or to another kind of file.
    """
    if path is None:
        raise InputError(f"a path is needed: --data PATH, or path=, with {what}")
    try:
        if path.is_dir():
            return Folder(path)
        with path.open("rb") as file:
            start = file.read(2)
        if zipfile.is_zipfile(path) or start == b"PK":
            return Zip(path)
        if start == b"\x1f\x8b" or tarfile.is_tarfile(path):
            return Tar(path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"cannot read {str(path)!r}: {error.strerror or error}; give a path with {what}"
        ) from error
    raise DataError(f"{str(path)!r} is no folder, zip or tar.gz; give a path with {what}")
