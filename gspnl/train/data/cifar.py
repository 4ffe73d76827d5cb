"""CIFAR-10 and CIFAR-100 as published: a folder or an archive of binary files or of pickles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gspnl.train.data.archives import Source, open_source
from gspnl.train.data.cifar_files import Binary, Form, Published, Python, good_records
from gspnl.train.data.registry import DATASETS, Data, DataError
from gspnl.train.data.splits import MemorySplit

LIMIT = 256 * 2**20  # bytes of a file; the largest, CIFAR-100's train.bin, has 154 million

CIFAR10 = Published(
    name="cifar10",
    classes=10,
    forms=(
        Binary(
            folder="cifar-10-batches-bin",
            train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            test=("test_batch.bin",),
            meta="batches.meta.txt",
            label_bytes=1,
            label=0,
        ),
        Python(
            folder="cifar-10-batches-py",
            train=tuple(f"data_batch_{i}" for i in range(1, 6)),
            test=("test_batch",),
            meta="batches.meta",
            key="labels",
            meta_key="label_names",
        ),
    ),
    records=(10_000, 10_000),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)


def _cifar100(name: str, classes: int, label: int, kind: str) -> Published:
    """CIFAR-100 with its fine or its coarse labels."""
    return Published(
        name=name,
        classes=classes,
        forms=(
            Binary(
                folder="cifar-100-binary",
                train=("train.bin",),
                test=("test.bin",),
                meta=f"{kind}_label_names.txt",
                label_bytes=2,
                label=label,
            ),
            Python(
                folder="cifar-100-python",
                train=("train",),
                test=("test",),
                meta="meta",
                key=f"{kind}_labels",
                meta_key=f"{kind}_label_names",
            ),
        ),
        records=(50_000, 10_000),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )


CIFAR100 = _cifar100("cifar100", 100, 1, "fine")
CIFAR100_COARSE = _cifar100("cifar100_coarse", 20, 0, "coarse")


def open_cifar(published: Published, path: Path | None, *, skip_bad: bool = False) -> Data:
    """Open a CIFAR set in its binary or its python form.

    ``path`` is the folder with the files, the folder that holds that folder, or the published
    archive. ``skip_bad`` leaves out records with invalid labels and those missing at the end of a
    binary file, and lists them in ``skipped``; a pickle that is cut off stays an error.
    """
    folders = " or ".join(f"{form.folder}/" for form in published.forms)
    source = open_source(path, f"the files of {folders}, or the archive of one")
    for form in published.forms:
        for place in ("", f"{form.folder}/"):
            # Any of the files says which form it is, so that a missing one is reported as such.
            if any(source.has(place + file) for file in (*form.train, *form.test)):
                return _opened(source, published, form, place, skip_bad)
    first = " nor ".join(repr(form.train[0]) for form in published.forms)
    raise DataError(
        f"{source.path!r} has neither {first} in it; give the folder {folders}, the one above it "
        "or the published archive, or for folders of images the data set 'folder'"
    )


def _opened(source: Source, published: Published, form: Form, place: str, skip_bad: bool) -> Data:
    """Read all files of one form."""

    def content(file: str) -> bytes:
        found = source.read(place + file, LIMIT)
        if found is None:
            raise DataError(f"{source.path!r} lacks {place + file!r}; download it again")
        return found

    skipped: list[str] = []

    def split(files: Sequence[str], expected: int) -> MemorySplit:
        images, labels, names = [], [], []
        for file in files:
            name = place + file
            pixels, classes = form.records(content(file), name, expected)
            good, bad = good_records(name, classes, expected, published.classes, skip_bad)
            images.append(pixels[good].reshape(-1, 3, 32, 32))
            labels.append(classes[good])
            names += [(name, number) for number in good.tolist()]
            skipped.extend(bad)
        samples = torch.from_numpy(np.concatenate(images))
        return MemorySplit(
            samples, np.concatenate(labels), lambda i: f"{names[i][0]}, record {names[i][1]}"
        )

    classes = form.names(content(form.meta), place + form.meta)
    if len(classes) != published.classes:
        raise DataError(
            f"{place + form.meta!r} has {len(classes)} names for {published.classes} classes; "
            "download it again"
        )
    train, test = (
        split(files, count)
        for files, count in zip((form.train, form.test), published.records, strict=True)
    )
    mean, std = published.mean, published.std
    return Data(published.name, tuple(classes), train, test, mean, std, tuple(skipped))


for each in (CIFAR10, CIFAR100, CIFAR100_COARSE):
    DATASETS.register(each.name)(partial(open_cifar, each))
