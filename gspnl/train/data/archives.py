"""Read files by name from a folder, a zip or a tar.gz, within limits and without unpacking."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

from gspnl.errors import InputError
from gspnl.train.data.registry import DataError

TOTAL = 512 * 2**20  # bytes of a tar; the CIFAR archives hold 180 MB
BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)


def open_source(path: Path | None, content: str) -> Source:
    """Open a folder, a zip or a tar; ``content`` is what it should hold, for errors."""
    if path is None:
        raise InputError(f"a path is needed: --data PATH, or path=, with {content}")
    try:
        if path.is_dir():
            return Folder(path)
        with path.open("rb") as file:
            start = file.read(2)
        if zipfile.is_zipfile(path) or start == b"PK":
            return open_zip(path)
        if start == b"\x1f\x8b" or tarfile.is_tarfile(path):
            return open_tar(path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"cannot read {str(path)!r}: {error.strerror or error}; give a path with {content}"
        ) from error
    raise DataError(f"{str(path)!r} is no folder, zip or tar.gz; give a path with {content}")


class Folder:
    """Files by name, parts divided by ``/``, in a folder; links to folders are followed once.

    ``files`` and ``folders`` list those that are not hidden. ``read`` gives None where there is no
    such file, and raises a :class:`DataError` if it is damaged or larger than a limit.
    """

    def __init__(self, path: Path) -> None:
        self.root, self.path = path, str(path)

    @cached_property
    def _tree(self) -> tuple[list[str], list[str]]:
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

    @property
    def files(self) -> Collection[str]:
        return self._tree[0]

    @property
    def folders(self) -> Collection[str]:
        return self._tree[1]

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str, limit: int) -> bytes | None:
        return read_file(self.root / name, limit)


def read_file(file: Path, limit: int) -> bytes | None:
    """Read a file of at most ``limit`` bytes; None if there is none."""
    try:
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{str(file)!r} cannot be read: {error.strerror or error}") from error
    if len(content) > limit:
        raise DataError(f"{str(file)!r} has more than {limit:,} bytes, which no sample needs")
    return content


class Archive:
    """Files by name in an archive, as those of a :class:`Folder`, from their sizes and readers."""

    def __init__(self, path: Path, members: Mapping[str, tuple[int, Callable[[], bytes]]]) -> None:
        self.path, self.members = str(path), members
        names = _shown(members)
        self.files = [name for name in names if not name.endswith("/")]
        self.folders = _parents(names)

    def has(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str, limit: int) -> bytes | None:
        if name not in self.members:
            return None
        size, read = self.members[name]
        where = f"{name!r} of {self.path!r}"
        if size > limit:
            raise DataError(
                f"{where} unpacks to {size:,} bytes, more than {limit:,}; no sample needs so many"
            )
        try:
            return read()
        except BAD_ZIP as error:
            raise DataError(f"{where} is damaged ({error}); zip or download it again") from error


def open_zip(path: Path) -> Archive:
    """Open a zip, of whose members no more is read than they declare; checksums find the rest."""
    try:
        archive = zipfile.ZipFile(path)
    except BAD_ZIP as error:
        raise DataError(
            f"{str(path)!r} is no whole zip ({error}); it may be cut off: download it again"
        ) from error
    members: dict[str, tuple[int, Callable[[], bytes]]] = {}
    for entry in archive.infolist():
        if entry.filename in members:
            raise DataError(f"{str(path)!r} has two members {entry.filename!r}; zip it again")
        members[entry.filename] = entry.file_size, partial(archive.read, entry)
    return Archive(path, members)


def open_tar(path: Path) -> Archive:
    """Open a tar, whose files are all read into memory; links and devices are left alone."""
    members: dict[str, tuple[int, Callable[[], bytes]]] = {}
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: Any = _Bounded(gzip.GzipFile(fileobj=raw) if packed else raw, path)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is not None:
                        content = file.read()
                        if len(content) != member.size:
                            raise EOFError(f"{member.name} has {len(content):,} bytes")
                        name = member.name.removeprefix("./")
                        members[name] = len(content), partial(bytes, content)
    except DataError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"{str(path)!r} is no whole tar.gz ({error}); it may be cut off: download it again"
        ) from error
    return Archive(path, members)


Source = Folder | Archive


class _Bounded:
    """A stream that raises after TOTAL bytes: a bomb, or no data set."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, path: Path) -> None:
        self.stream, self.path, self.left = stream, path, TOTAL

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(
                f"{str(self.path)!r} unpacks to more than {TOTAL:,} bytes, which no published set "
                "does; unpack it yourself if you trust it, and give the folder"
            )
        return content


def _shown(names: Collection[str]) -> list[str]:
    """The names less those that systems leave behind, as ``.DS_Store``; sorted."""

    def hidden(parts: list[str]) -> bool:
        system = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        return system or parts[-1] in ("Thumbs.db", "desktop.ini")

    return sorted(name for name in names if not hidden(name.rstrip("/").split("/")))


def _parents(names: Collection[str]) -> list[str]:
    """Every folder that names imply; that of ``a/b/`` is ``a/b``."""
    found = set()
    for name in names:
        parts = name.split("/")[:-1]
        found |= {"/".join(parts[: i + 1]) for i in range(len(parts))}
    return sorted(found)
