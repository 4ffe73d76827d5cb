"""UCF-101: videos of actions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gspnl.errors import InputError
from gspnl.train.data.base import DATASETS, Data, DataError
from gspnl.train.data.clips import Clips
from gspnl.train.data.listing import class_names, folder, inside, lines, missing, whole

# Of Kinetics-400, which published weights are trained on; torchvision's numbers.
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


@DATASETS.register("ucf101")
def ucf101(
    path: Path | str | None,
    *,
    skip_bad: bool = False,
    split: int = 1,
    frames: int = 16,
    stride: int = 2,
    clips: int = 1,
) -> Data:
    """Open UCF-101 [1]_ as published: 13,320 videos of 101 actions, in one of its three splits.

    A training sample is a clip whose start is drawn anew for each sample and epoch
    (:func:`gspnl.train.data.videos.read_clip`); a test sample is the clip in the middle, or
    ``clips`` of them. A video that is shorter than a clip is repeated.

    Parameters
    ----------
    path : path
        A folder with ``ucfTrainTestlist`` (the lists) and ``UCF-101`` (the videos), or with the
        videos beside the lists' folder. Videos lie in folders of their classes, or all together.
    skip_bad : bool
        Leave out videos that are missing, and count them in ``skipped``; those that do not decode
        are found when they are read. Faults of the lists are always errors.
    split : 1, 2 or 3
        Which of ``trainlist0{split}.txt`` and ``testlist0{split}.txt``.
    frames : int
        T of a clip, ≥ 1.
    stride : int
        ≥ 1; 2 takes every second frame of the video.
    clips : int
        ≥ 1, for testing: clips of each video, evenly spread. A test sample holds them one after
        the other; ``test.views`` says how many, and the probabilities of a network are averaged.

    Returns
    -------
    Data
        A sample is uint8 of shape (3, T, H, W), for testing (3, clips · T, H, W). ``mean`` and
        ``std`` are those of Kinetics-400.

    Raises
    ------
    DataError
        If a file is missing, or the lists contradict themselves or each other; the message says
        where. On reading, if a video does not decode.
    InputError
        Without ``path``, or for options out of range.

    References
    ----------
    .. [1] K. Soomro, A. R. Zamir, M. Shah, UCF101: a dataset of 101 human actions classes from
       videos in the wild, CRCV-TR-12-01, University of Central Florida, 2012.

    Examples
    --------
    >>> ucf101(None, split=4)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: split=4 must be 1, 2 or 3
    """
    if isinstance(split, bool) or not isinstance(split, int) or split not in (1, 2, 3):
        raise InputError(f"split={split!r} must be 1, 2 or 3")
    for option, value in (("frames", frames), ("stride", stride), ("clips", clips)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{option}={value!r} must be a whole number ≥ 1")
    lists = folder(path, "ucf101", "ucfTrainTestlist", "classInd.txt")
    classes = class_names(lists / "classInd.txt")
    train = _listed(lists / f"trainlist0{split}.txt", classes)
    test = _listed(lists / f"testlist0{split}.txt", classes)
    both = sorted(train.keys() & test.keys())
    if both:
        raise DataError(f"{both[0]!r} is in trainlist0{split}.txt and in testlist0{split}.txt")
    videos, files = _videos(Path(str(path)), lists)
    rows = [
        [(_find(name, videos, files), label, name) for name, label in listed.items()]
        for listed in (train, test)
    ]
    absent = [name for part in rows for file, _, name in part if file is None]
    if absent and not skip_bad:
        raise missing(absent, len(train) + len(test), videos)
    found = [[(file, label) for file, label, _ in part if file is not None] for part in rows]
    for kind, part in zip(("training", "test"), found, strict=True):
        if not part:
            raise DataError(
                f"{str(videos)!r} has no {kind} video of split {split}; unpack it whole"
            )
    splits = [
        Clips(
            tuple(file for file, _ in part),
            np.array([label for _, label in part], np.int64),
            frames,
            stride,
            draws,
            views,
        )
        for part, draws, views in zip(found, (1, 0), (1, clips), strict=True)
    ]
    skipped = tuple(f"{name}: missing" for name in absent)
    return Data("ucf101", classes, splits[0], splits[1], MEAN, STD, skipped)


def _listed(path: Path, classes: tuple[str, ...]) -> dict[str, int]:
    """Videos and their classes, counted from 0, of a list with or without the classes' numbers."""
    # The published files write HandstandPushups and HandStandPushups of one class.
    numbers = {name.casefold(): number for number, name in enumerate(classes)}
    found: dict[str, int] = {}
    for place, line in lines(path):
        name, _, number = line.partition(" ")
        name = inside(name, place)
        kind = name.rpartition("/")[0] or "_".join(name.split("_")[1:-2])
        if kind.casefold() not in numbers:
            raise DataError(f"{place} has the class {kind!r}, which classInd.txt has not")
        label = numbers[kind.casefold()]
        if number:
            given = whole(number.strip(), place)
            if given > len(classes):
                raise DataError(f"{place} has the class {given}; there are 1 to {len(classes)}")
            if given != label + 1:
                raise DataError(f"{place} has the class {given}, but {kind!r} is {label + 1}")
        if name in found:
            raise DataError(f"{place} has {name!r} for the second time")
        found[name] = label
    return found


def _videos(path: Path, lists: Path) -> tuple[Path, dict[str, list[Path]]]:
    """The folder of videos, and what lies in it and in its folders, by lower-case name."""
    root = path.parent if path.resolve() == lists.resolve() else path
    videos = root / "UCF-101" if (root / "UCF-101").is_dir() else root
    found: dict[str, list[Path]] = {}
    try:
        for entry in sorted(videos.iterdir()):
            for file in sorted(entry.iterdir()) if entry.is_dir() else (entry,):
                found.setdefault(file.name.casefold(), []).append(file)
    except OSError as error:
        raise DataError(f"{str(error.filename)!r} cannot be listed: {error.strerror}") from error
    return videos, found


def _find(name: str, videos: Path, files: Mapping[str, list[Path]]) -> Path | None:
    """The file of a listed video: where the list says, or in any one folder."""
    found = files.get(name.rpartition("/")[2].casefold(), [])
    if videos / name in found:
        return videos / name
    if len(found) > 1:
        raise DataError(f"{name!r} is not where the list says, but in {len(found)} other folders")
    return found[0] if found else None
