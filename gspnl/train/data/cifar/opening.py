"""From a folder or an archive to a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from gspnl.train.data.base import DATASETS, Data, DataError
from gspnl.train.data.cifar import binary, python
from gspnl.train.data.cifar.batch import checked, joined
from gspnl.train.data.cifar.published import CIFAR10, CIFAR100, CIFAR100_COARSE, Form, Published
from gspnl.train.data.memory import MemorySplit
from gspnl.train.data.sources import Source, open_source


class Parser(Protocol):
    """What the two forms have in common."""

    def parse_records(
        self, content: bytes, file: str, published: Published, expected: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (n, 3072) and labels (n,) of a file."""

    def parse_names(self, content: bytes, file: str, published: Published) -> list[str]:
        """Names of the classes."""


LIMIT = 256 * 2**20  # bytes of a file; the largest, CIFAR-100's train.bin, has 154 million


def open_cifar(published: Published, path: Path | None, *, skip_bad: bool = False) -> Data:
    """Open a CIFAR set in its binary or its python form.

    Parameters
    ----------
    published : Published
    path : path
        The folder with the files, the folder that holds that folder, or the published archive.
    skip_bad : bool
        Leave out records whose label is none, and what is missing at the end of a binary file,
        and say so in ``skipped``. A pickle that is cut off holds nothing, and stays an error.

    Raises
    ------
    DataError
        If a file is missing, cut off or damaged.
    """
    both = f"{published.binary.folder}/ or {published.python.folder}/"
    source = open_source(path, f"the files of {both}, or the archive of one")
    reader = _reader(source, published, skip_bad)
    if reader is None:
        raise DataError(
            f"{source.path!r} has neither {published.binary.train[0]!r} nor "
            f"{published.python.train[0]!r} in it; give the folder {both}, the one above it or "
            "the published archive, or for folders of images the data set 'folder'"
        )
    names = reader.names()
    train = reader.split(reader.form.train, published.records[0])
    test = reader.split(reader.form.test, published.records[1])
    return Data(
        published.name,
        names,
        train,
        test,
        published.mean,
        published.std,
        tuple(reader.skipped),
    )


def _reader(source: Source, published: Published, skip_bad: bool) -> _Reader | None:
    for form, module in ((published.binary, binary), (published.python, python)):
        for place in ("", f"{form.folder}/"):
            # Any of the files says which form it is, so that one missing is told as missing.
            if any(source.has(place + file) for file in (*form.train, *form.test)):
                return _Reader(source, published, form, module, place, skip_bad)
    return None


@dataclass
class _Reader:
    """The files of one form, in one place."""

    source: Source
    published: Published
    form: Form
    parser: Parser
    place: str
    skip_bad: bool
    skipped: list[str] = field(default_factory=list)

    def content(self, file: str) -> bytes:
        found = self.source.read(self.place + file, LIMIT)
        if found is None:
            raise DataError(f"{self.source.path!r} lacks {self.place + file!r}; download it again")
        return found

    def names(self) -> tuple[str, ...]:
        file = self.place + self.form.meta
        names = self.parser.parse_names(self.content(self.form.meta), file, self.published)
        if len(names) != self.published.classes:
            raise DataError(
                f"{file!r} has {len(names)} names for {self.published.classes} classes; download "
                "it again"
            )
        return tuple(names)

    def split(self, files: Sequence[str], expected: int) -> MemorySplit:
        batches = []
        for file in files:
            name = self.place + file
            pixels, labels = self.parser.parse_records(
                self.content(file), name, self.published, expected
            )
            batch, bad = checked(
                name,
                pixels,
                labels,
                expected=expected,
                classes=self.published.classes,
                skip=self.skip_bad,
            )
            batches.append(batch)
            self.skipped += bad
        return joined(batches)


@DATASETS.register("cifar10")
def cifar10(path: Path | None, *, skip_bad: bool = False) -> Data:
    """CIFAR-10 in a folder or an archive; see :func:`open_cifar`."""
    return open_cifar(CIFAR10, path, skip_bad=skip_bad)


@DATASETS.register("cifar100")
def cifar100(path: Path | None, *, skip_bad: bool = False) -> Data:
    """CIFAR-100 with its 100 fine classes."""
    return open_cifar(CIFAR100, path, skip_bad=skip_bad)


@DATASETS.register("cifar100_coarse")
def cifar100_coarse(path: Path | None, *, skip_bad: bool = False) -> Data:
    """CIFAR-100 with its 20 coarse classes."""
    return open_cifar(CIFAR100_COARSE, path, skip_bad=skip_bad)
