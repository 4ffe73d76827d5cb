"""A folder as a source."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from gspnl.train.data.base import DataError
from gspnl.train.data.sources.base import hidden


class Folder:
    """A folder and those in it, links to folders followed once."""

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
        return (
            sorted(name for name in files if not hidden(name)),
            sorted(name for name in folders if not hidden(name)),
        )

    def files(self) -> Iterable[str]:
        return self._tree[0]

    def folders(self) -> Iterable[str]:
        return self._tree[1]

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str, limit: int) -> bytes | None:
        file = self.root / name
        try:
            with file.open("rb") as stream:
                content = stream.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DataError(f"cannot read {str(file)!r}: {error.strerror or error}") from error
        if len(content) > limit:
            raise DataError(f"{str(file)!r} has more than {limit:,} bytes, which no sample needs")
        return content
