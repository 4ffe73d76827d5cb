"""A zip as a source."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from gspnl.train.data.base import DataError
from gspnl.train.data.sources.base import hidden, parents

WRONG = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)


class Zip:
    """A zip; what its list of members says of sizes is not believed, but bounded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        try:
            self.archive = zipfile.ZipFile(path)
            entries = self.archive.infolist()
        except (*WRONG, NotImplementedError) as error:
            raise DataError(
                f"{self.path!r} is no whole zip ({error}); it may be cut off: download it again"
            ) from error
        self.members: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            if entry.filename in self.members:
                raise DataError(f"{self.path!r} has two members {entry.filename!r}; zip it again")
            self.members[entry.filename] = entry
        names = [name for name in self.members if not hidden(name.rstrip("/"))]
        self._files = sorted(name for name in names if not name.endswith("/"))
        empty = {name.rstrip("/") for name in names if name.endswith("/")}
        self._folders = sorted(empty | parents(names))

    def files(self) -> Iterable[str]:
        return self._files

    def folders(self) -> Iterable[str]:
        return self._folders

    def has(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str, limit: int) -> bytes | None:
        entry = self.members.get(name)
        if entry is None:
            return None
        where = f"{name!r} of {self.path!r}"
        if entry.file_size > limit:
            raise DataError(
                f"{where} unpacks to {entry.file_size:,} bytes, more than {limit:,}; no sample "
                "needs so many"
            )
        try:
            with self.archive.open(entry) as stream:
                return stream.read()  # at most file_size bytes, then the checksum
        except (*WRONG, NotImplementedError) as error:
            raise DataError(f"{where} is damaged ({error}); zip or download it again") from error
