"""Names of files in folders and archives: their form, links between them, what is hidden."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Generic, TypeVar

from gspnl.train.data.registry import DataError

# What systems leave behind in folders and archives.
HIDDEN = re.compile(
    r"(^|/)(\.|(__MACOSX|@eaDir|\$RECYCLE\.BIN)(/|\Z)"
    r"|((eh)?thumbs\.db|desktop\.ini|Icon\r)/*\Z)",
    re.IGNORECASE,
)
HOPS = 40  # links that are followed from one name, as in Linux
ALIASES = 10**6  # names that links to folders may add to an archive

Member = TypeVar("Member")


def shown(names: Iterable[str]) -> list[str]:
    """The names that are not hidden, in order."""
    return sorted(name for name in names if not HIDDEN.search(name))


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC); macOS writes accents as characters of their own."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class Names(Generic[Member]):
    """Members of an archive by name, and links between them.

    ``faults`` says what is left out: names outside of the archive, and links to what is not in it.
    """

    def __init__(self, archive: str) -> None:
        self.archive = archive
        self.members: dict[str, Member] = {}
        self.links: dict[str, str] = {}  # targets, from the root of the archive
        self.faults: list[str] = []

    def plain(self, name: str, *, windows: bool = False) -> str:
        r"""A name with parts divided by ``/``, in NFC; folders end with ``/``. "" if left out.

        Some Windows programs divide the parts by ``\``. Absolute names and ``..`` are faults.
        """
        found = composed(name.replace("\\", "/") if windows else name)
        parts = [part for part in found.split("/") if part not in ("", ".")]
        if found.startswith("/") or ".." in parts or re.match("[A-Za-z]:/", found):
            self.faults.append(
                f"{self.archive!r} has the member {name!r}, which lies outside of it; pack the "
                "folder again with relative names"
            )
            return ""
        return "/".join(parts) + "/" * (found.endswith("/") and bool(parts))

    def link(self, name: str, target: str) -> None:
        """Add a link whose target is given from its own folder."""
        if name:
            self.links[name] = posixpath.join(posixpath.dirname(name), composed(target))

    def resolved(self) -> dict[str, Member]:
        """Members with those that links to files and folders stand for.

        A link to a folder that holds it adds nothing.
        """
        found, ordered = dict(self.members), sorted(self.members)
        for name in self.links:
            target = self._target(name)
            if target in self.members:
                found[name] = self.members[target]
                continue
            inside = [] if target is None else _below(ordered, target)
            if not inside:
                self.faults.append(
                    f"{self.archive!r} has the link {name!r} to {self.links[name]!r}, which is not "
                    "in it; pack the files themselves"
                )
            elif target and not f"{name}/".startswith(f"{target}/"):
                found |= {name + other[len(target) :]: self.members[other] for other in inside}
            if len(found) > len(self.members) + ALIASES:
                raise DataError(f"{self.archive!r} has links to more than {ALIASES:,} files")
        return found

    def _target(self, name: str) -> str | None:
        """The name without links in it, "" for the root; None outside and for circles."""
        hops, done, todo = 0, "", name.split("/")
        while todo:
            done = posixpath.join(done, todo.pop(0))
            if done in self.links:
                hops += 1
                target = posixpath.normpath(self.links[done])
                if hops > HOPS or target.startswith(("..", "/")):
                    return None
                done, todo = "", [*(target.split("/") if target != "." else []), *todo]
        return done


def _below(ordered: list[str], folder: str) -> list[str]:
    """The names in a folder, of names in order."""
    first = f"{folder}/" if folder else ""
    start = bisect_left(ordered, first)
    return list(takewhile(lambda name: name.startswith(first), islice(ordered, start, None)))
