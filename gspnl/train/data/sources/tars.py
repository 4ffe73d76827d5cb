"""A tar.gz as a source: what the CIFAR sets are published as."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from gspnl.train.data.base import DataError
from gspnl.train.data.sources.base import hidden, parents

TOTAL = 512 * 2**20  # bytes; the CIFAR archives hold 180 MB


class Tar:
    """A tar, whose files are all read at once, to memory; links and devices are left alone."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.content: dict[str, bytes] = {}
        try:
            with path.open("rb") as raw:
                packed = raw.read(2) == b"\x1f\x8b"
                raw.seek(0)
                stream = _Bounded(gzip.GzipFile(fileobj=raw) if packed else raw, self.path)
                with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                    self._collect(archive)
        except DataError:
            raise
        except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
            raise DataError(
                f"{self.path!r} is no whole tar.gz ({error}); it may be cut off: download it again"
            ) from error

    def _collect(self, archive: tarfile.TarFile) -> None:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isreg() or hidden(name):
                continue
            stream = archive.extractfile(member)
            content = stream.read() if stream else b""
            if len(content) != member.size:
                raise EOFError(f"{name} has {len(content):,} of {member.size:,} bytes")
            self.content[name] = content

    def files(self) -> Iterable[str]:
        return sorted(self.content)

    def folders(self) -> Iterable[str]:
        return sorted(parents(self.content))

    def has(self, name: str) -> bool:
        return name in self.content

    def read(self, name: str, limit: int) -> bytes | None:
        content = self.content.get(name)
        if content is not None and len(content) > limit:
            raise DataError(
                f"{name!r} of {self.path!r} has more than {limit:,} bytes, which no sample needs"
            )
        return content


class _Bounded:
    """A stream that ends in an error where it has given too much: a bomb, or no data set."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, path: str) -> None:
        self.stream, self.path, self.left = stream, path, TOTAL

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(
                f"{self.path!r} unpacks to more than {TOTAL:,} bytes, which no published set does; "
                "unpack it yourself if you trust it, and give the folder"
            )
        return content
