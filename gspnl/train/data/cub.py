"""CUB-200-2011: photos of birds."""

from __future__ import annotations

from pathlib import Path

from gspnl.train.data.archives import Folder
from gspnl.train.data.listing import check_files, class_names, folder, inside, label, numbered
from gspnl.train.data.registry import DATASETS, Data, DataError
from gspnl.train.data.splits import FileSplit

# Of ImageNet [2], whose weights the paper starts from.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@DATASETS.register("cub200")
def cub200(path: Path | str | None, *, skip_bad: bool = False) -> Data:
    """Open Caltech-UCSD Birds-200-2011 [1]_ as published: 200 classes, 5,994 and 5,794 photos.

    Parameters
    ----------
    path : path
        The folder ``CUB_200_2011`` with ``images.txt``, ``image_class_labels.txt``,
        ``train_test_split.txt``, ``classes.txt`` and ``images/``, or the folder it lies in.
    skip_bad : bool
        Leave out photos that are missing, and list them in ``skipped``; those that do not decode
        are found when they are read. Faults of the lists are always errors.

    Returns
    -------
    Data
        A photo is uint8 of shape (3, H, W), each of its own size. ``mean`` and ``std`` are those of
        ImageNet [2]_. Classes are named as in ``classes.txt``.

    Raises
    ------
    DataError
        If a file is missing, or the lists contradict themselves or each other, with the place; on
        reading, if a photo does not decode.

    References
    ----------
    .. [1] C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie, The Caltech-UCSD Birds-200-2011
       dataset, CNS-TR-2011-001, California Institute of Technology, 2011.
    .. [2] J. Deng et al., ImageNet: a large-scale hierarchical image database, CVPR 2009.
    """
    root = folder(path, "cub200", "CUB_200_2011", "images.txt")
    classes = class_names(root / "classes.txt")
    names, listing = numbered(root / "images.txt"), str(root / "images.txt")
    labels, training = root / "image_class_labels.txt", root / "train_test_split.txt"
    label_of, split_of = _of_images(labels, names), _of_images(training, names)
    images = Folder(root / "images")
    owners: dict[str, int] = {}
    splits: dict[str, list[tuple[str, int]]] = {"1": [], "0": []}
    absent = []
    for number, name in sorted(names.items()):
        name = inside(name, f"image {number} in {listing!r}")
        if owners.setdefault(name, number) != number:
            raise DataError(f"images {owners[name]} and {number} of {listing!r} are both {name!r}")
        place = f"image {number} in {str(labels)!r}"
        sample = name, label(label_of[number], place, classes, name.partition("/")[0])
        if split_of[number] not in splits:
            raise DataError(
                f"image {number} in {str(training)!r} has {split_of[number]!r}, neither 1 "
                "(training) nor 0 (test)"
            )
        if images.has(name):
            splits[split_of[number]].append(sample)
        else:
            absent.append(name)
    counts = len(splits["1"]), len(splits["0"])
    skipped = check_files("photo", images.root, absent, *counts, skip_bad)
    train, test = (FileSplit(images, *zip(*rows, strict=True)) for rows in splits.values())
    return Data("cub200", classes, train, test, MEAN, STD, skipped)


def _of_images(listing: Path, names: dict[int, str]) -> dict[int, str]:
    """A list with a line for each image."""
    found = numbered(listing)
    for number in sorted(names.keys() ^ found.keys()):
        if number in found:
            raise DataError(f"{str(listing)!r} has image {number}, which images.txt has not")
        raise DataError(
            f"{str(listing)!r} has no line for image {number}, {names[number]!r} in images.txt"
        )
    return found
