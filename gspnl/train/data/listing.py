"""Parse the text files that list the samples of a published data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gspnl.errors import InputError
from gspnl.train.data.archives import read_file
from gspnl.train.data.names import composed
from gspnl.train.data.registry import DataError, data_errors

LIMIT = 64 * 2**20  # bytes; the longest list of CUB-200-2011 has 0.9 million
WHOLE = "unpack the published files whole"


def folder(path: Path | str | None, name: str, inner: str, listing: str) -> Path:
    """The folder that holds ``listing``: ``path`` itself, or ``inner`` in it."""
    if path is None:
        raise InputError(f"{name!r} needs path=, the folder {inner!r} of the published files")
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"there is no folder {str(path)!r}; pass the one with {inner!r} of {name}")
    for place in (path, path / inner):
        if (place / listing).is_file():
            return place
    raise DataError(
        f"{listing!r} is neither in {str(path)!r} nor in its {inner!r}; pass the folder that the "
        f"published {name} unpacks to"
    )


def lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a text file that are not blank, each with its place for errors."""
    with data_errors(f"{str(path)!r} cannot be read as text", WHOLE):
        text = composed(read_file(path, LIMIT).decode("utf-8-sig"))
    found = [
        (f"line {number} of {str(path)!r}", line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    ]
    if not found:
        raise DataError(f"{str(path)!r} is empty; {WHOLE}")
    return found


def numbered(path: Path) -> dict[int, str]:
    """Lines of a number ≥ 1 and a text, by number; a number comes once."""
    found: dict[int, str] = {}
    for place, line in lines(path):
        parts = line.split(maxsplit=1)
        if len(parts) != 2:
            raise DataError(f"{place} is {line!r}, not a number and a text")
        number = whole(parts[0], place)
        if number in found:
            raise DataError(f"{place} has the number {number} for the second time")
        found[number] = parts[1]
    return found


def whole(text: str, place: str) -> int:
    """A whole number ≥ 1."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= 1):
        raise DataError(f"{place} has {text!r} where a number ≥ 1 belongs")
    return int(text)


def class_names(path: Path) -> tuple[str, ...]:
    """Names of classes that are numbered 1, 2, …, each once."""
    found = numbered(path)
    absent = next((number for number in range(1, max(found)) if number not in found), None)
    if absent is not None:
        raise DataError(f"{str(path)!r} has no class {absent}, but has {max(found)}")
    names = tuple(found[number] for number in sorted(found))
    if len({*names}) < len(names):
        twice = max(names, key=names.count)
        raise DataError(f"{str(path)!r} has the class {twice!r} twice")
    return names


def label(number: str, place: str, classes: Sequence[str], kind: str) -> int:
    """The class of a number, counted from 0: the class ``kind``, where that is one."""
    stated = whole(number, place)
    if stated > len(classes):
        raise DataError(f"{place} has the class {stated}; there are 1 to {len(classes)}")
    if kind in classes and kind != classes[stated - 1]:
        raise DataError(
            f"{place} has the class {stated}, {classes[stated - 1]!r}, but its name is of {kind!r}"
        )
    return stated - 1


def inside(name: str, place: str) -> str:
    """A relative name that does not leave its folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DataError(f"{place} names {name!r}, which is not a file inside the data's folder")
    return str(path)


def check_files(
    kind: str, where: Path, absent: Sequence[str], train: int, test: int, skip_bad: bool
) -> tuple[str, ...]:
    """Lines on listed files that are absent; an error unless skipped, or if a split has none."""
    if absent and not skip_bad:
        raise DataError(
            f"{len(absent)} of {train + test + len(absent)} listed files are missing in "
            f"{str(where)!r}, the first {absent[0]!r}; {WHOLE}, or go on without: --skip-bad, or "
            "skip_bad=True"
        )
    if not (train and test):
        split = "test" if train else "training"
        raise DataError(f"{str(where)!r} has no {split} {kind}; unpack it whole")
    return tuple(f"{name}: missing" for name in absent)
