"""CUB-200-2011: photos of birds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gspnl.train.data.base import DATASETS, Data, DataError
from gspnl.train.data.images import decode
from gspnl.train.data.listing import class_names, content, folder, inside, missing, numbered, whole

# Of ImageNet [2], whose weights the paper starts from.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Photos:
    """Image files of several sizes, decoded when they are asked for."""

    files: tuple[Path, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def name(self, index: int) -> str:
        return str(self.files[index])

    def read(self, index: int) -> Tensor:
        pixels = decode(content(self.files[index]), self.name(index))
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def take(self, indices: np.ndarray) -> None:
        return None


@DATASETS.register("cub200")
def cub200(path: Path | str | None, *, skip_bad: bool = False) -> Data:
    """Open Caltech-UCSD Birds-200-2011 [1]_ as published: 200 classes, 5,994 and 5,794 photos.

    Parameters
    ----------
    path : path
        The folder ``CUB_200_2011`` with ``images.txt``, ``image_class_labels.txt``,
        ``train_test_split.txt``, ``classes.txt`` and ``images/``, or the folder it lies in.
    skip_bad : bool
        Leave out photos that are missing, and count them in ``skipped``; those that do not decode
        are found when they are read. Faults of the lists are always errors.

    Returns
    -------
    Data
        A photo is uint8 of shape (3, H, W), each of its own size. ``mean`` and ``std`` are those of
        ImageNet [2]_. Classes are named as in ``classes.txt``.

    Raises
    ------
    DataError
        If a file is missing, or the lists contradict themselves or each other; the message says
        where. On reading, if a photo does not decode.
    InputError
        Without ``path``.

    References
    ----------
    .. [1] C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie, The Caltech-UCSD Birds-200-2011
       dataset, CNS-TR-2011-001, California Institute of Technology, 2011.
    .. [2] J. Deng et al., ImageNet: a large-scale hierarchical image database, CVPR 2009.

    Examples
    --------
    >>> cub200(None)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: 'cub200' needs path=, the folder 'CUB_200_2011' of the published files
    """
    root = folder(path, "cub200", "CUB_200_2011", "images.txt")
    classes = class_names(root / "classes.txt")
    names = numbered(root / "images.txt")
    labels = numbered(root / "image_class_labels.txt")
    training = numbered(root / "train_test_split.txt")
    for listing, found in (("image_class_labels.txt", labels), ("train_test_split.txt", training)):
        _same_images(names, found, root / listing)
    owners: dict[str, int] = {}
    splits: tuple[list[tuple[Path, int]], ...] = ([], [])
    absent = []
    for number, name in sorted(names.items()):
        name = inside(name, f"image {number} in {str(root / 'images.txt')!r}")
        if owners.setdefault(name, number) != number:
            raise DataError(
                f"images {owners[name]} and {number} of {str(root / 'images.txt')!r} are both "
                f"{name!r}"
            )
        label = _label(number, labels[number], name, classes, root)
        if training[number] not in ("0", "1"):
            raise DataError(
                f"image {number} in {str(root / 'train_test_split.txt')!r} has "
                f"{training[number]!r}, neither 1 (training) nor 0 (test)"
            )
        file = root / "images" / name
        if file.is_file():
            splits[training[number] == "0"].append((file, label))
        else:
            absent.append(name)
    if absent and not skip_bad:
        raise missing(absent, len(names), root / "images")
    for kind, rows in zip(("training", "test"), splits, strict=True):
        if not rows:
            raise DataError(f"{str(root)!r} has no {kind} photo; unpack the published files whole")
    train, test = (
        Photos(tuple(file for file, _ in rows), np.array([label for _, label in rows], np.int64))
        for rows in splits
    )
    skipped = tuple(f"{name}: missing" for name in absent)
    return Data("cub200", classes, train, test, MEAN, STD, skipped)


def _same_images(names: dict[int, str], found: dict[int, str], listing: Path) -> None:
    """Two lists are of the same images."""
    for number in sorted(names.keys() ^ found.keys()):
        if number in names:
            raise DataError(
                f"{str(listing)!r} has no line for image {number}, {names[number]!r} in images.txt"
            )
        raise DataError(f"{str(listing)!r} has image {number}, which images.txt has not")


def _label(number: int, text: str, name: str, classes: tuple[str, ...], root: Path) -> int:
    """The class of an image, counted from 0: in range, and the one whose folder it lies in."""
    place = f"image {number} in {str(root / 'image_class_labels.txt')!r}"
    label = whole(text, place) - 1
    if label >= len(classes):
        raise DataError(f"{place} has the class {text}; classes.txt has 1 to {len(classes)}")
    kind = name.partition("/")[0]
    if kind in classes and kind != classes[label]:
        raise DataError(f"{place} has the class {classes[label]!r}, but it lies in {kind!r}")
    return label
