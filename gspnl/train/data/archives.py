"""Read files by name from a folder, a zip or a tar.gz, within limits and without unpacking."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from gspnl.errors import InputError
from gspnl.train.data.registry import DataError, data_errors

TOTAL = 512 * 2**20  # bytes of a tar; the CIFAR archives hold 180 MB
GZIP = b"\x1f\x8b"
CUT = "it may be cut off: download it again"
# What systems leave behind in folders and archives.
HIDDEN = re.compile(r"(^|/)(\.|__MACOSX(/|\Z)|(Thumbs\.db|desktop\.ini)/*\Z)")


def open_source(path: Path | None, content: str) -> Source:
    """Open a folder, a zip or a tar; ``content`` is what it should hold, for errors."""
    if path is None:
        raise InputError(f"a path is needed: --data PATH, or path=, with {content}")
    with data_errors(f"cannot read {str(path)!r}", f"give a path with {content}"):
        if path.is_dir():
            return Folder(path)
        with path.open("rb") as file:
            start = file.read(2)
        if zipfile.is_zipfile(path) or start == b"PK":
            return open_zip(path)
        if start == GZIP or tarfile.is_tarfile(path):
            return open_tar(path)
    raise DataError(f"{str(path)!r} is no folder, zip or tar.gz; give a path with {content}")


class Folder:
    """Files by name, parts divided by ``/``, in a folder; links to folders are followed once.

    ``tree`` lists files and folders that are not hidden. ``read`` raises a :class:`DataError` where
    a file is missing, damaged or larger than a limit.
    """

    def __init__(self, path: Path) -> None:
        self.root, self.path = path, str(path)

    def tree(self) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        seen = set()

        def fail(error: OSError) -> None:
            raise DataError(f"cannot list {error.filename!r}: {error.strerror}; let it be read")

        for place, below, names in os.walk(self.root, followlinks=True, onerror=fail):
            real = os.path.realpath(place)
            if real in seen:  # a link that leads back
                below.clear()
                continue
            seen.add(real)
            here = Path(place).relative_to(self.root)
            folders += [(here / name).as_posix() for name in below]
            files += [(here / name).as_posix() for name in names]
        return _shown(files), _shown(folders)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str, limit: int) -> bytes:
        return read_file(self.root / name, limit)


def read_file(file: Path, limit: int) -> bytes:
    """Read a file of at most ``limit`` bytes."""
    with data_errors(f"{str(file)!r} cannot be read", "let it be read, or copy it again"):
        if not file.exists():
            raise DataError(f"{str(file)!r} is missing; put it back, or unpack all files again")
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    if len(content) > limit:
        raise DataError(f"{str(file)!r} has more than {limit:,} bytes, which no sample needs")
    return content


class Archive:
    """Files by name in an archive, as those of a :class:`Folder`, from their sizes and readers."""

    def __init__(self, path: Path, members: Mapping[str, tuple[int, Callable[[], bytes]]]) -> None:
        self.path, self.members = str(path), members

    def tree(self) -> tuple[list[str], list[str]]:
        names = _shown(self.members)
        folders = {name[:at] for name in names for at, sign in enumerate(name) if sign == "/"}
        return [name for name in names if not name.endswith("/")], sorted(folders)

    def has(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str, limit: int) -> bytes:
        where = f"{name!r} of {self.path!r}"
        if name not in self.members:
            raise DataError(f"{where} is missing; download it again")
        size, read = self.members[name]
        if size > limit:
            raise DataError(
                f"{where} unpacks to {size:,} bytes, more than {limit:,}; no sample needs so many"
            )
        with data_errors(f"{where} is damaged", "zip or download it again"):
            return read()


def open_zip(path: Path) -> Archive:
    """Open a zip, of whose members no more is read than they declare; checksums find the rest."""
    with data_errors(f"{str(path)!r} is no whole zip", CUT):
        archive = zipfile.ZipFile(path)
    members: dict[str, tuple[int, Callable[[], bytes]]] = {}
    for entry in archive.infolist():
        if entry.filename in members:
            raise DataError(f"{str(path)!r} has two members {entry.filename!r}; zip it again")
        members[entry.filename] = entry.file_size, partial(archive.read, entry)
    return Archive(path, members)


def open_tar(path: Path) -> Archive:
    """Open a tar, which is read into memory; links and devices are left alone."""
    with data_errors(f"{str(path)!r} is no whole tar.gz", CUT):
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            content = (gzip.GzipFile(fileobj=raw) if packed else raw).read(TOTAL + 1)
        if len(content) > TOTAL:
            raise DataError(
                f"{str(path)!r} unpacks to more than {TOTAL:,} bytes, which no published set does; "
                "unpack it yourself if you trust it, and give the folder"
            )
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            files = [file for file in archive if file.isreg() and not file.issparse()]
    view = memoryview(content)
    return Archive(
        path,
        {
            file.name.removeprefix("./"): (
                file.size,
                partial(bytes, view[file.offset_data : file.offset_data + file.size]),
            )
            for file in files
        },
    )


Source = Folder | Archive


def _shown(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not HIDDEN.search(name))
