"""What a data set is read from: names, and the bytes behind each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Source(Protocol):
    """A folder, or an archive that is never unpacked: its members are read by name only."""

    path: str

    def files(self) -> Iterable[str]:
        """Names of all files, parts divided by ``/``; those that systems hide are left out."""

    def folders(self) -> Iterable[str]:
        """Names of all folders, the empty ones too."""

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Content of a file of at most ``limit`` bytes; None if there is no such file.

        Raises
        ------
        DataError
            If it is larger, or cannot be read.
        """


def hidden(name: str) -> bool:
    """Whether a file is what an operating system leaves behind: ``.DS_Store``, ``__MACOSX/…``."""
    parts = name.split("/")
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1] in (
        "Thumbs.db",
        "desktop.ini",
    )


def parents(names: Iterable[str]) -> set[str]:
    """Every folder that a file's name implies."""
    found = set()
    for name in names:
        parts = name.split("/")[:-1]
        found |= {"/".join(parts[: i + 1]) for i in range(len(parts))}
    return found
