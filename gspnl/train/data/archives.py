"""Read files by name from a folder, a zip or a tar.gz, within limits and without unpacking."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from gspnl._base.files import refuse_endless
from gspnl.errors import InputError
from gspnl.train.data.names import Names, composed, shown
from gspnl.train.data.registry import DataError, data_errors

TOTAL = 512 * 2**20  # bytes of a tar; the CIFAR archives hold 180 MB
GZIP = b"\x1f\x8b"
CUT = "it may be cut off: download it again"
PACKED = {b"BZ": "bzip2", b"\xfd7": "xz", b"7z": "7-Zip", b"Ra": "RAR", b"(\xb5": "Zstandard"}
LINK = 4096  # bytes of a link's target
SAME = 100  # paths that may lead to one folder; links can make 2ⁿ of them


def open_source(path: Path | None, content: str) -> Source:
    """Open a folder, a zip or a tar; ``content`` is what it should hold, for errors."""
    if path is None:
        raise InputError(f"a path is needed: --data PATH, or path=, with {content}")
    with data_errors(f"cannot read {str(path)!r}", f"give a path with {content}"):
        if path.is_dir():
            return Folder(path)
        refuse_endless(path)
        with path.open("rb") as file:
            start = file.read(2)
        if zipfile.is_zipfile(path) or start == b"PK":
            return open_zip(path)
        if start in PACKED:
            raise DataError(
                f"{str(path)!r} is packed with {PACKED[start]}; unpack it and give the folder, or "
                "pack it as zip or tar.gz"
            )
        if start == GZIP or tarfile.is_tarfile(path):
            return open_tar(path)
    raise DataError(f"{str(path)!r} is no folder, zip or tar.gz; give a path with {content}")


class Folder:
    """Files by name, parts divided by ``/``, in a folder; links are followed, except in circles.

    ``tree`` lists files and folders that are not hidden. ``read`` raises a :class:`DataError` where
    a file is missing, damaged or larger than a limit. Names are found in either form of Unicode.
    """

    def __init__(self, path: Path) -> None:
        self.root, self.path = path, str(path)

    def tree(self) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        visits: Counter[str] = Counter()
        todo: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(self.root),))]
        while todo:  # names, and each folder with those above it, without links
            prefix, above = todo.pop()
            visits[above[-1]] += 1
            if visits[above[-1]] > SAME:
                raise DataError(
                    f"{self.path!r} has more than {SAME} links that lead to {above[-1]!r}; remove "
                    "those that are not needed"
                )
            for entry in self._entries(prefix):
                name = prefix + entry.name
                if not entry.is_dir():
                    files.append(name)
                    continue
                linked = entry.is_symlink()
                real = os.path.realpath(entry) if linked else f"{above[-1]}{os.sep}{entry.name}"
                if not linked or real not in above:  # a link that leads back is left out
                    folders.append(name)
                    todo.append((f"{name}/", (*above, real)))
        return shown(files), shown(folders)

    def _entries(self, place: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / place) as entries:
                return list(entries)
        except OSError as error:
            raise DataError(
                f"cannot list {error.filename!r}: {error.strerror}; let it be read"
            ) from error

    def has(self, name: str) -> bool:
        return self._file(name).is_file()

    def read(self, name: str, limit: int) -> bytes:
        return read_file(self._file(name), limit)

    def _file(self, name: str) -> Path:
        """The path of a name, whose accents the file system may write in another way."""
        path = self.root
        for part in name.split("/"):
            below = path / part
            if not part.isascii() and not below.exists() and path.is_dir():
                same = (entry for entry in path.iterdir() if composed(entry.name) == composed(part))
                below = next(same, below)
            path = below
        return path


def read_file(file: Path, limit: int) -> bytes:
    """Read a file of at most ``limit`` bytes."""
    with data_errors(f"{str(file)!r} cannot be read", "let it be read, or copy it again"):
        if not file.exists():
            raise DataError(f"{str(file)!r} is missing; put it back, or unpack all files again")
        if not file.is_file():  # opening a pipe would wait for a writer
            raise DataError(f"{str(file)!r} cannot be read: it is no regular file; put one there")
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    if len(content) > limit:
        raise DataError(f"{str(file)!r} has more than {limit:,} bytes, which no sample needs")
    return content


Member = tuple[int, Callable[[], bytes]]  # the size of a file, and its reader


class Archive:
    """Files by name in an archive, as those of a :class:`Folder`, from their sizes and readers.

    ``faults`` are members that cannot be read; they matter to those who read all that is there.
    """

    def __init__(self, path: Path, members: Mapping[str, Member], faults: Sequence[str]) -> None:
        self.path, self.members, self.faults = str(path), members, faults

    def tree(self) -> tuple[list[str], list[str]]:
        if self.faults:
            raise DataError(self.faults[0])
        names = shown(self.members)
        folders = {name[:at] for name in names for at, sign in enumerate(name) if sign == "/"}
        return [name for name in names if not name.endswith("/")], sorted(folders)

    def has(self, name: str) -> bool:
        return composed(name) in self.members

    def read(self, name: str, limit: int) -> bytes:
        where = f"{name!r} of {self.path!r}"
        if composed(name) not in self.members:
            raise DataError(f"{where} is missing; download it again")
        size, read = self.members[composed(name)]
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
    names = Names[Member](str(path))
    for entry in archive.infolist():
        name = names.plain(entry.filename, windows=True)
        if name in names.members or name in names.links:
            raise DataError(f"{str(path)!r} has two members {name!r}; zip it again")
        if stat.S_ISLNK(entry.external_attr >> 16) and entry.file_size <= LINK:
            with data_errors(f"{name!r} of {str(path)!r} is damaged", "zip or download it again"):
                names.link(name, archive.read(entry).decode())
        elif name:
            names.members[name] = entry.file_size, partial(archive.read, entry)
    return Archive(path, names.resolved(), names.faults)


def open_tar(path: Path) -> Archive:
    """Open a tar, which is read into memory; devices are left alone."""
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
            entries = [entry for entry in archive if not entry.issparse()]
    view, names = memoryview(content), Names[Member](str(path))
    for entry in entries:
        name = names.plain(entry.name)
        names.members.pop(name, None)  # a later member replaces an earlier one
        names.links.pop(name, None)
        if name and entry.isreg():
            part = view[entry.offset_data : entry.offset_data + entry.size]
            names.members[name] = entry.size, partial(bytes, part)
        elif name and entry.islnk():  # by its name in the archive
            names.links[name] = names.plain(entry.linkname)
        elif name and entry.issym():
            names.link(name, entry.linkname)
    return Archive(path, names.resolved(), names.faults)


Source = Folder | Archive
